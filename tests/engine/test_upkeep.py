"""What is done again and again: processes share it, and it finds what news did not bring."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from server.broker import LocalBroker
from server.engine.engine import Engine
from server.engine.leases import StoreLeases
from server.engine.upkeep import Upkeep
from server.errors import CloseCode
from server.records import SessionKey
from server.settings import Settings
from server.wire.protocol import Transient
from server.wire.published import PublishedEvents, PublishedFrame
from tests.support import virtual_time
from tests.support.dict_store import DictStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.passing_store import PassingStore
from tests.support.writes import USER, accept, committed, event, log_of, new_session, open_session, turn

SETTINGS = replace(Settings(), takeover_ms=60, sweep_ms=40, head_check_ms=60_000, head_poll_ms=10, store_retry_ms=5)
WAIT_S = 10


class CountingStore(PassingStore):
    """`calls` has every call's name; `woken` the sessions that were loaded."""

    def __init__(self, store: DictStore) -> None:
        super().__init__(store)
        self.calls: list[str] = []
        self.held: list[int] = []

    async def reached(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)  # as any real store: the others go on meanwhile

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        self.held.append(len(sessions))
        return await super().heads(sessions)


class Process:
    """One process over a store that others share."""

    def __init__(self, store: DictStore, settings: Settings, *, shared: bool = True) -> None:
        self.store = CountingStore(store)
        self.broker = LocalBroker()
        leases = StoreLeases(self.store, settings.takeover_ms)
        takeover_ms = settings.takeover_ms
        self.engine = Engine(self.store, self.broker, WORKFLOWS, settings, leases=leases, takeover_ms=takeover_ms)
        self.rounds = Upkeep(self.engine, settings, shared=shared)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        self.engine.start()
        self.rounds.start()
        yield self
        await self.rounds.close()
        await self.engine.close()


class Tab:
    """`told`: whether anything is published or shown to it."""

    def __init__(self, *, told: bool = False) -> None:
        self.heads: list[int] = []
        self.told = told

    def hear(self, events: PublishedEvents) -> None:
        assert self.told, "nothing is published"

    def hint(self, head: int) -> None:
        self.heads.append(head)

    def hear_transient(self, published: PublishedFrame) -> None:
        assert self.told, "nothing is shown"

    def close(self, code: CloseCode) -> None:
        raise AssertionError(f"closed with {code}")


@pytest.fixture
def store() -> DictStore:
    return DictStore()


async def test_the_sweep_is_shared_out(store: DictStore) -> None:
    """Of three processes that start at once each wakes a part, and every session is woken by one of them."""
    sessions = [(await open_session(store)).session_id for _ in range(100)]
    for session_id in sessions:
        await committed(store, accept(session_id, "c1"))
    processes = [Process(store, replace(SETTINGS, takeover_ms=2_000)) for _ in range(3)]
    async with contextlib.AsyncExitStack() as running:
        for process in processes:
            await running.enter_async_context(process.running())
        async with asyncio.timeout(WAIT_S):
            while await store.pending(2**53, 1):
                await asyncio.sleep(0.005)
        woken = [process.store.calls.count("load") for process in processes]
    # One load wakes a session, one more looks again before its turn runs; not shared out, it would be four of them.
    assert 2 * len(sessions) <= sum(woken) < 3 * len(sessions)
    assert all(woken), woken
    for session_id in sessions:
        log = await log_of(store, session_id)
        assert [event.turn for event in log if event.type == "state_update"] == [0, 3]


async def test_a_session_whose_lease_another_holds_is_not_woken(store: DictStore) -> None:
    held, free = await open_session(store), await open_session(store)
    for session in (held, free):
        await committed(store, accept(session.session_id, "c1"))
    await store.hold([SessionKey(USER, held.session_id)], "somebody at work", 600_000)
    async with Process(store, SETTINGS).running() as process, asyncio.timeout(WAIT_S):
        while process.store.calls.count("pending") < 5:
            await asyncio.sleep(0.005)
        assert [key.session_id for key in await store.pending(2**53, 10)] == [held.session_id]
        await store.release([SessionKey(USER, held.session_id)], "somebody at work")
        while await store.pending(2**53, 10):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_session_whose_turn_is_under_way_here_costs_a_sweep_nothing(store: DictStore, *, shared: bool) -> None:
    """Every sweep finds an answer that takes its time: it is not loaded, and its lease is not asked for."""
    sessions = [new_session() for _ in range(20)]
    for session_id in sessions:
        await committed(store, turn(None, event(session_id), session_id=session_id, to="HELLO"))
        await committed(store, accept(session_id, "c1", payload={"text": "sleep 600"}))
    patient = replace(SETTINGS, takeover_ms=3_600_000, sweep_ms=10)  # the lines are from long ago
    async with Process(store, patient, shared=shared).running() as process, asyncio.timeout(WAIT_S):
        while len(process.engine.busy()) < len(sessions):
            await asyncio.sleep(0.005)
        process.store.calls.clear()
        while process.store.calls.count("pending") < 5:
            await asyncio.sleep(0.005)
        assert set(process.store.calls) <= {"pending", "heads"}  # one call asks for all heads that are followed
        left = (await open_session(store)).session_id
        await committed(store, accept(left, "c1"))
        while len(await store.pending(2**53, 30)) > len(sessions):
            await asyncio.sleep(0.005)


