"""An SQLite file of an older version: copied first, then migrated, or left as it was."""

import os
import sqlite3
from pathlib import Path

import pytest

from server.store.sqlite.inspector import SqliteInspector
from server.store.sqlite.migrate import COPIES_LIMIT, MIGRATIONS, Migration
from tests.conformance.migrated import (
    COPY,
    beside,
    content,
    earlier_file,
    first_file,
    is_refused,
    migrated,
    mode,
    names,
    old_file,
    rows,
    steps,
    tables,
    version,
)
from tests.conformance.opened import opened
from tests.durability.soundness import sound_logs
from tests.durability.troubles import small_disk, wal
from tests.support.next_schemas import ADDED, ADDS, FAILED, OWN, TAKEN
from tests.support.writes import (
    STRANGER,
    USER,
    accept,
    committed,
    event,
    greeting,
    log_of,
    open_session,
    snapshot,
    turn,
)

# ---------------------------------------------------------------- forward


async def test_a_new_file_needs_no_copy(path: str) -> None:
    async with migrated(path) as store:
        await open_session(store)
        assert steps(store) == names(ADDED)
    assert beside(path) == ["store.db"]
    assert version(path) == ADDS.version
    assert rows(path, "select * from rejoinder_schema") == [(ADDS.version, ADDS.compatible_from)]
    assert rows(path, "select mood from moods join sessions using (session_id, mood)") == [("calm",)]


async def test_a_file_of_this_version_is_left_as_it_is(path: str) -> None:
    await old_file(path)
    before = content(path)
    async with opened(path) as store:
        assert store.migrated == []
    assert content(path) == before
    assert beside(path) == ["store.db"]


async def test_memory_is_made_by_every_migration_and_not_copied() -> None:
    async with migrated(":memory:") as store:
        await open_session(store)
        assert len(store.migrated) == len(ADDED)


async def test_an_old_file_is_copied_and_migrated(path: str) -> None:
    before = await old_file(path)
    os.chmod(path, 0o640)
    async with migrated(path) as store:
        assert await snapshot(store, before.session_id) == before
        await committed(store, turn(before, answers=3))
        assert steps(store) == [f"copied store.db, schema {OWN}, to {COPY}", *names([ADDS])]
    assert beside(path) == ["store.db", COPY]
    copy = Path(path).with_name(COPY)
    assert mode(copy) == mode(path)
    assert version(copy) == OWN
    async with opened(str(copy)) as old:  # the way back: the server of before, on the copy
        assert await snapshot(old, before.session_id) == before
        assert old.migrated == []


async def test_a_file_of_the_first_servers_becomes_one_of_this(path: str) -> None:
    before = await first_file(path)
    async with opened(path) as store:
        assert await snapshot(store, before.session_id) == before
        await committed(store, turn(before, answers=3))
        assert steps(store) == ["copied store.db, schema 1, to store.db.backup-v1", *names(MIGRATIONS[1:])]
    assert (version(path), beside(path)) == (OWN, ["store.db", "store.db.backup-v1"])
    copy = str(Path(path).with_name("store.db.backup-v1"))
    assert version(copy) == 1
    with SqliteInspector(copy) as inspector:  # a copy can be looked into as it is
        assert inspector.look(before.key).snapshot == before
        assert [one.seq for one in inspector.look(before.key).log] == [1, 2, 3]


async def test_a_file_that_knew_sessions_by_their_ids_becomes_one_of_this(path: str) -> None:
    """The log stays in the order in which it was written, and another owner may use the id from then on."""
    before = await earlier_file(path, 3)
    log = rows(path, "select seq, type, role, message_id, client_id, turn, payload, created_at from events")
    async with opened(path) as store:
        assert steps(store) == ["copied store.db, schema 3, to store.db.backup-v3", *names(MIGRATIONS[3:])]
        assert await snapshot(store, before.session_id) == before
        await committed(store, greeting(before.session_id, user_id=STRANGER))
        await committed(store, accept(before.session_id, "c1", user_id=STRANGER))
        assert await snapshot(store, before.session_id) == before
        line = await store.find(before.key, "c1")
        assert line is not None
        assert line.seq == 3
    columns = "select seq, type, role, message_id, client_id, turn, payload, created_at from events where session = 1"
    assert rows(path, columns) == log
    with SqliteInspector(path) as inspector:
        assert inspector.owners(before.session_id) == [USER, STRANGER]


async def test_a_server_that_knew_sessions_by_their_ids_must_not_open_it(path: str) -> None:
    """Nor can one that had it open write into it: the columns that it names are gone."""
    async with opened(path) as store:
        before = await open_session(store)
    await is_refused(path, "takes no server older than 5", MIGRATIONS[:4])
    for statement in ("insert into events (session_id) values ('s')", "select session_id from events"):
        with pytest.raises(sqlite3.OperationalError, match="session_id"):
            rows(path, statement)
    async with opened(path) as store:
        assert await snapshot(store, before.session_id) == before


