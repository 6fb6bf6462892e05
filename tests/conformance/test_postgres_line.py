"""What the PostgreSQL store does when the line to its server breaks, is silent, or loses an answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest

from server.errors import StoreUnavailable
from server.records import Committed, Duplicate, SessionKey, Settled, Write
from server.store.library import FullStore
from server.store.postgres.store import PostgresStore
from tests.conformance.opened_postgres import (
    Database,
    calls,
    grouped,
    hurried,
    locked,
    new_database,
    opened,
    submit,
    waiting,
)
from tests.services.proxy import POSTGRES_DONE, Proxy
from tests.support.writes import (
    USER,
    accept,
    commit,
    event,
    greeting,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)


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


async def all_fail(store: FullStore, session_id: str) -> set[str]:
    """What they say, every one of them."""
    outcomes = {
        name: await asyncio.gather(call(), return_exceptions=True) for name, call in calls(store, session_id).items()
    }
    assert {name: type(outcome) for name, [outcome] in outcomes.items()} == dict.fromkeys(outcomes, StoreUnavailable)
    return {str(outcome) for [outcome] in outcomes.values()}


# ---------------------------------------------------------------- the answer is lost


async def _unknown(proxied: Proxied, write: Write) -> Settled:
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


@pytest.mark.parametrize(
    "dsn", ["u:secret@h:port/x", "u:secret@127.0.0.1:99999/x", "u:secret@[::1/x", "u@h/x?sslmode=secret"]
)
async def test_what_is_no_url_is_said_and_not_quoted(dsn: str) -> None:
    store = PostgresStore(f"postgresql://{dsn}", timeout_ms=20_000)
    with pytest.raises(StoreUnavailable, match="no URL of a database") as raised:
        await store.open()
    assert "secret" not in str(raised.value)
    await store.close()


async def test_a_silent_line_has_its_deadline(database: Database) -> None:
    async with proxied(database) as (store, proxy):
        before = await open_session(store)
        proxy.stall()
        async with asyncio.timeout(20):
            with hurried(store):
                assert await all_fail(store, before.session_id) == {"PostgreSQL did not answer in time"}
        proxy.go_on()
        await commit(store, accept(before.session_id, "c1"))
        assert (await store.find(SessionKey(USER, before.session_id), "c1")) is not None


async def test_a_silent_line_does_not_keep_the_store_from_closing(database: Database) -> None:
    async with proxied(database) as (store, proxy):
        before = await open_session(store)
        proxy.stall()
        with hurried(store):
            asking = [asyncio.create_task(commit(store, accept(before.session_id))) for _ in range(10)]
            await asyncio.sleep(0)
            async with asyncio.timeout(20):
                await store.close()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 10


async def test_a_commit_that_was_given_up_does_not_wait_on_at_the_server(database: Database) -> None:
    """Its deadline passes while it waits for a lock, and no limit of the server's own would end that."""
    database.sql("alter function rejoinder_commit_v1 set lock_timeout = 0")
    async with opened(database.dsn) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            with hurried(store), pytest.raises(StoreUnavailable, match="in time"):
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
            while await store.find(SessionKey(USER, before.session_id), "c1") is None:
                await asyncio.sleep(0.005)  # it is on its way, and nobody is left who could be told
        assert proxy.accepted <= 2
        assert len(await log_of(store, before.session_id)) == 3
