"""SQLite files of other versions, and what is to be seen of them."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from server.errors import StoreUnavailable
from server.records import Snapshot
from server.store.rows import EVENT_COLUMNS, SESSION_COLUMNS
from server.store.sqlite.migrate import MIGRATIONS, Migration, _apply
from server.store.sqlite.store import SqliteStore
from tests.support.next_schemas import ADDED, OWN
from tests.support.writes import accept, committed, open_session, snapshot

COPY = f"store.db.backup-v{OWN}"


@contextlib.asynccontextmanager
async def migrated(path: str, migrations: Sequence[Migration] = ADDED) -> AsyncIterator[SqliteStore]:
    """The file as a server with these migrations opens it."""
    store = SqliteStore(path, busy_ms=10_000, migrations=migrations)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def old_file(path: str, migrations: Sequence[Migration] = MIGRATIONS) -> Snapshot:
    """The file of a server that knew these migrations; one session with an unanswered line is in it."""
    async with migrated(path, migrations) as store:
        before = await open_session(store)
        await committed(store, accept(before.session_id, "c1"))
        return await snapshot(store, before.session_id)


async def earlier_file(path: str, schema: int) -> Snapshot:
    """A file of a server of a schema that knew sessions by their ids alone; one unanswered line is in it."""
    present = Path(path).with_name("present.db")
    before = await old_file(str(present))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        for one in MIGRATIONS[:schema]:
            _apply(connection, one)
        connection.execute("attach ? as present", (str(present),))
        connection.execute(f"insert into main.sessions select {SESSION_COLUMNS} from present.sessions")
        columns = ", ".join(f"e.{name}" for name in EVENT_COLUMNS.split(", ")[1:])
        events = f"select s.session_id, {columns} from present.events e join present.sessions s on s.number = e.session"
        connection.execute(f"insert into main.events {events}")
    present.unlink()
    return before


async def first_file(path: str) -> Snapshot:
    """A file as the first servers left it, before files said what they are compatible with."""
    before = await earlier_file(path, 1)
    rows(path, "drop table rejoinder_schema")
    return before


def rows(path: str | Path, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def steps(store: SqliteStore) -> list[str]:
    """What `open` did, without its time."""
    return [line.split(" in ")[0] for line in store.migrated]


def names(migrations: Sequence[Migration], word: str = "applied") -> list[str]:
    return [f"{word} {one.version}_{one.name}" for one in migrations]


def version(path: str | Path) -> int:
    [(number,)] = rows(path, "pragma user_version")
    return int(number)


def tables(path: str | Path) -> list[tuple[Any, ...]]:
    return rows(path, "select name, sql from sqlite_master order by name")


def content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def mode(path: str | Path) -> int:
    return Path(path).stat().st_mode


def beside(path: str) -> list[str]:
    """The files in the database's folder, but for those that SQLite keeps there while it is open."""
    there = (file.name for file in Path(path).parent.iterdir())
    return sorted(name for name in there if not name.endswith(("-wal", "-shm")))


async def is_refused(path: str, reason: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    with pytest.raises(StoreUnavailable, match=reason):
        async with migrated(path, migrations):
            raise AssertionError("it was opened")
