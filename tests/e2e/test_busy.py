"""Two lines at once: what becomes of the second one, by the workflow's policy."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.process import ServerProcess
from tests.support.wire import Client

SLOW = "stream 0.2 a b c d e f g h i j k l m n o p q r s t u v w x y z"


@asynccontextmanager
async def two_tabs(server: ServerProcess, session_id: str, workflow: str) -> AsyncIterator[tuple[Client, Client]]:
    def tab() -> Client:
        return Client(server.port, session_id=session_id, workflow=workflow)

    async with tab() as one, tab() as two:
        await asyncio.gather(one.until_type("live"), two.until_type("live"))
        yield one, two


async def refreshed(server: ServerProcess, session_id: str) -> list[dict[str, object]]:
    """What a page shows that is loaded now."""
    async with Client(server.port, session_id=session_id) as tab:
        await tab.until_type("live")
        return tab.durable


def ends(tab: Client) -> list[int]:
    return [frame["payload"]["turn"] for frame in tab.durable if frame["type"] == "state_update"]


async def test_queued_a_line_is_acked_and_seen_at_once_and_answered_in_its_turn(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo") as (one, two):
        await one.say("sleep 2")
        await two.until_type("status_update")
        second = await two.say("and then?")
        await two.until_type("ack", id=second)
        await asyncio.gather(*(tab.until_type("chat_message", text="and then?") for tab in (one, two)))
        assert ends(one) == ends(two) == [0]  # the first is still at work
        await asyncio.gather(*(tab.until_type("state_update", turn=4) for tab in (one, two)))
        assert one.texts() == ["Welcome.", "slept 2", "you said and then?"]
        assert one.durable == two.durable == await refreshed(server, session_id)


async def test_what_was_said_to_the_line_before_is_known_to_a_line_that_waited(server: ServerProcess) -> None:
    async with Client(server.port, workflow="recall") as one:
        await one.until_type("live")
        await one.say("sleep 1")  # event 3; its answer is 6, behind the two lines that wait for it
        await one.say("recall")
        await one.say("recall")
        await one.until_type("state_update", turn=5)
        assert one.texts()[1:] == ["slept 1", "events [1, 2, 3, 6, 7]", "events [1, 2, 3, 4, 6, 7, 8, 9]"]


async def test_a_line_that_interrupts_is_seen_at_once_and_what_was_said_is_kept(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo-interrupt") as (one, two):
        await one.say(SLOW)
        delta = await two.until_type("stream_delta", n=2)
        second = await two.say("something else")
        ack = await two.until_type("ack", id=second)
        await asyncio.gather(*(tab.until_type("state_update", turn=4) for tab in (one, two)))
        line, said, stopped, end, answer = one.durable[3:8]
        assert (line["role"], line["seq"], line["payload"]["text"]) == ("user", ack["payload"]["seq"], "something else")
        assert said["message_id"] == delta["message_id"]
        assert said["payload"]["cancelled"] is True
        assert said["payload"]["text"].startswith("ab")
        assert (stopped["type"], stopped["payload"]) == ("turn_cancelled", {"turn": 3, "reason": "interrupted"})
        assert (end["payload"]["turn"], end["payload"]["intent"]) == (3, "Cancelled")
        assert answer["payload"]["text"] == "you said something else"
        assert one.durable == two.durable == await refreshed(server, session_id)
    turns = [json.loads(text) for text in server.log().splitlines() if '"event":"turn"' in text]
    assert [turn["outcome"] for turn in turns] == ["answered", "interrupted", "answered"]


async def test_of_many_lines_the_last_is_answered_and_every_other_has_its_end(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo-interrupt") as (one, two):
        for number in range(5):
            await (one, two)[number % 2].say(f"sleep {30 + number}")
        await one.until_type("chat_message", text="sleep 34")
        last = await one.turn("the last")
        await two.until_type("state_update", turn=last["payload"]["turn"])
        lines = [frame["seq"] for frame in one.durable if frame["role"] == "user"]
        assert ends(one) == [0, *lines]
        stopped = [frame["payload"] for frame in one.durable if frame["type"] == "turn_cancelled"]
        assert stopped == [{"turn": turn, "reason": "interrupted"} for turn in lines[:-1]]
        assert one.texts() == ["Welcome.", "you said the last"]
        assert one.durable == two.durable


async def test_a_user_who_stops_an_answer_is_not_told_of_an_interruption(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo-interrupt") as (one, two):
        await one.say("sleep 30")
        await two.until_type("status_update")
        await two.send({"type": "cancel", "id": "stop", "turn": 3})
        assert (await one.until_type("turn_cancelled"))["payload"] == {"turn": 3}


async def test_a_line_is_refused_while_an_answer_is_under_way_and_taken_after_it(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo-reject") as (one, two):
        await one.say("sleep 30", "slow")
        await one.until_type("ack", id="slow")
        await two.until_type("status_update")
        await two.say("and then?", "second")
        error = await two.until_type("error", id="second")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("turn_running", True)
        assert "wait" in error["payload"]["message"]
        await two.say("sleep 30", "slow")  # the same line from another tab is no second one
        assert (await two.until_type("ack", id="slow"))["payload"] == {"id": "slow", "seq": 3, "duplicate": True}
        await two.send({"type": "cancel", "id": "stop", "turn": 3})
        await two.until_type("state_update", turn=3)
        await two.turn("and then?", "second")
        await one.until_type("chat_message", text="you said and then?")
        assert one.texts("user") == ["sleep 30", "and then?"]
        assert one.durable == two.durable == await refreshed(server, session_id)
        await one.say("sleep 30", "slow")
        assert (await one.until_type("ack", duplicate=True))["payload"]["seq"] == 3


async def test_of_lines_that_are_sent_at_once_one_is_taken(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with two_tabs(server, session_id, "echo-reject") as (one, two):
        await asyncio.gather(one.say("sleep 30", "one"), two.say("sleep 31", "two"), two.say("sleep 31", "two"))

        def is_settled(frame: dict[str, object]) -> bool:
            return frame["type"] in ("ack", "error")

        first, second = await asyncio.gather(*(tab.until(is_settled, "an answer") for tab in (one, two)))
        third = await two.until(is_settled, "an answer")
        # A line that is sent twice is taken twice or refused twice.
        assert (first["type"], second["type"], third["type"]) in {("ack", "error", "error"), ("error", "ack", "ack")}
        await one.until_type("chat_message", text="sleep 30" if first["type"] == "ack" else "sleep 31")


async def test_a_line_that_is_refused_is_told_in_words_where_only_those_are_shown(server: ServerProcess) -> None:
    async with Client(server.port, native=False, session_id=uuid.uuid4(), workflow="echo-reject") as client:
        await client.say("sleep 30", "early")  # while the greeting is made it is held, and taken then
        await client.until_type("ack", id="early")
        await client.say("and then?", "second")
        error = await client.until_type("error", id="second")
        spoken = await client.until_type("chat_message", ephemeral=True)
        assert spoken["payload"]["text"] == error["payload"]["message"]
        assert "seq" not in spoken
