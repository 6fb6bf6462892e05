"""What can keep a running server from writing: each a `with` block around which everything is well."""

import contextlib
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.durability.process import WrappedProcess
from tests.support.absent import absent

Trouble = Callable[[WrappedProcess], contextlib.AbstractContextManager[None]]


def wal(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of two megabytes. Skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        absent(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def disk_full(server: WrappedProcess) -> Iterator[None]:
    """ENOSPC: something else has taken the rest of the disk."""
    filler = server.database.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextlib.contextmanager
def size_limit(server: WrappedProcess) -> Iterator[None]:
    """EFBIG: no file of the process may grow beyond what the log is now."""
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (wal(server.database).stat().st_size, most))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))


@contextlib.contextmanager
def immutable(server: WrappedProcess) -> Iterator[None]:
    """EPERM: somebody has made the files immutable, for the server's user and for everybody else."""
    files = [str(server.database), str(wal(server.database))]
    made = subprocess.run(["chattr", "+i", *files], capture_output=True, text=True, check=False)
    try:
        if made.returncode:
            absent(f"no file can be made immutable here: {made.stderr.strip()}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], capture_output=True, check=False)


@contextlib.contextmanager
def write_lock(server: WrappedProcess) -> Iterator[None]:
    """SQLITE_BUSY: another process writes, for longer than the server waits."""
    with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        yield
        connection.execute("rollback")


TROUBLES: Final[dict[str, Trouble]] = {
    "disk full": disk_full,
    "file size limit": size_limit,
    "immutable files": immutable,
    "write lock": write_lock,
}
