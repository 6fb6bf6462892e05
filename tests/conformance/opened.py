"""SQLite stores for tests that look behind the contract."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator

from server.store.sqlite.store import SqliteStore


@contextlib.asynccontextmanager
async def opened(
    path: str,
    *,
    synchronous: str = "FULL",
    busy_ms: int = 10_000,
    timeout_ms: int = 60_000,
    known_limit: int = 10_000,
) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, synchronous=synchronous, busy_ms=busy_ms, timeout_ms=timeout_ms, known_limit=known_limit)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def writer(store: SqliteStore) -> sqlite3.Connection:
    """The connection that writes: the first that was made."""
    return store._connections[0]


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"pragma {name}").fetchone()[0]
