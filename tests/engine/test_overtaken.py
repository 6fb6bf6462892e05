"""What a turn costs that a newer line overtook, or that another process ran: nothing but what was asked for it here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from server.assistant import Prompt, Usage
from server.broker import LocalBroker
from server.clock import new_id, new_ids, now_ms
from server.engine.engine import Engine
from server.machines import inputs
from server.records import Event, SessionKey
from server.settings import Settings
from server.wire.protocol import Say
from tests.support.dict_store import DictStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.writes import USER, accept, committed, log_of, new_session

WORKFLOW = "chat-interrupt"
WAIT_S = 10


class Counting:
    """A model that echoes; `asked` is the last line of every prompt."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        self.asked.append(prompt.window[-1].text)
        yield f"you said {self.asked[-1]}"
        yield Usage("m", input_tokens=10, output_tokens=1)


class Room:
    """An engine with one session, which was greeted. `takeover_ms`: as if there were other processes."""

    def __init__(self, takeover_ms: int = 0) -> None:
        self.store, self.broker, self.model = DictStore(), LocalBroker(), Counting()
        settings = replace(Settings(), takeover_ms=takeover_ms or 60_000)
        self.engine = Engine(
            self.store, self.broker, WORKFLOWS, settings, takeover_ms=takeover_ms, assistant=self.model
        )
        self.key = SessionKey(USER, new_session())

    async def begin(self) -> None:
        self.engine.start()
        self.engine.open(self.key, None, WORKFLOW)
        await self.ends(1)

    async def say(self, text: str) -> None:
        message = inputs.Message(0, Say(None, text), new_id(), now_ms())
        self.engine.deliver(self.key, WORKFLOW, message)

    async def leave(self, text: str) -> Event:
        """Another process accepts a line, and says nothing of it."""
        said = accept(self.key.session_id, new_id(), payload={"text": text, "format": "plain"})
        [line] = await committed(self.store, said)
        return line

    async def ends(self, count: int) -> list[dict[str, Any]]:
        """What the state_updates say, once there are so many."""
        async with asyncio.timeout(WAIT_S):
            while True:
                log = await log_of(self.store, self.key.session_id)
                ends = [event.payload for event in log if event.type == "state_update"]
                if len(ends) >= count:
                    return ends
                await asyncio.sleep(0.002)  # polling the store, which has no event for this


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    await room.begin()
    yield room
    await room.engine.close()


@pytest.fixture
async def shared_room() -> AsyncIterator[Room]:
    room = Room(takeover_ms=60_000)
    await room.begin()
    yield room
    await room.engine.close()


async def test_of_the_lines_that_were_left_only_the_last_is_answered_and_paid(room: Room) -> None:
    await room.say("first")
    await room.ends(2)
    for number in range(4):
        await room.leave(f"left {number}")
    await room.engine.wake(room.key)
    ends = await room.ends(6)
    assert room.model.asked == ["first", "left 3"]
    assert [end["intent"] for end in ends[2:]] == ["Cancelled"] * 3 + ["Say"]
    assert [end.get("usage", {}).get("calls") for end in ends] == [None, 1, None, None, None, 1]
    assert ends[-1]["memory"]["@usage"]["calls"] == 2
    log = await log_of(room.store, room.key.session_id)
    stopped = [event for event in log if event.type == "turn_cancelled"]
    assert [event.payload["reason"] for event in stopped] == ["interrupted"] * 3
    assert [event.turn for event in log if event.type == "state_update"] == [
        0, *(event.seq for event in log if event.role == "user")
    ]  # fmt: skip


async def test_a_turn_of_another_process_that_is_cancelled_here_has_no_calls_of_ours(shared_room: Room) -> None:
    room = shared_room
    await room.say("first")
    await room.ends(2)
    line = await room.leave("elsewhere")
    room.engine.hear(room.key, line.seq)
    async with asyncio.timeout(WAIT_S):
        while room.engine.running(room.key) != line.seq:
            await asyncio.sleep(0.002)
    room.engine.deliver(room.key, WORKFLOW, inputs.Cancel(0, "stop", line.seq, new_ids(3), now_ms()))
    ends = await room.ends(3)
    assert ends[-1]["intent"] == "Cancelled"
    assert "usage" not in ends[-1]


async def test_a_session_is_followed_while_its_turn_runs_here(room: Room) -> None:
    assert room.broker.sessions() == ()
    room.engine.open(SessionKey("eve", new_session()), None, WORKFLOW)
    assert [key.user_id for key in room.broker.sessions()] == ["eve"]
    async with asyncio.timeout(WAIT_S):
        while room.broker.sessions():
            await asyncio.sleep(0.002)
