"""Nobody comes back: the sweep answers lines that a dead process left (L8)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import structs

from server.broker import LocalBroker
from server.engine.engine import Engine
from server.engine.upkeep import Upkeep
from server.records import Event, SessionKey, Update, Write, is_line
from server.settings import Settings
from tests.support.builders import SESSION, USER, ended, event, line
from tests.support.dict_store import DictStore
from tests.support.example_workflows import WORKFLOWS

KEY = SessionKey(user_id=USER, session_id=SESSION)


@pytest.fixture
async def store() -> DictStore:
    """A session after its greeting."""
    store = DictStore()
    update = Update(workflow="echo", state="HELLO", cursor=0, memory={}, card=None)
    state = ended(2, 0, **{"from": None, "workflow": "echo"})
    greeting = tuple(structs.replace(one, seq=0) for one in (event(1), state))
    await store.commit([Write(session_id=SESSION, user_id=USER, events=greeting, expected_version=0, update=update)])
    return store


@pytest.fixture
async def rounds(store: DictStore) -> AsyncIterator[Upkeep]:
    settings = replace(Settings(), sweep_ms=20, store_retry_ms=10)
    engine = Engine(store, LocalBroker(), WORKFLOWS, settings)
    engine.start()
    rounds = Upkeep(engine, settings, shared=False)
    yield rounds
    await rounds.close()
    await engine.close()


async def leave_a_line(store: DictStore, number: int) -> None:
    """A line as a process leaves it that died before the answer."""
    said = structs.replace(line(0, client_id=f"c{number}"), message_id=f"line {number}", created_at=0)
    await store.commit([Write(session_id=SESSION, user_id=USER, events=(said,), client_id=said.client_id)])


async def answers(store: DictStore, count: int) -> list[Event]:
    """The turns that ended, once there are so many."""
    async with asyncio.timeout(5):
        while True:
            turns = [event for event in store.logs[KEY] if event.type == "state_update"][1:]
            if len(turns) >= count:
                return turns
            await asyncio.sleep(0.005)


async def test_a_line_that_was_left_is_answered_at_the_start(store: DictStore, rounds: Upkeep) -> None:
    await leave_a_line(store, 1)
    rounds.start()
    [turn] = await answers(store, 1)
    assert turn.turn == store.logs[KEY][2].seq


async def test_a_line_that_was_left_later_is_answered_too(
    store: DictStore, rounds: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    async def pending(before_ms: int, limit: int) -> list[SessionKey]:
        nonlocal looked
        looked += 1
        return await DictStore.pending(store, before_ms, limit)

    monkeypatch.setattr(store, "pending", pending)
    rounds.start()
    async with asyncio.timeout(5):
        while looked < 2:  # the sweep at the start, and one more
            await asyncio.sleep(0.005)
    assert await answers(store, 0) == []
    await leave_a_line(store, 1)
    await answers(store, 1)
    assert [event.type for event in store.logs[KEY] if is_line(event)] == ["chat_message"]
