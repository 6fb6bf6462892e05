"""What a step is told of its session, and what a server that drains refuses: over a real socket, in this process."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from server.workflows.table import Output, Turn, chat
from tests.support.example_workflows import ECHO, WORKFLOWS
from tests.support.wire import Client
from tests.support.wrapped import serve


def answer(turn: Turn) -> Iterator[Output]:
    yield chat(f"session {turn.session_id}, turn {turn.number}, attempt {turn.attempt}")


async def answer_later(turn: Turn) -> AsyncIterator[Output]:
    for output in answer(turn):
        yield output


@pytest.mark.parametrize("step", [answer, answer_later])
async def test_a_step_is_told_its_session_and_its_turn(step: object) -> None:
    workflows = {"echo": replace(ECHO, answer=step)}  # type: ignore[arg-type]
    session_id = str(uuid.uuid4())
    async with serve(SqliteStore(MEMORY), workflows) as port, Client(port, session_id=session_id) as client:
        await client.until_type("live")
        await client.turn("hello")
        assert client.texts()[-1] == f"session {session_id}, turn 3, attempt 1"


async def test_a_server_that_drains_takes_no_line_and_lets_the_running_turn_end() -> None:
    async with serve(SqliteStore(MEMORY), WORKFLOWS, Settings(drain_ms=60_000)) as port, Client(port) as client:
        await client.until_type("live")
        line = await client.say("sleep 30")
        turn = (await client.until_type("ack", id=line))["payload"]["seq"]
        draining = asyncio.create_task(port.gateway.drain())
        await client.until_type("drain")
        await client.say("one more", "late")
        error = await client.until_type("error", id="late")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("draining", True)
        assert not draining.done()
        await client.send({"type": "cancel", "id": "stop", "turn": turn})  # refused, too: it would be a line
        await client.until_type("error", id="stop")
        draining.cancel()