async def test_the_copy_has_what_is_in_the_log_only(path: str, tmp_path: Path) -> None:
    await old_file(path)
    crashed = tmp_path / "crashed" / "store.db"
    crashed.parent.mkdir()
    async with opened(path) as store:
        session_id = (await open_session(store)).session_id
        log = list(await log_of(store, session_id))
        for file in (Path(path), wal(Path(path))):
            (crashed.parent / file.name).write_bytes(file.read_bytes())
    assert wal(crashed).stat().st_size > 0
    async with migrated(str(crashed)):
        pass
    assert sound_logs(crashed.with_name(COPY))[session_id] == log


async def test_migrations_run_in_order_with_one_copy(path: str) -> None:
    before = await old_file(path)
    async with migrated(path, TAKEN) as store:
        assert await snapshot(store, before.session_id) == before
        assert [line.split()[0] for line in store.migrated] == ["copied", "applied", "applied"]
    assert (version(path), beside(path)) == (OWN + 2, ["store.db", COPY])


async def test_a_migration_that_fails_leaves_nothing(path: str) -> None:
    before = await old_file(path)
    schema = tables(path)
    await is_refused(path, "syntax error", FAILED)
    assert (version(path), tables(path)) == (OWN, schema)
    async with opened(path) as store:
        assert await snapshot(store, before.session_id) == before


async def test_a_migration_that_fails_leaves_the_one_before_it(path: str) -> None:
    await old_file(path)
    wrong = Migration(OWN + 2, "wrong", "drop table moods;\nno sql;\n", OWN)
    await is_refused(path, "syntax error", (*ADDED, wrong))
    assert version(path) == OWN + 1
    assert rows(path, "select count(*) from moods") == [(1,)]


def test_what_ships_has_no_transaction_of_its_own_and_rises_by_one() -> None:
    assert [one.version for one in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    for one in MIGRATIONS:
        assert one.compatible_from <= one.version
        assert not {"begin immediate", "commit;", "rollback;", "vacuum"} & set(one.sql.lower().splitlines())


# ---------------------------------------------------------------- the copy


async def test_a_copy_is_never_overwritten(path: str) -> None:
    """A migration that failed is tried again: the same content needs no second copy, other content has its own."""
    before = await old_file(path)
    await is_refused(path, "syntax error", FAILED)
    first = content(Path(path).with_name(COPY))
    await is_refused(path, "syntax error", FAILED)
    assert beside(path) == ["store.db", COPY]
    async with opened(path) as old:
        await committed(old, turn(before, answers=3))
        after = await snapshot(old, before.session_id)
    async with migrated(path) as store:
        assert store.migrated[0].endswith(f"to {COPY}-2")
    assert beside(path) == ["store.db", COPY, f"{COPY}-2"]
    assert content(Path(path).with_name(COPY)) == first
    async with opened(str(Path(path).with_name(f"{COPY}-2"))) as old:
        assert await snapshot(old, before.session_id) == after


async def test_there_is_an_end_to_copies(path: str) -> None:
    await old_file(path)
    for number in range(1, COPIES_LIMIT + 1):
        rows(Path(path).with_name(COPY if number == 1 else f"{COPY}-{number}"), f"create table other{number} (x)")
    found = beside(path)
    await is_refused(path, f"there are {COPIES_LIMIT} copies {COPY}\\*", ADDED)
    assert (version(path), beside(path)) == (OWN, found)


async def test_what_a_killed_copy_left_is_in_nobodys_way(path: str) -> None:
    await old_file(path)
    Path(path).with_name(f"{COPY}.part").write_bytes(b"half a copy")
    async with migrated(path):
        pass
    assert beside(path) == ["store.db", COPY]
    assert version(Path(path).with_name(COPY)) == OWN


async def test_without_a_copy_there_is_no_migration(path: str) -> None:
    await old_file(path)
    schema = tables(path)
    Path(path).with_name(f"{COPY}.part").mkdir()
    await is_refused(path, f"{COPY}, the copy to make before it is migrated, failed", ADDED)
    assert (version(path), tables(path)) == (OWN, schema)


async def test_a_file_that_is_no_copy_stops_the_migration(path: str) -> None:
    await old_file(path)
    Path(path).with_name(COPY).write_bytes(b"a letter to my aunt " * 100)
    await is_refused(path, "not a database", ADDED)
    assert version(path) == OWN


async def test_a_disk_without_room_for_the_copy_stops_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as folder:
        path = str(folder / "store.db")
        before = await old_file(path)
        async with opened(path) as store:
            large = event(before.session_id, payload={"text": "x" * 1_100_000})
            await committed(store, turn(before, large, answers=3))
            before = await snapshot(store, before.session_id)
        await is_refused(path, "full", ADDED)
        assert (version(path), beside(path)) == (OWN, ["store.db"])
        async with opened(path) as store:
            assert await snapshot(store, before.session_id) == before
