"""Migrations of a real PostgreSQL under way: several at once, tables in use, and whatever ends one half way."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import asyncpg  # type: ignore[import-untyped]
import pytest

from server.errors import StoreUnavailable
from server.store.postgres import migrate as migration
from server.store.postgres.migrate import migrate, shipped
from tests.services.postgres import running_server
from tests.support.databases import (
    ADDED,
    ADDS,
    NOTHING,
    OWN,
    applied,
    contents,
    dsn,
    empty_database,
    is_refused,
    locked,
    next_schema,
    untimed,
)
from tests.support.process import ROOT

#: A bound and no promise.
WAIT_S = 60
#: Half of a migration, and another half that lasts while somebody has this lock.
HOLD = "select pg_advisory_lock(4711)"
SLOW = next_schema(
    OWN + 1,
    OWN,
    """
    create table public.rejoinder_half (x int);
    do $$ begin
        while exists (select from pg_locks where locktype = 'advisory' and objid = 4711) loop
            perform pg_sleep(0.05);
        end loop;
    end $$;
    """,
)
AT_WORK = "from pg_stat_activity where query like '%rejoinder_half%' and pid <> pg_backend_pid()"
MIGRATE = """
import asyncio, sys
from server.store.postgres import migrate
from tests.store.test_migrate_troubles import OWN, SLOW
migrate.SILENCE_MS = 1_000
asyncio.run(migrate.migrate(sys.argv[1], migrations=[*migrate.shipped(), SLOW], own=OWN + 1))
"""


@pytest.fixture
def empty() -> Iterator[str]:
    with empty_database() as name:
        yield name


# ---------------------------------------------------------------- at once


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
async def test_of_many_at_once_one_migrates(empty: str, isolation: str) -> None:
    running_server().sql("postgres", f"alter database {empty} set default_transaction_isolation = '{isolation}'")
    runs = await asyncio.gather(*(migrate(dsn(empty)) for _ in range(5)))
    assert sorted(map(untimed, runs)) == [applied(shipped()), *[NOTHING] * 4]


async def test_who_waits_finds_nothing_to_do(empty: str) -> None:
    async with locked(empty):
        waiting = asyncio.create_task(migrate(dsn(empty)))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        assert running_server().sql(empty, "select count(*) from pg_locks where not granted") == "1"
        for one in shipped():
            running_server().sql(empty, one.sql)
            values = f"('{one.version}', '{one.name}', '{one.sha256}')"
            running_server().sql(
                empty, f"create table if not exists later (x text); insert into later values ($${values}$$)"
            )
        rows = "insert into rejoinder_migrations (version, name, sha256) values "
        running_server().sql(empty, rows + running_server().sql(empty, "select string_agg(x, ',') from later"))
    assert await waiting == NOTHING


async def test_a_wait_for_another_migration_has_an_end(empty: str) -> None:
    async with asyncio.timeout(30), locked(empty):  # half of LOCK_WAIT_MS
        with pytest.raises(StoreUnavailable, match="another process is migrating this database"):
            await migrate(dsn(empty), wait_ms=50)
    assert len(await migrate(dsn(empty), wait_ms=50)) == len(shipped())


async def test_a_table_that_is_in_use_is_not_waited_for_long(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "TABLE_WAIT_MS", 50)
    await migrate(dsn(empty))
    async with asyncio.timeout(30), locked(empty, "select * from rejoinder_sessions"):  # half of LOCK_WAIT_MS
        await is_refused(empty, f"{ADDS} needs a table that is in use", ADDED, OWN + 1)
    await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)


async def test_a_file_that_runs_for_too_long_is_ended(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "STATEMENT_MS", 200)
    async with locked(empty, HOLD):
        await is_refused(empty, f"{SLOW} took too long: nothing was changed", (*shipped(), SLOW), OWN + 1)


# ---------------------------------------------------------------- kills


class Half:
    """A process that has made half of a migration, and is at work on the other until it may end."""

    def __init__(self, name: str, holder: asyncpg.Connection) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", MIGRATE, dsn(name)], cwd=ROOT, stderr=subprocess.DEVNULL)
        self._holder = holder

    def end(self) -> None:
        """The statement comes to its end, if it can."""
        self._holder.terminate()

    def close(self) -> None:
        self.end()
        self.process.kill()
        self.process.wait()


@contextlib.asynccontextmanager
async def in_the_middle(name: str) -> AsyncIterator[Half]:
    """It outlives no test, whatever comes of that."""
    holder = await asyncpg.connect(dsn(name))
    await holder.execute(HOLD)
    half = Half(name, holder)
    try:
        async with asyncio.timeout(WAIT_S):
            while running_server().sql(name, f"select count(*) {AT_WORK} and wait_event = 'PgSleep'") != "1":
                assert half.process.poll() is None
                await asyncio.sleep(0.05)
        yield half
    finally:
        half.close()


@pytest.mark.parametrize("before", ["empty", "migrated"])
@pytest.mark.parametrize("killed", ["the migration", "its connection", "the database"])
async def test_a_kill_in_the_middle_leaves_the_schema_of_before(empty: str, before: str, killed: str) -> None:
    if before == "migrated":
        await migrate(dsn(empty))
    old = contents(empty)
    async with in_the_middle(empty) as half:
        match killed:
            case "the migration":
                half.process.send_signal(signal.SIGKILL)
                half.process.wait()
                half.end()  # then the database notices
            case "its connection":
                assert running_server().sql(empty, f"select pg_terminate_backend(pid) {AT_WORK}") == "t"
            case "the database":
                running_server().restart()
        assert half.process.wait(WAIT_S) != 0
    assert contents(empty) == old
    lines = await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)
    assert untimed(lines) == applied([ADDS] if before == "migrated" else ADDED)


async def test_a_migration_that_falls_silent_keeps_nobody_waiting(empty: str) -> None:
    async with in_the_middle(empty) as half:
        half.process.send_signal(signal.SIGSTOP)  # as if its machine were gone: nothing tells the database
        half.end()
        try:
            lines = await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)
            assert untimed(lines) == applied(ADDED)
        finally:
            half.process.send_signal(signal.SIGCONT)
        assert half.process.wait(WAIT_S) != 0
    assert await migrate(dsn(empty), migrations=ADDED, own=OWN + 1) == [f"nothing to do, the schema is {OWN + 1}"]
