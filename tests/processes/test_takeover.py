"""Turns whose process died, stands still, or is only slow."""

import asyncio
import os
import signal
import uuid
from pathlib import Path

import pytest

from server.records import Event, SessionKey
from server.store.postgres.store import PostgresStore
from tests.processes.conftest import TAKEOVER_MS, Start
from tests.services.redis import RedisServer
from tests.support.wire import Client

USER = "anonymous"
WAIT_S = 60


async def answered(store: PostgresStore, session_id: str, lines: int) -> list[Event]:
    """The log, once so many lines have their turn."""
    async with asyncio.timeout(WAIT_S):
        while True:
            events = await store.read(SessionKey(USER, session_id), 0, 1000)
            if sum(event.type == "state_update" for event in events) == lines + 1:
                return events
            await asyncio.sleep(0.05)  # polling what other processes write


def texts(events: list[Event]) -> list[str]:
    return [event.payload["text"] for event in events if event.type == "chat_message" and event.role == "assistant"]


async def test_a_turn_whose_process_died_is_taken_over_while_a_tab_waits_elsewhere(
    start: Start, between: dict[str, str], session_id: str
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    async with Client(second.port, session_id=session_id) as other:
        await other.until_type("live")
        async with Client(first.port, session_id=session_id) as one:
            await one.until_type("live")
            await one.say("sleep 2", "cut")
            await one.until_type("status_update")
            await first.kill()
        await other.until_type("chat_message", text="slept 2")
        assert other.texts() == ["Welcome.", "slept 2"]
        await other.say("sleep 2", "cut")
        assert (await other.until_type("ack", id="cut"))["payload"]["duplicate"] is True


async def test_a_process_that_stood_still_and_wakes_up_cannot_write(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore, tmp_path: Path
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    steps = tmp_path / "steps"
    async with Client(first.port, session_id=session_id) as one:
        await one.until_type("live")
        await one.say(f"note {steps} 1", "n1")
        await one.until_type("ack")
        os.kill(first.pid, signal.SIGSTOP)
        try:
            async with Client(second.port, session_id=session_id) as other:
                await other.until_type("chat_message", text="noted 1")
                before = await answered(store, session_id, 1)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        await one.until_type("state_update", turn=3)  # the last of the log: the tab has all of it
        after = await answered(store, session_id, 1)
        assert after == before
        assert texts(after) == ["Welcome.", "noted 1"]
        assert [frame["message_id"] for frame in one.durable] == [event.message_id for event in after]
    assert len(steps.read_text().split()) == 2  # it was begun twice, and took effect once


async def test_a_step_that_takes_long_is_left_to_the_process_that_runs_it(
    start: Start, redis: RedisServer, session_id: str, store: PostgresStore, tmp_path: Path
) -> None:
    """With Redis there are leases, and a step that outlasts TAKEOVER_MS by far is begun once."""
    first, second = await asyncio.gather(start(REDIS_URL=redis.url), start(REDIS_URL=redis.url))
    steps = tmp_path / "steps"
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.say(f"note {steps} {3 * TAKEOVER_MS / 1000}")
        await one.until_type("status_update")
        async with Client(second.port, session_id=session_id) as late:  # it reads the unanswered line and wakes it
            told = await late.until_type("sync_response")
            assert told["payload"]["running"] == 3
            await late.until_type("status_update", status="thinking")
            await late.until_type("state_update", turn=3)
            await late.until_type("status_update", status="idle")
        await other.until_type("state_update", turn=3)
    assert steps.read_text().split() == [str(first.pid)]
    assert len(await store.read(SessionKey(USER, session_id), 0, 1000)) == 5


async def test_a_running_turn_is_cancelled_from_a_tab_on_another_process(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.say("sleep 30")
        turn = (await one.until_type("ack"))["payload"]["seq"]
        await other.until_type("chat_message", text="sleep 30")
        async with asyncio.timeout(WAIT_S):
            while True:  # until this process has heard that the turn runs, there is nothing to cancel here
                cancelled = await _cancel(other, turn)
                if cancelled:
                    break
        await one.until_type("turn_cancelled", turn=turn)
        assert (await one.turn("next"))["payload"]["turn"] > turn
    events = await answered(store, session_id, 2)
    assert [event.type for event in events].count("turn_cancelled") == 1
    assert texts(events) == ["Welcome.", "you said next"]


async def _cancel(tab: Client, turn: int) -> bool:
    await tab.send({"type": "cancel", "id": str(uuid.uuid4()), "turn": turn})
    answer = await tab.until(lambda frame: frame.get("type") in ("ack", "error"), "an answer to the cancel")
    return bool(answer["type"] == "ack")


@pytest.mark.parametrize("between", ["redis"], indirect=True)
async def test_lines_that_a_dead_process_left_are_begun_once_by_the_others(
    start: Start, between: dict[str, str], store: PostgresStore, tmp_path: Path
) -> None:
    """Nobody comes back for them, and no two processes begin the same one."""
    steps, sessions = tmp_path / "steps", [str(uuid.uuid4()) for _ in range(40)]
    # On a busy machine a lease of TAKEOVER_MS may end before it is renewed, and its step be begun once more.
    patient = {**between, "TAKEOVER_MS": str(4 * TAKEOVER_MS)}
    dying, *others = await asyncio.gather(*(start(**patient) for _ in range(3)))

    async def leave_a_line(session_id: str) -> None:
        async with Client(dying.port, session_id=session_id) as tab:
            await tab.until_type("state_update")
            await tab.say(f"note {steps} 4")
            await tab.until_type("ack")

    await asyncio.gather(*map(leave_a_line, sessions))
    await dying.kill()
    for session_id in sessions:
        assert texts(await answered(store, session_id, 1)) == ["Welcome.", "noted 4"]
    begun = [pid for pid in steps.read_text().split() if pid != str(dying.pid)]
    assert len(begun) == len(sessions)
    assert set(begun) <= {str(process.pid) for process in others}
