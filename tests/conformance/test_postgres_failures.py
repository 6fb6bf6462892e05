"""What the PostgreSQL store does when its server is killed, the line breaks or is silent, a write is refused late."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest

from server.commit import GroupCommit
from server.errors import InvalidWrite, StoreUnavailable
from server.store import Store
from server.store.postgres import PostgresStore
from server.store.records import Committed, Conflict, Duplicate, Outcome, Write
from tests.conformance.opened_postgres import Database, connected, locked, new_database, opened, waiting
from tests.services.proxy import POSTGRES_DONE, Proxy
from tests.writes import (
    T0_MS,
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

SECRET = "what the user said"


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as database:
        yield database


class Proxied(NamedTuple):
    """A store, and what stands between it and its server."""

    store: PostgresStore
    proxy: Proxy


@contextlib.asynccontextmanager
async def proxied(database: Database, *, timeout_ms: int = 20_000) -> AsyncIterator[Proxied]:
    async with Proxy(database.server.port) as proxy:
        dsn = database.server.dsn(database.name, proxy.port)
        async with opened(dsn, timeout_ms=timeout_ms) as store:
            yield Proxied(store, proxy)


@contextlib.asynccontextmanager
async def grouped(store: Store) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(store, batch_limit=10, queue_limit=100)
    group.start()
    yield group
    await group.close()


async def submit(group: GroupCommit, write: Write, *, again: bool = False) -> Outcome | None:
    """The outcome of a write that waits in the queue of a group commit."""
    outcome: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
    assert group.submit(write, outcome.set_result, again=again)
    async with asyncio.timeout(60):
        return await outcome


def calls(store: Store, session_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that a store can be asked."""
    return {
        "commit": lambda: store.commit([accept(session_id)]),
        "load": lambda: store.load(session_id, USER, 0, 1),
        "read": lambda: store.read(session_id, USER, 0, 1),
        "heads": lambda: store.heads([(session_id, USER)]),
        "hold": lambda: store.hold([(session_id, USER)], "me", 1000),
        "release": lambda: store.release([(session_id, USER)], "me"),
        "find": lambda: store.find(session_id, USER, "c1"),
        "deck": lambda: store.deck("m1"),
        "pending": lambda: store.pending(T0_MS, 1),
        "delete": lambda: store.delete(new_session(), USER),
        "list": lambda: store.list(USER, 1),
    }


async def all_fail(store: Store, session_id: str) -> set[str]:
    """What they say, every one of them."""
    outcomes = {
        name: await asyncio.gather(call(), return_exceptions=True) for name, call in calls(store, session_id).items()
    }
    assert {name: type(outcome) for name, [outcome] in outcomes.items()} == dict.fromkeys(outcomes, StoreUnavailable)
    return {str(outcome) for [outcome] in outcomes.values()}


# ---------------------------------------------------------------- the answer is lost


async def _unknown(proxied: Proxied, write: Write) -> Outcome | None:
    """The outcome of a write that was committed, and whose answer was cut."""
    proxied.proxy.cut_next_answer(POSTGRES_DONE)
    async with grouped(proxied.store) as group:
        outcome = await submit(group, write)
    assert proxied.proxy.cuts == 1
    return outcome


async def test_a_commit_whose_answer_was_lost_is_unavailable_and_done(database: Database) -> None:
    async with proxied(database) as (store, proxy):
        before = await open_session(store)
        proxy.cut_next_answer(POSTGRES_DONE)
        with pytest.raises(StoreUnavailable, match="closed in the middle"):
            await commit(store, accept(before.session_id, "c1"))
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Duplicate)


async def test_a_line_whose_answer_was_lost_is_acknowledged_once(database: Database) -> None:
    async with proxied(database) as at:
        before = await open_session(at.store)
        outcome = await _unknown(at, accept(before.session_id, "c1"))
        assert isinstance(outcome, Committed)
        assert (await log_of(at.store, before.session_id))[2:] == list(outcome.events)


async def test_a_turn_whose_answer_was_lost_takes_effect_once(database: Database) -> None:
    async with proxied(database) as at:
        before = await open_session(at.store)
        outcome = await _unknown(at, turn(before, event(before.session_id), memory={"a": 1}))
        assert isinstance(outcome, Committed)
        after = await snapshot(at.store, before.session_id)
        assert (outcome.version, after.version, after.seq, after.memory) == (2, 2, 4, {"a": 1})


