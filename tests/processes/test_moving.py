"""A conversation that moves between processes, and tabs on different ones."""

import asyncio
import json
import time

import pytest

from server.records import SessionKey
from server.store.postgres.store import PostgresStore
from tests.processes.conftest import Start
from tests.support.wire import Client, Frame

USER = "anonymous"
LINES = 8


def same_log(first: list[Frame], second: list[Frame]) -> bool:
    return [json.dumps(frame, sort_keys=True) for frame in first] == [json.dumps(f, sort_keys=True) for f in second]


async def test_a_conversation_moves_at_each_line_and_two_tabs_see_one_log(
    start: Start, between: dict[str, str], session_id: str, store: PostgresStore
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await one.until_type("live")
        await other.until_type("live")
        for number in range(LINES):
            here, there = (one, other) if number % 2 else (other, one)
            message_id = await here.say(f"line {number}")
            acked = await here.until_type("ack", id=message_id)
            turn = acked["payload"]["seq"]
            await here.until_type("state_update", turn=turn)
            await there.until_type("state_update", turn=turn)
        assert same_log(one.durable, other.durable)
        assert [frame["seq"] for frame in one.durable] == list(range(1, len(one.durable) + 1))
        assert one.texts("user") == [f"line {number}" for number in range(LINES)]
        assert one.texts() == ["Welcome.", *(f"you said line {number}" for number in range(LINES))]
    events = await store.read(SessionKey(USER, session_id), 0, 1000)
    assert [event.message_id for event in events] == [frame["message_id"] for frame in one.durable]


async def test_lines_typed_at_the_same_instant_in_two_processes_have_one_order(
    start: Start, between: dict[str, str], session_id: str
) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        for number in range(LINES):
            await asyncio.gather(one.say(f"a{number}"), other.say(f"b{number}"))
        for tab in (one, other):
            await tab.until(lambda frame: len(tab.texts()) == 1 + 2 * LINES and frame.get("type") == "state_update")  # noqa: B023
        assert same_log(one.durable, other.durable)
        said = one.texts("user")
        assert sorted(said) == sorted(f"{tab}{number}" for tab in "ab" for number in range(LINES))
        assert one.texts()[1:] == [f"you said {text}" for text in said]


async def test_a_greeting_that_two_processes_make_at_once_is_made_once(start: Start, between: dict[str, str]) -> None:
    first, second = await asyncio.gather(start(**between), start(**between))
    for number in range(10):
        session_id = f"00000000-0000-0000-0000-{number:012}"
        one, other = Client(first.port, session_id=session_id), Client(second.port, session_id=session_id)
        async with one, other:
            await asyncio.gather(one.until_type("state_update"), other.until_type("state_update"))
            assert same_log(one.durable, other.durable)
            assert one.texts() == ["Welcome."]


@pytest.mark.parametrize("between", ["redis-dead"], indirect=True)
async def test_without_redis_a_line_reaches_a_tab_on_another_process_within_two_seconds(
    start: Start, between: dict[str, str], session_id: str
) -> None:
    """A bound that the issue of losing Redis is about, and far above what a poll each second takes."""
    first, second = await asyncio.gather(start(**between), start(**between))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        for number in range(5):
            began = time.monotonic()
            await one.say(f"line {number}")
            await other.until_type("chat_message", text=f"line {number}")
            assert time.monotonic() - began < 2


async def test_a_press_on_a_card_that_another_process_made_is_taken(
    start: Start, between: dict[str, str], session_id: str
) -> None:
    """The first process knows of no card, and without Redis has not heard of one: it must look before it refuses."""
    first, second = await asyncio.gather(start(**between, HEAD_POLL_MS="60000"), start(**between))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.turn("wake up")
        await other.turn("choose")
        card = next(frame for frame in other.durable if frame["type"] == "action_request")
        pressed = await one.say("Go right", action_value="right", action_message_id=card["message_id"])
        acked = await one.until_type("ack", id=pressed)
        ended = await one.until_type("state_update", turn=acked["payload"]["seq"])
        assert (ended["payload"]["from"], ended["payload"]["to"]) == ("CHOICE", "CHOICE")
        closed = await one.say("Go left", action_value="left", action_message_id=card["message_id"])
        assert (await one.until_type("error", id=closed))["payload"]["code"] == "stale_action"