def test_a_page_of_which_nothing_can_be_woken_is_not_asked_for_again_at_once(store: DictStore) -> None:
    async def look() -> None:
        held = [await open_session(store) for _ in range(4)]
        for session in held:
            await committed(store, accept(session.session_id, "c1"))
        await store.hold([SessionKey(USER, session.session_id) for session in held], "somebody at work", 600_000)
        slow = replace(SETTINGS, sweep_limit=4, sweep_ms=10_000)
        async with Process(store, slow).running() as process:
            await asyncio.sleep(20 * slow.store_retry_ms / 1000)
            assert (process.store.calls.count("hold"), process.store.calls.count("pending")) == (1, 1)
            await asyncio.sleep(2 * slow.sweep_ms / 1000)
            assert process.store.calls.count("pending") in (2, 3), "but with the next sweep it is"

    virtual_time.run(look())


async def test_a_lease_is_asked_for_several_times_while_a_line_could_be_taken_over(store: DictStore) -> None:
    """Whoever comes to a conversation whose process died does not wait for two leases' time."""
    session = await open_session(store)
    key = SessionKey(USER, session.session_id)
    await committed(store, accept(session.session_id, "c1"))
    await store.hold([SessionKey(USER, session.session_id)], "somebody at work", 600_000)
    process = Process(store, replace(SETTINGS, sweep_ms=3_600_000, takeover_ms=3_000))
    process.broker.subscribe(key, Tab(told=True))
    process.engine.start()
    began = time.monotonic()
    process.engine.open(key, await store.load(SessionKey(USER, session.session_id), 0, 0), "echo")
    async with asyncio.timeout(WAIT_S):
        while process.store.calls.count("hold") < 2:
            await asyncio.sleep(0.005)
        assert time.monotonic() - began < 3
        await store.release([SessionKey(USER, session.session_id)], "somebody at work")
        while await store.pending(2**53, 1):
            await asyncio.sleep(0.005)
    await process.engine.close()


def test_a_process_that_shows_its_answer_is_at_work_and_its_lease_is_not_asked_for(store: DictStore) -> None:
    async def look() -> None:
        session = await open_session(store)
        key = SessionKey(USER, session.session_id)
        await committed(store, accept(session.session_id, "c1"))
        await store.hold([SessionKey(USER, session.session_id)], "somebody at work", 600_000)
        process = Process(store, replace(SETTINGS, sweep_ms=3_600_000, takeover_ms=3_000))
        process.broker.subscribe(key, Tab(told=True))
        process.engine.start()
        process.engine.open(key, await store.load(key, 0, 0), "echo")
        for n in range(1, 200):  # several times as long as a line may lie, in pieces of 50 ms
            piece = {"turn": 3, "attempt": 1, "n": n, "text": "word ", "reset": n == 1}
            process.engine.show(key, Transient("stream_delta", piece, role="assistant", message_id="s1"))
            await asyncio.sleep(0.05)
        assert process.store.calls.count("hold") == 0
        await store.release([SessionKey(USER, session.session_id)], "somebody at work")
        async with asyncio.timeout(60):
            while await store.pending(2**53, 1):
                await asyncio.sleep(0.005)
        assert process.store.calls.count("hold") == 1, "it went silent, and then it was asked for"
        await process.engine.close()

    virtual_time.run(look())


async def test_heads_are_compared_in_pages_and_told_to_who_follows(store: DictStore) -> None:
    sessions = [await open_session(store) for _ in range(5)]
    process = Process(store, replace(SETTINGS, heads_limit=2))
    tabs: dict[SessionKey, Tab] = {SessionKey(USER, session.session_id): Tab() for session in sessions}
    for key, tab in tabs.items():
        process.broker.subscribe(key, tab)
    async with process.running(), asyncio.timeout(WAIT_S):
        while not all(tab.heads for tab in tabs.values()):
            await asyncio.sleep(0.005)
        await committed(store, accept(sessions[0].session_id, "c1"))
        while tabs[SessionKey(USER, sessions[0].session_id)].heads[-1] != 3:
            await asyncio.sleep(0.005)
    assert process.store.held[:3] == [2, 2, 1]


async def test_a_session_that_is_awake_learns_of_a_line_that_no_news_told_of(store: DictStore) -> None:
    """The tab is told by the heads, and so is its session: the line has its answer without a sweep."""
    session = await open_session(store)
    key = SessionKey(USER, session.session_id)
    process = Process(store, replace(SETTINGS, sweep_ms=3_600_000))
    process.broker.subscribe(key, Tab(told=True))
    async with process.running(), asyncio.timeout(WAIT_S):
        process.engine.open(key, await store.load(SessionKey(USER, session.session_id), 0, 0), "echo")
        while process.store.calls.count("pending") < 1:
            await asyncio.sleep(0.005)
        await committed(store, accept(session.session_id, "c1"))
        while await store.pending(2**53, 1):
            await asyncio.sleep(0.005)


async def test_a_lease_that_nobody_works_under_is_let_go(store: DictStore) -> None:
    session = await open_session(store)
    process = Process(store, SETTINGS)
    async with process.running(), asyncio.timeout(WAIT_S):
        await process.engine.leases.hold([SessionKey(USER, session.session_id)])
        while process.engine.leases.held:
            await asyncio.sleep(0.005)
        assert process.store.calls.count("release") == 1


async def test_a_process_lets_go_of_its_leases_at_its_end(store: DictStore) -> None:
    session = await open_session(store)
    key = SessionKey(USER, session.session_id)
    process = Process(store, SETTINGS)
    async with process.running():
        assert await process.engine.leases.hold([key]) == {key}
        assert list(await store.hold([SessionKey(USER, session.session_id)], "other", 60_000)) == [False]
    assert list(await store.hold([SessionKey(USER, session.session_id)], "other", 60_000)) == [True]
