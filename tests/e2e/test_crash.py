"""Turns outlive sockets and processes."""

import asyncio
import uuid
from pathlib import Path

import pytest

from server.records import SessionKey
from server.store.sqlite.store import SqliteStore
from tests.e2e.conftest import Start
from tests.support.process import ServerProcess
from tests.support.wire import Client


async def stored_texts(database: Path, session_id: str) -> list[tuple[str, str]]:
    """(role, text) of every chat message, as another program reads it from the file."""
    store = SqliteStore(str(database))
    await store.open()
    try:
        events = await store.read(SessionKey("anonymous", session_id), 0, 1000)
        return [(event.role, event.payload["text"]) for event in events if event.type == "chat_message"]
    finally:
        await store.close()


async def test_a_line_whose_step_was_cut_is_answered_after_the_restart(server: ServerProcess) -> None:
    """Nobody reconnects: the answer is seen in the store."""
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.say("sleep 2", "cut")
        await client.until_type("status_update")
        await server.kill()
    assert await stored_texts(server.database, session_id) == [("assistant", "Welcome."), ("user", "sleep 2")]
    await server.start()
    async with asyncio.timeout(10):
        while len(await stored_texts(server.database, session_id)) < 3:
            await asyncio.sleep(0.1)  # polling a file that another process writes
    assert (await stored_texts(server.database, session_id))[2:] == [("assistant", "slept 2")]
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.say("sleep 2", "cut")
        assert (await client.until_type("ack"))["payload"]["duplicate"] is True
        await client.turn("next")
        assert client.texts() == ["Welcome.", "slept 2", "you said next"]


async def test_a_turn_goes_on_without_its_socket(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.say("sleep 0.5")
        await client.until_type("status_update")
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("chat_message", text="slept 0.5")


@pytest.mark.parametrize("native", [True, False])
async def test_a_ping_is_answered_within_a_second_while_a_step_runs_for_ten(
    server: ServerProcess, *, native: bool
) -> None:
    async with Client(server.port, native=native, session_id=uuid.uuid4()) as client:
        await client.until_type("state_update")
        await client.say("sleep 10")
        await client.until_type("status_update")
        for n in range(3):
            async with asyncio.timeout(1):
                await client.send({"type": "ping", "n": n})
                await client.until_type("pong", n=n)
            async with asyncio.timeout(1):
                await client.send_raw("ping")
                await client.until(lambda frame: frame.get("raw") == "pong", "a bare pong")
        assert client.texts() == ["Welcome."]


async def test_a_deploy_drains(server: ServerProcess) -> None:
    """SIGTERM: clients are told, the running turn ends, sockets close with `come back`, the process ends well."""
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        line = await client.say("sleep 1")
        await client.until_type("status_update")
        status = await server.stop()
        assert await client.until_closed() == 4200
        assert any(frame["type"] == "drain" for frame in client.frames)
        assert client.texts()[-1] == "slept 1"
        assert any(frame["type"] == "ack" and frame["payload"]["id"] == line for frame in client.frames)
    assert status == 0
    assert "Traceback" not in server.log()


async def test_a_drain_has_its_limit_and_what_it_cuts_is_answered_after_the_start(start: Start) -> None:
    server = await start(DRAIN_MS="200")
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.say("sleep 3")
        await client.until_type("status_update")
        assert await server.stop() == 0
        assert client.texts() == ["Welcome."], "it waited for the step"
    await server.start()
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("chat_message", text="slept 3")
        assert client.texts() == ["Welcome.", "slept 3"]


async def test_a_deploy_does_not_wait_for_the_pauses_of_a_long_replay(start: Start) -> None:
    """The existing builder is given its history with pauses; at a drain the rest comes at once, and then our code."""
    server = await start(BUILDER_REPLAY_GAP_MS="1000")
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        for number in range(20):
            await client.turn(f"line {number}")
        log = client.durable
    async with Client(server.port, native=False, session_id=session_id) as client:
        await client.until_type("sync_response")
        assert await server.stop() == 0
        assert await client.until_closed() == 4200
        assert client.durable == log


async def test_a_step_that_takes_too_long_is_ended(start: Start) -> None:
    server = await start(STEP_TIMEOUT_MS="300")
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn("sleep 30")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "step_timeout"
        await client.turn("and now")
        assert client.texts()[-1] == "you said and now"


async def test_a_step_that_streams_too_long_is_ended_in_mid_answer(start: Start) -> None:
    """The pieces come closer than DELTA_MS, so that the limit falls while some of them are held back."""
    server = await start(STEP_TIMEOUT_MS="400", DELTA_MS="60")
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn(f"stream 0.02 {'word ' * 500}")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "step_timeout"
        await client.turn("and now")
        assert client.texts()[-1] == "you said and now"
