"""Where the contenders keep what they keep: each with its services, their processes, and how much is kept by now."""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from server.settings import Settings
from tests.services.postgres import PostgresServer, runs_as
from tests.services.redis import DURABLE, PLAIN, RedisServer
from tests.services.supabase import SECRET_KEY, SupabaseServer

#: What a commit survives is as in production, and so is what a server of this size is given.
POSTGRES: Final = {"shared_buffers": "128MB", "autovacuum": "on"}
#: The path of a Unix socket has about a hundred bytes: so many for the folder of a contender.
SOCKET_ROOM: Final = 70


@dataclass(frozen=True, slots=True)
class Backing:
    """A store with its services. `stored_bytes` is what is on its disk; None where it cannot be told."""

    environ: Mapping[str, str] = field(default_factory=dict)
    settings: Settings | None = None
    pids: tuple[int, ...] = ()
    stored_bytes: Callable[[], int] | None = None


Open = Callable[[Path], AbstractContextManager[Backing]]


@contextlib.contextmanager
def nothing(_folder: Path) -> Iterator[Backing]:
    """Nothing is kept."""
    yield Backing()


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Backing]:
    """A file of our own store."""
    path = folder / "rejoinder.db"
    settings = Settings(store_url=f"sqlite:///{path}")
    yield Backing({"STORE_URL": settings.store_url}, settings, stored_bytes=lambda: file_bytes(path))


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Backing]:
    """PostgreSQL with its defaults of durability: fsync, synchronous_commit=on."""
    with postgres_in(folder) as server, server.database() as url:
        name = url.rpartition("/")[2]
        settings = Settings(store_url=url)
        yield Backing({"STORE_URL": url}, settings, (server.pid,), lambda: _database_bytes(server, name))


@contextlib.contextmanager
def postgres_and_redis(folder: Path) -> Iterator[Backing]:
    """The same, and a Redis that keeps nothing, for the news between processes."""
    with postgres(folder) as kept, redis_in(folder, PLAIN) as broker:
        environ = {**kept.environ, "REDIS_URL": broker.url}
        yield Backing(environ, kept.settings, (*kept.pids, broker.pid), kept.stored_bytes)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Backing]:
    """Redis with appendonly and appendfsync always."""
    with redis_in(folder, DURABLE) as server:
        settings = Settings(store_url=server.url)
        yield Backing({"STORE_URL": server.url}, settings, (server.pid,), lambda: _dataset_bytes(server))


@contextlib.contextmanager
def redis_twice(folder: Path) -> Iterator[Backing]:
    """The same Redis for what is kept and for the news between processes."""
    with redis(folder) as kept:
        yield replace(kept, environ={**kept.environ, "REDIS_URL": kept.environ["STORE_URL"]})


@contextlib.contextmanager
def supabase(folder: Path) -> Iterator[Backing]:
    """PostgreSQL behind PostgREST. The gateway before them is a thread of this process, which is otherwise idle."""
    near = folder if len(str(folder)) < SOCKET_ROOM else None
    with postgres_in(folder) as postgres, tempfile.TemporaryDirectory(prefix="bench-", dir=near) as sockets:
        server = SupabaseServer(postgres, Path(sockets))
        server.migrate()
        server.start()
        settings = Settings(store_url="supabase", supabase_url=server.url, supabase_service_key=SECRET_KEY)
        environ = {"STORE_URL": "supabase", "SUPABASE_URL": server.url, "SUPABASE_SERVICE_KEY": SECRET_KEY}
        try:
            yield Backing(environ, settings, _project_pids(server), lambda: _database_bytes(postgres, server.database))
        finally:
            server.close()


@contextlib.contextmanager
def postgres_in(folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL whose files are below a folder: its user must be able to get there. Raises RuntimeError."""
    if runs_as() is not None and not is_open(folder):
        raise RuntimeError(f"PostgreSQL cannot run as root, and no other user can reach {folder}")
    server = PostgresServer(folder / "postgres", POSTGRES)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


@contextlib.contextmanager
def redis_in(folder: Path, options: dict[str, str]) -> Iterator[RedisServer]:
    """A Redis whose files are below a folder."""
    # Its title would be written over its environment, by which what is left of a run is known.
    server = RedisServer(folder / "redis", {**options, "set-proc-title": "no"})
    try:
        server.start()
        yield server
    finally:
        if server.running:
            server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def is_open(folder: Path) -> bool:
    """Whether every user may go there."""
    there = folder.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (there, *there.parents))


def file(name: str) -> Open:
    """A SQLite file of somebody else's making, whose path is told in BENCH_DATABASE."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Backing]:
        path = folder / name
        yield Backing({"BENCH_DATABASE": str(path)}, stored_bytes=lambda: file_bytes(path))

    return opened


def file_bytes(path: Path) -> int:
    """The size of a SQLite file as it is once its log has been moved into it."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        (size,) = connection.execute(
            "select (page_count - freelist_count) * page_size"
            " from pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
        ).fetchone()
    return int(size)


def _database_bytes(server: PostgresServer, name: str) -> int:
    return int(server.sql(name, "select pg_database_size(current_database())"))


def _dataset_bytes(server: RedisServer) -> int:
    return int(server.command("INFO", "memory")["used_memory_dataset"])


def _project_pids(server: SupabaseServer) -> tuple[int, ...]:
    pid = getattr(server.rest, "pid", None)  # a stand-in is in this process
    return (server.postgres.pid, *([pid] if pid is not None else []), os.getpid())