async def test_a_greeting_whose_answer_was_lost_is_said_once(database: Database) -> None:
    async with proxied(database) as at:
        await open_session(at.store)  # the first call of a function is two requests
        write = greeting(new_session())
        outcome = await _unknown(at, write)
        assert isinstance(outcome, Committed)
        assert await log_of(at.store, write.session_id) == list(outcome.events)


# ---------------------------------------------------------------- the line breaks, or is silent


async def test_a_server_that_is_away_is_unavailable_and_comes_back(database: Database) -> None:
    async with proxied(database) as (store, proxy):
        before = await open_session(store)
        await proxy.refuse()
        await all_fail(store, before.session_id)
        await proxy.accept()
        for call in calls(store, before.session_id).values():
            await call()


async def test_a_server_that_is_not_there_at_the_start_is_unavailable(database: Database) -> None:
    async with Proxy(database.server.port) as proxy:
        await proxy.refuse()
        store = PostgresStore(database.server.dsn(database.name, proxy.port), timeout_ms=20_000)
        with pytest.raises(StoreUnavailable):
            await store.open()
        await proxy.accept()
        await store.open()
        await open_session(store)
        await store.close()


@pytest.mark.parametrize("database_name", ["no_such_database", "postgres"])
async def test_what_is_not_ours_is_unavailable(database: Database, database_name: str) -> None:
    store = PostgresStore(database.server.dsn(database_name), timeout_ms=20_000)
    with pytest.raises(StoreUnavailable, match=r"no_such_database|no tables"):
        await store.open()
    await store.close()


async def test_a_silent_line_has_its_deadline(database: Database) -> None:
    async with proxied(database, timeout_ms=200) as (store, proxy):
        before = await open_session(store)
        proxy.stall()
        async with asyncio.timeout(20):
            assert await all_fail(store, before.session_id) == {"PostgreSQL did not answer in time"}
        proxy.go_on()
        await commit(store, accept(before.session_id, "c1"))
        assert (await store.find(before.session_id, USER, "c1")) is not None


async def test_a_silent_line_does_not_keep_the_store_from_closing(database: Database) -> None:
    async with proxied(database, timeout_ms=200) as (store, proxy):
        before = await open_session(store)
        proxy.stall()
        asking = [asyncio.create_task(commit(store, accept(before.session_id))) for _ in range(10)]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await store.close()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 10


async def test_a_commit_that_was_given_up_does_not_wait_on_at_the_server(database: Database) -> None:
    """Its deadline passes while it waits for a lock, and no limit of the server's own would end that."""
    database.sql("alter function rejoinder_commit_v1 set lock_timeout = 0")
    async with opened(database.dsn, timeout_ms=200) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            with pytest.raises(StoreUnavailable, match="in time"):
                await commit(store, accept(before.session_id, "c1"))
            await waiting(database.dsn, 0)
        assert await snapshot(store, before.session_id) == before
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Committed)


async def test_who_stops_waiting_does_not_stop_the_commit(database: Database) -> None:
    async with proxied(database) as (store, proxy):
        before = await open_session(store)
        proxy.stall()
        committing = asyncio.create_task(commit(store, accept(before.session_id, "c1")))
        await asyncio.sleep(0)
        committing.cancel()
        await asyncio.wait([committing])
        assert committing.cancelled()
        proxy.go_on()
        async with asyncio.timeout(20):
            while await store.find(before.session_id, USER, "c1") is None:
                await asyncio.sleep(0.005)  # it is on its way, and nobody is left who could be told
        assert proxy.accepted <= 2
        assert len(await log_of(store, before.session_id)) == 3


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
        outcomes: dict[str, Outcome | None] = {}
        for number in range(3):
            client_id = f"c{number}"
            write = accept(before.session_id, client_id)
            submitted = asyncio.create_task(submit(group, write))
            await asyncio.sleep(0.002 * number)  # another moment each time
            database.server.kill()
            outcomes[client_id] = await submitted
            database.server.start()
            while outcomes[client_id] is None:
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
    async with opened(database.dsn, timeout_ms=300) as store:
        before = await open_session(store)
        async with connected(database.dsn) as other:
            pids = await other.fetch("select pid from pg_stat_activity where backend_type = 'client backend'")
        processes = [database.server.pid, *(row["pid"] for row in pids if row["pid"] != other.get_server_pid())]
        _send(processes, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="in time"):
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
    database.sql(f"alter database {database.name} set statement_timeout = '50ms'")
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
