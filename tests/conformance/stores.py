"""Every store that the suite runs over: a new one is one more row here."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from server.store.library import FullStore
from server.store.postgres.store import PostgresStore
from server.store.redis.store import RedisStore
from server.store.sqlite.store import MEMORY, SqliteStore
from server.store.supabase.store import SupabaseStore
from tests.services.postgres import running_server
from tests.services.redis import empty_server
from tests.services.supabase import SECRET_KEY, empty_project
from tests.support.dict_store import DictStore

#: Makes a store over empty storage, not opened yet, and cleans the storage up afterwards. The folder is the test's own.
Empty = Callable[[Path], AbstractAsyncContextManager[FullStore]]


@contextlib.asynccontextmanager
async def _dict(_: Path) -> AsyncIterator[FullStore]:
    yield DictStore()


@contextlib.asynccontextmanager
async def _sqlite_file(folder: Path) -> AsyncIterator[FullStore]:
    yield SqliteStore(str(folder / "store.db"))


@contextlib.asynccontextmanager
async def _sqlite_unknown(folder: Path) -> AsyncIterator[FullStore]:
    """One that has to look into the file before every write."""
    yield SqliteStore(str(folder / "store.db"), known_limit=0)


@contextlib.asynccontextmanager
async def _sqlite_memory(_: Path) -> AsyncIterator[FullStore]:
    yield SqliteStore(MEMORY)


@contextlib.asynccontextmanager
async def _postgres(_: Path) -> AsyncIterator[FullStore]:
    with running_server().database() as dsn:
        yield PostgresStore(dsn)


@contextlib.asynccontextmanager
async def _redis(_: Path) -> AsyncIterator[FullStore]:
    yield RedisStore(empty_server("durable").url)


@contextlib.asynccontextmanager
async def _supabase(_: Path) -> AsyncIterator[FullStore]:
    yield SupabaseStore(empty_project().url, SECRET_KEY)


STORES: Final[dict[str, Empty]] = {
    "dict": _dict,
    "sqlite-file": _sqlite_file,
    "sqlite-unknown": _sqlite_unknown,
    "sqlite-memory": _sqlite_memory,
    "postgres": _postgres,
    "redis": _redis,
    "supabase": _supabase,
}
