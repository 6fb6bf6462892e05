"""What the SQLite store does when the disk fails, the file is not one of ours, or it was not opened yet."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from server.errors import InvalidWrite, StoreClosed, StoreUnavailable
from server.records import Committed, SessionKey
from server.store.sqlite.migrate import MIGRATIONS
from server.store.sqlite.store import SqliteStore
from tests.conformance.opened import opened, pragma, writer
from tests.support.writes import (
    USER,
    accept,
    commit,
    committed,
    event,
    greeting,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)

# ---------------------------------------------------------------- a commit that fails


async def test_a_full_disk_writes_nothing_and_may_be_mended(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        large = turn(before, event(before.session_id, payload={"text": "x" * 500_000}), memory={"a": 1})
        writer(store).execute(f"pragma max_page_count = {pragma(writer(store), 'page_count')}")
        with pytest.raises(StoreUnavailable, match="full"):
            await store.commit([accept(before.session_id, "c1"), large])
        assert await snapshot(store, before.session_id) == before
        assert len(await log_of(store, before.session_id)) == 2
        writer(store).execute("pragma max_page_count = 1000000")
        outcomes = await store.commit([accept(before.session_id, "c1"), large])
        assert [type(outcome) for outcome in outcomes] == [Committed, Committed]


async def test_a_file_that_cannot_be_written_writes_nothing(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        writer(store).execute("pragma query_only = on")
        with pytest.raises(StoreUnavailable, match="readonly"):
            await store.commit([accept(before.session_id, "c1"), turn(before)])
        writer(store).execute("pragma query_only = off")
        assert await snapshot(store, before.session_id) == before
        await committed(store, accept(before.session_id, "c1"))


@pytest.mark.parametrize("table", ["events", "sessions"])
async def test_a_statement_that_fails_takes_the_whole_batch_with_it(path: str, table: str) -> None:
    """However far a transaction came: nothing of it stays, and nothing of it hangs over the next one."""
    async with opened(path) as store:
        before, other = await open_session(store), await open_session(store)
        answered = [accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3)]
        numbered = "select number from sessions where session_id = ?"
        [(number,)] = writer(store).execute(numbered, (other.session_id,)).fetchall()
        mine = f"session = {number}" if table == "events" else f"number = {number}"
        writer(store).execute(
            f"create trigger fails before {'insert' if table == 'events' else 'update'} on {table}"
            f" when new.{mine} begin select raise(abort, 'on purpose'); end"
        )
        for _ in range(2):
            with pytest.raises((StoreUnavailable, InvalidWrite), match="on purpose"):
                await store.commit([*answered, accept(other.session_id, "c1")])
            assert await snapshot(store, before.session_id) == before
            assert len(await log_of(store, before.session_id)) == 2
        writer(store).execute("drop trigger fails")
        assert [type(outcome) for outcome in await store.commit(answered)] == [Committed, Committed]


async def test_a_number_that_no_column_takes_is_an_invalid_write(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        with pytest.raises(InvalidWrite):
            await commit(store, accept(before.session_id, created_at=2**70))
        assert await snapshot(store, before.session_id) == before


# ---------------------------------------------------------------- open and close


def _overwrite(path: str, *, skip_bytes: int) -> None:
    content = bytearray(Path(path).read_bytes())
    content[skip_bytes:] = b"\xa5" * (len(content) - skip_bytes)
    Path(path).write_bytes(content)


async def _cannot_open(path: str, reason: str) -> None:
    store = SqliteStore(path, busy_ms=50)
    with pytest.raises(StoreUnavailable, match=reason):
        await store.open()
    with pytest.raises(StoreClosed):
        await store.load(SessionKey(USER, new_session()), 0, 0)
    await store.close()


async def test_a_newer_schema_is_refused_and_left_alone(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        writer(store).execute("pragma user_version = 99")
    await _cannot_open(path, "its schema 99 is newer than this server's ")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert pragma(connection, "user_version") == 99
        connection.execute(f"pragma user_version = {MIGRATIONS[-1].version}")
    async with opened(path) as store:
        assert await snapshot(store, before.session_id) == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"This is a letter to my aunt. " * 1000)
    await _cannot_open(str(file), "not a database")
    assert file.read_bytes() == b"This is a letter to my aunt. " * 1000


async def test_a_damaged_file_is_refused_or_its_session_is(path: str) -> None:
    """What a page was overwritten with is never taken for an answer."""
    async with opened(path) as store:
        before = await open_session(store)
        await store.commit([greeting(new_session()) for _ in range(200)])
        writer(store).execute("pragma wal_checkpoint(truncate)")
    _overwrite(path, skip_bytes=4096)
    with pytest.raises(StoreUnavailable):
        async with opened(path) as store:
            await store.load(SessionKey(USER, before.session_id), 0, 10)


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    await _cannot_open(str(tmp_path / "file" / "store.db"), "cannot open")


async def test_open_may_be_tried_again(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "store.db"), busy_ms=50)
    with sqlite3.connect(tmp_path / "store.db") as newer:
        newer.execute("pragma user_version = 99")
    with pytest.raises(StoreUnavailable):
        await store.open()
    newer.execute("pragma user_version = 0")
    newer.close()
    await store.open()
    await open_session(store)
    await store.close()


async def test_before_open_everything_raises(path: str) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreClosed):
        await commit(store, greeting(new_session()))
    with pytest.raises(StoreClosed):
        await store.read(SessionKey(USER, new_session()), 0, 1)
    await store.close()
