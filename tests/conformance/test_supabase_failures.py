"""What becomes of a call to Supabase that something happens to: its answer lost, its server killed, its caller gone."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server.engine.group_commit import GroupCommit
from server.errors import StoreUnavailable
from server.records import Committed, SessionKey, Settled, Write
from server.store.supabase.store import SupabaseStore
from tests.conformance.supabase_store import CALLS, COMMIT, PATIENCE_S, READ, opened
from tests.services.gateway import PREFIX, Fault
from tests.services.supabase import SupabaseServer, empty_project
from tests.support.writes import (
    USER,
    accept,
    commit,
    committed,
    event,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)


@pytest.fixture
def project() -> SupabaseServer:
    return empty_project()


@contextlib.asynccontextmanager
async def committing(store: SupabaseStore) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(store, batch_limit=128, queue_limit=1000)
    group.start()
    yield group
    await group.close()


async def outcome_of(group: GroupCommit, write: Write) -> Settled:
    """What the engine is told of its write."""
    told: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    assert group.submit(write, told.set_result)
    async with asyncio.timeout(PATIENCE_S):
        return await told


# ---------------------------------------------------------------- answers that are lost


@pytest.mark.parametrize("fault", Fault)
async def test_a_line_whose_answer_is_lost_is_acknowledged_once(project: SupabaseServer, fault: Fault) -> None:
    async with opened(project, timeout_ms=500) as store, committing(store) as group:
        before = await open_session(store)
        project.gateway.calls.clear()
        project.gateway.fail(fault, function=COMMIT)
        write = accept(before.session_id, "c1")
        outcome = await outcome_of(group, write)
        [line] = (await log_of(store, before.session_id))[2:]
        assert outcome == Committed((line,), 1)
        assert line.message_id == write.events[0].message_id
        assert project.gateway.calls[f"{PREFIX}/rpc/{COMMIT}"] == 2


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault.executed])
async def test_a_turn_whose_answer_is_lost_takes_effect_once(project: SupabaseServer, fault: Fault) -> None:
    async with opened(project, timeout_ms=500) as store, committing(store) as group:
        before = await open_session(store)
        project.gateway.fail(fault, function=COMMIT)
        write = turn(before, event(before.session_id), to="NEXT", memory={"a": 1})
        outcome = await outcome_of(group, write)
        answer = (await log_of(store, before.session_id))[2:]
        assert outcome == Committed(tuple(answer), 2)
        assert len(answer) == 2
        assert (await snapshot(store, before.session_id)).version == 2


@pytest.mark.parametrize("fault", Fault)
async def test_what_is_no_answer_is_never_taken_for_one(project: SupabaseServer, fault: Fault) -> None:
    """L9: "could not read" is not "not there", whatever the status of the page that came instead."""
    async with opened(project, timeout_ms=500) as store:
        before = await open_session(store)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.load(SessionKey(USER, before.session_id), 0, 1),
            lambda: store.read(SessionKey(USER, before.session_id), 0, 1),
            lambda: store.find(SessionKey(USER, before.session_id), "c1"),
            lambda: store.pending(0, 1),
            lambda: store.delete(SessionKey(USER, new_session())),
            lambda: store.heads([SessionKey(USER, before.session_id)]),
        ]
        for call in calls:
            project.gateway.calls.clear()
            project.gateway.fail(fault)
            with pytest.raises(StoreUnavailable, match="Supabase"):
                await call()
            assert project.gateway.calls.total() == 1  # never sent twice
        assert await snapshot(store, before.session_id) == before


async def test_stalled_calls_end_and_give_their_places_back(project: SupabaseServer) -> None:
    async with opened(project, timeout_ms=1_000) as store:
        before = await open_session(store)
        project.gateway.fail(Fault.STALLED, times=3 * CALLS)
        calls: list[Awaitable[object]] = [
            store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(CALLS - 1)
        ]
        calls += [commit(store, accept(before.session_id))]
        async with asyncio.timeout(PATIENCE_S):
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert [str(error) for error in ended] == ["Supabase did not answer within 1000 ms"] * CALLS
            project.gateway.heal()
            await asyncio.gather(*(store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(20)))
        assert len(await log_of(store, before.session_id)) == 2


async def test_waiting_for_a_place_counts_as_waiting(project: SupabaseServer) -> None:
    async with opened(project, timeout_ms=1_000) as store:
        before = await open_session(store)
        project.gateway.fail(Fault.STALLED, times=1000)
        project.gateway.calls.clear()
        calls = [store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(100)]
        async with asyncio.timeout(PATIENCE_S):
            ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in ended} == {StoreUnavailable}
        assert project.gateway.calls[f"{PREFIX}/rpc/{READ}"] < len(calls) / 2
        project.gateway.heal()
        assert await snapshot(store, before.session_id) == before


# ---------------------------------------------------------------- servers that go and come back


@pytest.mark.parametrize("part", ["gateway", "rest", "postgres", "both"])
async def test_the_store_is_unavailable_while_a_server_is_away(project: SupabaseServer, part: str) -> None:
    async with opened(project) as store:
        before = await open_session(store)
        await committed(store, accept(before.session_id, "c1"))
        if part == "gateway":
            project.gateway.stop()
        if part in ("rest", "both"):
            project.rest.kill()
        if part in ("postgres", "both"):
            project.postgres.kill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.read(SessionKey(USER, before.session_id), 0, 10)
            with pytest.raises(StoreUnavailable):
                await commit(store, accept(before.session_id, "c2"))
        project.start()
        assert await _when_it_is_back(store, before.session_id) == 3
        await committed(store, accept(before.session_id, "c2"))
        assert [said.client_id for said in await log_of(store, before.session_id)] == [None, None, "c1", "c2"]


async def _when_it_is_back(store: SupabaseStore, session_id: str) -> int:
    """The length of the log, asked for until PostgREST has found its database again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return len(await log_of(store, session_id))
            await asyncio.sleep(0.05)


