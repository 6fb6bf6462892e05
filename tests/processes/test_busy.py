"""Two lines at once that come to different processes: what becomes of the second one, by the workflow's policy."""

import asyncio
from pathlib import Path

import pytest

from server.records import SessionKey
from server.store.postgres.store import PostgresStore
from tests.processes.conftest import Start
from tests.processes.test_takeover import USER, answered, texts
from tests.support.wire import Client

WORDS = [f"w{number}," for number in range(200)]

two_ways = pytest.mark.parametrize("between", ["redis", "no-redis"], indirect=True)


@two_ways
async def test_a_line_on_another_process_interrupts_and_what_was_said_is_kept(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))

    def tab(port: int) -> Client:
        return Client(port, session_id=session_id, workflow="echo-interrupt")

    async with tab(first.port) as one, tab(second.port) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.say(f"stream 0.1 {' '.join(WORDS)}")
        await one.until_type("stream_delta", n=5)
        line = await other.say("something else")
        acked = await other.until_type("ack", id=line)
        await asyncio.gather(*(each.until_type("chat_message", text="something else") for each in (one, other)))
        kept = await one.until_type("chat_message", cancelled=True)
        assert kept["payload"]["text"].startswith("".join(WORDS[:5]))
        await one.until_type("turn_cancelled", turn=3, reason="interrupted")
        await asyncio.gather(*(each.until_type("state_update", turn=acked["payload"]["seq"]) for each in (one, other)))
        assert one.durable == other.durable
    events = await answered(store, session_id, 2)
    assert texts(events) == ["Welcome.", kept["payload"]["text"], "you said something else"]
    assert [event.message_id for event in events] == [frame["message_id"] for frame in one.durable]


@two_ways
async def test_a_line_interrupts_though_no_tab_is_left_where_the_turn_runs(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore, tmp_path: Path
) -> None:
    """The page is loaded again and comes to another process."""
    between = {**between, "SWEEP_MS": "600000"}  # which would find the line as well, later
    first, second = await asyncio.gather(start(**between), start(**between))
    steps = tmp_path / "steps"
    async with Client(first.port, session_id=session_id, workflow="echo-interrupt") as one:
        await one.until_type("live")
        await one.say(f"note {steps} 600")
        await one.until_type("status_update")
    async with Client(second.port, session_id=session_id, workflow="echo-interrupt") as other:
        await other.until_type("live")
        await other.turn("something else")
        assert other.texts() == ["Welcome.", "you said something else"]
        stopped = [frame["payload"] for frame in other.durable if frame["type"] == "turn_cancelled"]
        assert stopped == [{"turn": 3, "reason": "interrupted"}]
    assert steps.read_text().split() == [str(first.pid)]


@two_ways
async def test_a_line_is_refused_while_another_process_runs_a_turn(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))

    def tab(port: int) -> Client:
        return Client(port, session_id=session_id, workflow="echo-reject")

    async with tab(first.port) as one, tab(second.port) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.say("sleep 4", "slow")
        await other.until_type("chat_message", text="sleep 4")
        await other.say("something else", "second")
        error = await other.until_type("error", id="second")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("turn_running", True)
        await other.say("sleep 4", "slow")  # it took effect: the same line is no second one
        assert (await other.until_type("ack", id="slow"))["payload"]["duplicate"] is True
        async with tab(second.port) as late:
            await late.until_type("live")
            await late.say("something else", "third")
            assert (await late.until_type("error", id="third"))["payload"]["code"] == "turn_running"
        await other.until_type("state_update", turn=3)
        await other.turn("something else", "second")
    events = await answered(store, session_id, 2)
    assert texts(events) == ["Welcome.", "slept 4", "you said something else"]
    assert [event.client_id for event in events if event.role == "user"] == ["slow", "second"]
    assert len(await store.read(SessionKey(USER, session_id), 0, 1000)) == len(events)
