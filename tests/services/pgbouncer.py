"""A real PgBouncer in front of a PostgreSQL server: each transaction may get another session."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.services.postgres import PostgresServer, runs_as
from tests.support.process import free_port

PROGRAM: Final = "pgbouncer"
START_S: Final = 20.0
STOP_S: Final = 20.0
CONFIG: Final = """
[databases]
* = host=127.0.0.1 port={behind} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
server_round_robin = 1
logfile = {folder}/pgbouncer.log
"""


def program() -> str | None:
    """Where it is, if it is installed (Debian: apt-get install pgbouncer)."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def pooler(server: PostgresServer, sessions: int) -> Iterator[int]:
    """The port of a pooler with so many sessions a database; each transaction gets the one that rested for longest."""
    executable = program()
    assert executable is not None
    folder = Path(tempfile.mkdtemp(prefix="rejoinder-pgbouncer-"))
    port = free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(behind=server.port, port=port, sessions=sessions, folder=folder))
    if (owner := runs_as()) is not None:
        shutil.chown(folder, owner)
    try:
        with (folder / "stderr").open("wb") as log:
            process = subprocess.Popen([executable, str(config)], stdout=log, stderr=log, cwd=folder, user=runs_as())
        try:
            _wait_until_answering(process, port, folder)
            yield port
        finally:
            process.kill()
            process.wait(STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_answering(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"PgBouncer does not start: {(folder / 'stderr').read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)  # polling: it tells nobody when it listens
    raise AssertionError(f"PgBouncer does not answer: {(folder / 'stderr').read_text()}")