async def test_what_was_acknowledged_survives_kills_in_the_middle_of_commits(project: SupabaseServer) -> None:
    async with opened(project, timeout_ms=5_000) as store, committing(store) as group:
        before = await open_session(store)
        for _ in range(3):
            writes = [accept(before.session_id, new_session()) for _ in range(30)]
            asked = [asyncio.create_task(outcome_of(group, write)) for write in writes]
            await asyncio.sleep(random.uniform(0, 0.01))  # somewhere in the middle
            await asyncio.to_thread(project.restart)
            outcomes = await asyncio.gather(*asked)
            await _when_it_is_back(store, before.session_id)
            log = [said.client_id for said in await log_of(store, before.session_id)]
            promised = [outcome.events[0].client_id for outcome in outcomes if isinstance(outcome, Committed)]
            assert [client_id for client_id in promised if log.count(client_id) != 1] == []
            again = await asyncio.gather(*(outcome_of(group, write) for write in writes))
            assert None not in again
            log = [said.client_id for said in await log_of(store, before.session_id)]
            assert {log.count(write.client_id) for write in writes} == {1}


# ---------------------------------------------------------------- cancellation


async def test_nobody_gets_the_answer_to_anothers_call(project: SupabaseServer) -> None:
    async with opened(project) as store:
        sessions = [await open_session(store, user_id=f"user {number}") for number in range(20)]
        lines = {
            before.session_id: (await committed(store, accept(before.session_id, "c", user_id=before.user_id)))[0]
            for before in sessions
        }
        chance = random.Random(7)

        async def ask() -> None:
            before = chance.choice(sessions)
            assert await store.find(before.key, "c") == lines[before.session_id]

        async def ask_and_stop_waiting() -> None:
            asking = asyncio.create_task(ask())
            await asyncio.wait([asking], timeout=chance.uniform(0, 0.02))
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

        async with asyncio.timeout(PATIENCE_S):
            for _ in range(10):
                await asyncio.gather(*(chance.choice([ask, ask_and_stop_waiting])() for _ in range(60)))
            await asyncio.gather(*(ask() for _ in range(40)))


async def test_a_cancelled_call_gives_its_place_back(project: SupabaseServer) -> None:
    async with opened(project, timeout_ms=600_000) as store:
        before = await open_session(store)
        project.gateway.fail(Fault.STALLED, times=CALLS)
        stalled = [
            asyncio.create_task(store.read(SessionKey(USER, before.session_id), 0, 10)) for _ in range(CALLS - 1)
        ]
        stalled += [asyncio.create_task(store.read(SessionKey(USER, before.session_id), 0, 10)) for _ in range(5)]
        await asyncio.wait(stalled, timeout=0.1)
        for call in stalled:
            call.cancel()
        await asyncio.wait(stalled)
        project.gateway.heal()
        async with asyncio.timeout(PATIENCE_S):
            assert len(await log_of(store, before.session_id)) == 2
