"""Where the contenders keep what they keep: each with its services, their processes, and how much is kept by now."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from server.settings import Settings
from tests.services.postgres import PostgresServer, postgres_server
from tests.services.redis import DURABLE, PLAIN, RedisServer, redis_server
from tests.services.supabase import SECRET_KEY, SupabaseServer, supabase_server

#: What a commit survives is as in production, and so is what a server of this size is given.
POSTGRES: Final = {"shared_buffers": "128MB", "autovacuum": "on"}


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
def postgres(_folder: Path) -> Iterator[Backing]:
    """PostgreSQL with its defaults of durability: fsync, synchronous_commit=on."""
    with postgres_server(POSTGRES) as server, server.database() as url:
        name = url.rpartition("/")[2]
        settings = Settings(store_url=url)
        yield Backing({"STORE_URL": url}, settings, (server.pid,), lambda: _database_bytes(server, name))


@contextlib.contextmanager
def postgres_and_redis(folder: Path) -> Iterator[Backing]:
    """The same, and a Redis that keeps nothing, for the news between processes."""
    with postgres(folder) as kept, redis_server(PLAIN) as broker:
        environ = {**kept.environ, "REDIS_URL": broker.url}
        yield Backing(environ, kept.settings, (*kept.pids, broker.pid), kept.stored_bytes)


@contextlib.contextmanager
def redis(_folder: Path) -> Iterator[Backing]:
    """Redis with appendonly and appendfsync always."""
    with redis_server(DURABLE) as server:
        settings = Settings(store_url=server.url)
        yield Backing({"STORE_URL": server.url}, settings, (server.pid,), lambda: _dataset_bytes(server))


@contextlib.contextmanager
def supabase(_folder: Path) -> Iterator[Backing]:
    """PostgreSQL behind PostgREST. The gateway before them is a thread of this process, which is otherwise idle."""
    with supabase_server() as server:
        settings = Settings(store_url="supabase", supabase_url=server.url, supabase_service_key=SECRET_KEY)
        environ = {"STORE_URL": "supabase", "SUPABASE_URL": server.url, "SUPABASE_SERVICE_KEY": SECRET_KEY}
        yield Backing(
            environ, settings, _project_pids(server), lambda: _database_bytes(server.postgres, server.database)
        )


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
