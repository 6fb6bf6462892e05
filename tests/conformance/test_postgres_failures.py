"""What the PostgreSQL store does when its server is killed, the line breaks or is silent, a write is refused late."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from server.errors import InvalidWrite, StoreUnavailable
from server.records import UNKNOWN, Committed, Conflict, Duplicate, Settled
from server.store.postgres.store import PostgresStore
from tests.conformance.opened_postgres import (
    Database,
    calls,
    connected,
    grouped,
    hurried,
    locked,
    new_database,
    opened,
    submit,
    waiting,
)
from tests.support.writes import accept, commit, committed, log_of, open_session, snapshot, turn

SECRET = "what the user said"


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as database:
        yield database


# ---------------------------------------------------------------- the server ends


async def test_what_was_committed_survives_the_servers_sudden_end(database: Database) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        for number in range(2):
            [line] = await committed(store, accept(before.session_id, f"c{number}"))
            ended = await committed(store, turn(await snapshot(store, before.session_id), answers=line.seq))
            log = await log_of(store, before.session_id)
            assert log[-1] == ended[-1]
            database.server.kill()
            with pytest.raises(StoreUnavailable):
                await commit(store, accept(before.session_id, "lost"))
            database.server.start()
            assert await log_of(store, before.session_id) == log
        assert (await snapshot(store, before.session_id)).version == 3


async def test_a_commit_during_the_servers_end_takes_effect_once(database: Database) -> None:
    """It is under way when the server is killed, and comes again when it is back, by nobody's leave but our own."""
    async with opened(database.dsn) as store, grouped(store) as group:
        before = await open_session(store)
        outcomes: dict[str, Settled] = {}
        for number in range(3):
            client_id = f"c{number}"
            write = accept(before.session_id, client_id)
            submitted = asyncio.create_task(submit(group, write))
            await asyncio.sleep(0.002 * number)  # another moment each time
            database.server.kill()
            outcomes[client_id] = await submitted
            database.server.start()
            while outcomes[client_id] == UNKNOWN:
                outcomes[client_id] = await submit(group, write, again=True)
        log = await log_of(store, before.session_id)
        assert [said.client_id for said in log[2:]] == list(outcomes)
        assert [outcome.events[0] for outcome in outcomes.values() if isinstance(outcome, Committed)] == log[2:]


async def test_a_session_that_the_server_ends_is_replaced(database: Database) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            committing = asyncio.create_task(commit(store, accept(before.session_id, "c1")))
            await waiting(database.dsn)
            ends = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
            assert database.sql(ends) == "t"
            with pytest.raises(StoreUnavailable):
                await committing
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Committed)


async def test_a_server_that_is_restarted_is_the_same_server(database: Database) -> None:
    """As an upgrade does it. The connections at rest are gone, and nobody has to be told."""
    async with opened(database.dsn) as store:
        before = await open_session(store)
        await asyncio.to_thread(database.server.stop)
        await asyncio.to_thread(database.server.start)
        for call in calls(store, before.session_id).values():
            await call()


async def test_a_server_that_stands_still_has_its_deadline(database: Database) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        async with connected(database.dsn) as other:
            pids = await other.fetch("select pid from pg_stat_activity where backend_type = 'client backend'")
        processes = [database.server.pid, *(row["pid"] for row in pids if row["pid"] != other.get_server_pid())]
        _send(processes, signal.SIGSTOP)
        try:
            with hurried(store), pytest.raises(StoreUnavailable, match="in time"):
                await commit(store, accept(before.session_id, "c1"))
        finally:
            _send(processes, signal.SIGCONT)
    async with opened(database.dsn) as store:
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Committed | Duplicate)
        assert len(await log_of(store, before.session_id)) == 3


def _send(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# ---------------------------------------------------------------- refusals of the database


async def test_a_lock_that_is_held_too_long_is_given_up_by_the_server_itself(database: Database) -> None:
    database.sql("alter function rejoinder_commit_v1 set lock_timeout = '50ms'")
    async with opened(database.dsn) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            with pytest.raises(StoreUnavailable, match="55P03"):
                await commit(store, accept(before.session_id, "c1"))
        await committed(store, accept(before.session_id, "c1"))


async def test_a_statement_that_the_database_finds_too_slow_is_unavailable(database: Database) -> None:
    # Each of the store's own statements may take so long.
    database.sql(f"alter database {database.name} set statement_timeout = '1s'")
    async with opened(database.dsn) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            with pytest.raises(StoreUnavailable, match="57014"):
                await commit(store, accept(before.session_id, "c1"))
        await committed(store, accept(before.session_id, "c1"))


async def test_a_write_that_is_refused_at_the_very_end_is_invalid_and_not_quoted(database: Database) -> None:
    """By a constraint that is looked at when the transaction ends: then there is no outcome to tell it by."""
    database.sql(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise check_violation using message = new.payload, detail = new.payload; end $$;"
        "create constraint trigger refuses after insert on rejoinder_events deferrable initially deferred"
        f" for each row when (new.payload like '%{SECRET}%') execute function refuse()"
    )
    async with opened(database.dsn) as store:
        before = await open_session(store)
        with pytest.raises(InvalidWrite, match="23514") as raised:
            await store.commit([accept(before.session_id, payload={"text": SECRET}), turn(before)])
        assert SECRET not in str(raised.value)
        assert await snapshot(store, before.session_id) == before
        assert isinstance(await commit(store, turn(before)), Committed)


async def test_a_database_that_became_read_only_is_unavailable(database: Database) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        database.sql(f"alter database {database.name} set default_transaction_read_only = on")
        for link in store._resting:
            link.connection.terminate()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="25006"):
                await store.commit([accept(before.session_id, "c1"), turn(before)])
        assert await snapshot(store, before.session_id) == before
        database.sql(
            "begin; set transaction read write;"
            f"alter database {database.name} set default_transaction_read_only = off; commit"
        )
        with pytest.raises(StoreUnavailable):  # the session that read the snapshot is from before
            await commit(store, turn(before))
        assert isinstance(await commit(store, turn(before)), Committed)


async def test_a_right_that_is_missing_is_unavailable(database: Database) -> None:
    database.sql("create role clerk login; grant usage on schema public to clerk")
    try:
        store = PostgresStore(database.dsn.replace("postgres@", "clerk@"), timeout_ms=20_000)
        with pytest.raises(StoreUnavailable, match="42501"):
            await store.open()
        await store.close()
    finally:
        database.sql("drop owned by clerk; drop role clerk")


async def test_a_conflict_of_two_servers_is_no_fault(database: Database) -> None:
    """One waits for the other's lock and is then told what it is too late for."""
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        before = await open_session(store)
        async with other.transaction():
            await other.execute("update rejoinder_sessions set version = 2 where session_id = $1", before.session_id)
            committing = asyncio.create_task(commit(store, turn(before)))
            await waiting(database.dsn)
        assert await committing == Conflict(2)
