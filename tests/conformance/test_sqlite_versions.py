"""Several servers on one SQLite file: of one version at once, of two versions beside each other; and a plan."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from server.errors import StoreUnavailable
from server.records import SessionKey
from server.store.sqlite.inspector import SqliteInspector
from server.store.sqlite.migrate import MIGRATIONS, _apply, plan, transaction
from server.store.sqlite.store import SqliteStore
from tests.conformance.migrated import (
    COPY,
    beside,
    content,
    is_refused,
    migrated,
    names,
    old_file,
    rows,
    tables,
    version,
)
from tests.conformance.opened import opened
from tests.support.next_schemas import ADDED, ADDS, OWN, TAKEN
from tests.support.writes import USER, accept, committed, greeting, log_of, new_session, open_session, snapshot, turn

# ---------------------------------------------------------------- at once


async def test_of_many_that_start_at_once_one_migrates(path: str) -> None:
    before = await old_file(path)
    stores = [SqliteStore(path, migrations=ADDED) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert await snapshot(store, before.session_id) == before
        await store.close()
    assert sorted(len(store.migrated) for store in stores) == [0] * 7 + [2]
    assert beside(path) == ["store.db", COPY]


async def test_who_waited_for_the_lock_looks_again(path: str) -> None:
    before = await old_file(path)
    store = SqliteStore(path, busy_ms=60_000, migrations=ADDED)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other, transaction(other):
        opening = asyncio.create_task(store.open())
        await asyncio.wait([opening], timeout=0.2)
        assert not opening.done()
        _apply(other, ADDS)
    await opening
    assert await snapshot(store, before.session_id) == before
    assert store.migrated == []
    await store.close()
    assert beside(path) == ["store.db"]


async def test_a_lock_that_is_held_too_long_stops_the_start(path: str) -> None:
    await old_file(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        store = SqliteStore(path, busy_ms=50, migrations=ADDED)
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.open()
        await store.close()
        other.execute("rollback")
    assert (version(path), beside(path)) == (OWN, ["store.db"])


# ---------------------------------------------------------------- two versions


async def test_an_old_server_works_beside_a_new_schema(path: str) -> None:
    before = await old_file(path)
    async with opened(path) as old:
        assert await snapshot(old, before.session_id) == before
        async with migrated(path) as new:
            await committed(old, turn(before, answers=3))
            before = await snapshot(new, before.session_id)
            await committed(new, accept(before.session_id, "c2"))
            assert await snapshot(old, before.session_id) == await snapshot(new, before.session_id)
            session_id = new_session()
            await committed(old, greeting(session_id))
            assert await log_of(new, session_id) == await log_of(old, session_id)


async def test_an_old_server_starts_beside_a_new_schema(path: str) -> None:
    before = await old_file(path)
    async with migrated(path) as new:
        await committed(new, turn(before, answers=3))
        before = await snapshot(new, before.session_id)
    schema = tables(path)
    async with opened(path) as old:
        assert old.migrated == []
        [line] = await committed(old, accept(before.session_id, "c2"))
        assert await old.find(SessionKey(USER, before.session_id), "c2") == line
    assert (version(path), tables(path), beside(path)) == (OWN + 1, schema, ["store.db", COPY])
    with SqliteInspector(path) as inspector:
        assert inspector.look(before.key).snapshot is not None


async def test_a_schema_that_takes_no_old_server_is_left_alone(path: str) -> None:
    before = await old_file(path)
    async with migrated(path, TAKEN):
        pass
    untouched = content(path)
    sentence = f"its schema {OWN + 2} is newer than this server's {OWN} and takes no server older than {OWN + 1}: start"
    await is_refused(path, sentence)
    assert content(path) == untouched
    with pytest.raises(StoreUnavailable, match=f"has schema {OWN + 2}"), SqliteInspector(path):
        pass
    async with migrated(path, ADDED) as between:  # one version older is old enough to know it
        assert await snapshot(between, before.session_id) == before


async def test_what_a_file_says_counts_for_its_own_version_only(path: str) -> None:
    """Something that raised the number and knows nothing of our table has not promised anything."""
    async with opened(path):
        pass
    rows(path, f"pragma user_version = {OWN + 1}")
    await is_refused(path, f"its schema {OWN + 1} is newer")


# ---------------------------------------------------------------- a plan


@pytest.mark.parametrize("state", ["closed", "in use"])
async def test_a_plan_changes_nothing(path: str, state: str) -> None:
    await old_file(path)
    async with contextlib.AsyncExitStack() as open_stores:
        if state == "in use":
            await open_session(await open_stores.enter_async_context(opened(path)))
        files = sorted(Path(path).parent.iterdir())
        contents = [file.read_bytes() for file in files if not file.name.endswith("-shm")]
        copies = [f"would copy store.db, schema {OWN}, to {COPY}"]
        assert plan(Path(path), TAKEN) == [*copies, *names(TAKEN[-2:], "would apply")]
        assert plan(Path(path), MIGRATIONS) == []
        assert sorted(Path(path).parent.iterdir()) == files
        assert [file.read_bytes() for file in files if not file.name.endswith("-shm")] == contents


async def test_a_plan_for_a_file_that_is_not_there_and_for_one_that_is_too_new(path: str) -> None:
    assert plan(Path(path), MIGRATIONS) == [f"would make {path}"]
    assert not Path(path).parent.exists()
    async with migrated(path, TAKEN):
        pass
    with pytest.raises(sqlite3.DatabaseError, match="is newer"):
        plan(Path(path), MIGRATIONS)
