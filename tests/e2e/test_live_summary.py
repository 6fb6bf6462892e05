"""Summaries of long conversations: what the model is given, and what holds when a summary fails or hangs."""

import asyncio
import json
import re
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from server.engine import turn_context
from server.records import Event, SessionKey
from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from server.workflows.registry import find_workflows
from tests.e2e.conftest import Start
from tests.e2e.live import ended, environment, talk
from tests.e2e.long_talk import is_summary
from tests.support.passing_store import PassingStore
from tests.support.process import ROOT
from tests.support.wire import Client
from tests.support.wrapped import serve
from tests.vendors import Call, Play, Vendors, cut, fault, hang, refuse, say

#: With four messages in a window, the second turn is the first whose messages are folded.
LIMIT = 4
#: Less than a summary's own deadline, after which its call would end by itself.
SOON_S = 15
GREETING = "Hello! What would you like to talk about?"


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    with Vendors() as vendors:
        vendors.play = plays(say("They talk of tea."))
        yield vendors


def plays(summary: Play, answer: Play | None = None) -> Callable[[Call], Play]:
    """Every answer is its line's echo, if there is no other."""
    return lambda call: summary if is_summary(call) else answer or say(f"to {call.said[-1][1].split()[-1]}")


def settings(vendors: Vendors, **more: str) -> Settings:
    return Settings.from_env(environment(vendors, CHAT_CONTEXT_LIMIT=str(LIMIT), **more))


def store() -> SqliteStore:
    return SqliteStore(MEMORY)


def summaries(vendors: Vendors) -> list[Call]:
    return [call for call in vendors.calls if is_summary(call)]


def answers(vendors: Vendors) -> list[Call]:
    return [call for call in vendors.calls if not is_summary(call)]


def window(call: Call) -> list[str]:
    """The prompt of an answer, message by message, without the words that stand in for a person's first ones."""
    parts = [part for _, text in call.said[1:] for part in text.split("\n\n")]
    return [part for part in parts if part != "(The conversation begins.)"]


def trace(client: Client) -> list[tuple[str, str]]:
    return [(entry["name"], entry["outcome"]) for entry in ended(client)["payload"]["trace"]]


async def say_all(client: Client, *lines: str) -> None:
    for line in lines:
        await client.turn(line)


def hold_no_task() -> None:
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "summarise"] == []


async def test_the_model_is_given_what_was_folded_as_a_summary(vendors: Vendors) -> None:
    async with serve(store(), find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        await client.turn("one")
        assert trace(client) == [("answer", "answered")]
        assert "@summary" not in ended(client)["payload"]["memory"]
        end = await client.turn("two")
        assert trace(client) == [("answer", "answered"), ("summarise", "answered")]
        assert end["payload"]["memory"]["@summary"] == {"through": 3, "text": "They talk of tea."}
        assert end["payload"]["usage"]["calls"] == 2
        [summary] = summaries(vendors)
        assert re.findall(r'"text":"(.*?)"', summary.said[1][1]) == [GREETING, "one"]
        await client.turn("three")
        [_, folding] = summaries(vendors)
    given = window(answers(vendors)[-1])
    assert "They talk of tea." in given[0]
    assert given[1:] == ["to one", "two", "to two", "three"]
    assert '"They talk of tea."' in folding.said[1][1]
    assert re.findall(r'"text":"(.*?)"', folding.said[1][1]) == ["to one", "two"]


BAD = {"assistant_rejected": fault("no_model"), "assistant_refused": refuse(), "assistant_malformed": say(" ")}


@pytest.mark.parametrize("code", BAD)
async def test_a_summary_that_fails_leaves_the_turn_alone_and_is_tried_again(vendors: Vendors, code: str) -> None:
    vendors.play = plays(BAD[code])
    async with serve(store(), find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        await say_all(client, "one", "two", "three")
        assert client.texts()[1:] == ["to one", "to two", "to three"]
        outcome = "answered" if code == "assistant_malformed" else code
        assert trace(client) == [("answer", "answered"), ("summarise", outcome)]
        assert "@summary" not in ended(client)["payload"]["memory"]
        assert window(answers(vendors)[-1]) == [GREETING, "one", "to one", "two", "to two", "three"]
        vendors.play = plays(say("They talk of tea."))
        end = await client.turn("four")
        assert end["payload"]["memory"]["@summary"]["through"] > 3
        await client.turn("five")
    assert window(answers(vendors)[-1])[1:] == ["to three", "four", "to four", "five"]


class Reading(PassingStore):
    """Notes how many events were asked for."""

    def __init__(self) -> None:
        super().__init__(store())
        self.limits: list[int] = []

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        self.limits.append(limit)
        return await super().read(key, after, limit)


async def test_a_turn_stays_bounded_while_summaries_fail_and_reads_little_while_they_do_not(vendors: Vendors) -> None:
    reading, lines = Reading(), [f"line{number}" for number in range(12)]
    vendors.play = plays(fault("no_model"))
    async with serve(reading, find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        await say_all(client, *lines)
        assert max(reading.limits) == LIMIT * turn_context.EVENTS_PER_MESSAGE
        assert max(len(window(call)) for call in answers(vendors)) == 2 * LIMIT
        vendors.play = plays(say("They talk of tea."))
        await say_all(client, *lines)
        reading.limits.clear()
        await say_all(client, *lines)
        assert max(reading.limits) <= 6
        assert len(window(answers(vendors)[-1])) == LIMIT + 1


async def test_a_cancel_leaves_no_call_and_no_task_behind(vendors: Vendors) -> None:
    async with serve(store(), find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        await client.turn("one")
        vendors.play = plays(hang("They talk"), hang("Tea"))
        await client.say("two")
        await client.until_type("stream_delta", text="Tea")
        await vendors.until(lambda: bool(summaries(vendors) and summaries(vendors)[0].sent), "the summary begins")
        await client.send({"type": "cancel", "id": "stop", "turn": (await turn_of(client))})
        await client.until_type("state_update", intent="Cancelled")
        assert trace(client) == [("answer", "cancelled"), ("summarise", "cancelled")]
        async with asyncio.timeout(SOON_S):
            await vendors.until(lambda: {call.outcome for call in vendors.calls[1:]} == {"left"}, "both are left")
        hold_no_task()
        vendors.play = plays(say("They talk of tea."))
        end = await client.turn("three")
        assert end["payload"]["memory"]["@summary"]["text"] == "They talk of tea."


async def turn_of(client: Client) -> int:
    """The turn that is under way: the last line's."""
    return int([frame for frame in client.durable if frame["role"] == "user"][-1]["seq"])


async def test_a_turn_that_fails_stops_its_summary(vendors: Vendors) -> None:
    async with serve(store(), find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        await client.turn("one")
        vendors.play = plays(hang("They talk"), cut("Tea is"))
        await client.turn("two")
        assert [frame["payload"]["code"] for frame in client.durable if frame["type"] == "turn_failed"]
        assert ("summarise", "cancelled") in trace(client)
        assert "@summary" not in ended(client)["payload"]["memory"]
        hold_no_task()
        await vendors.until(lambda: {call.outcome for call in summaries(vendors)} == {"left"}, "it is left")


@pytest.mark.parametrize("bound", ["wait", "step"])
async def test_an_answer_waits_for_a_summary_for_a_bounded_time(
    vendors: Vendors, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Its own bound, or what is left of the step's time: the summary is given up, the answer is not."""
    monkeypatch.setattr(turn_context, "WAIT_MS", 50 if bound == "wait" else 60_000)
    limits = settings(vendors, STEP_TIMEOUT_MS="120000" if bound == "wait" else "1500")
    async with serve(store(), find_workflows(), limits) as port, talk(port) as client:
        await client.until_type("live")
        await client.turn("one")
        vendors.play = plays(hang("They talk") if bound == "wait" else say("and tea " * 500, per_s=20))
        await client.turn("two")
        assert client.texts()[-1] == "to two"
        name, outcome = trace(client)[1]
        assert name == "summarise"
        assert outcome in ("cancelled", "assistant_timeout")
        assert "@summary" not in ended(client)["payload"]["memory"]
        await vendors.until(lambda: summaries(vendors)[0].outcome == "left", "it is left")
        hold_no_task()


async def test_a_turn_that_calls_no_model_pays_for_no_summary(vendors: Vendors) -> None:
    limits = Settings.from_env(environment(vendors, CHAT_CONTEXT_LIMIT="1"))
    async with serve(store(), find_workflows(), limits) as port, Client(port, workflow="builder") as client:
        await client.until_type("live")
        await client.turn("Looks perfect!", action_value="accept_strawman")
        assert "trace" not in ended(client)["payload"]
    assert vendors.calls == []


async def test_a_line_that_had_to_wait_is_given_the_answer_before_it(vendors: Vendors) -> None:
    vendors.next(say("to one", per_s=5))
    async with serve(store(), find_workflows(), settings(vendors)) as port, talk(port) as client:
        await client.until_type("live")
        for line in ("one", "two", "three"):
            await client.say(line)
        for _ in range(3):
            await client.until_type("state_update", intent="Say")
        await client.turn("four")
    first, second, third, fourth = (window(call) for call in answers(vendors))
    assert first == [GREETING, "one"]
    assert second == [GREETING, "one", "to one", "two"]
    assert third[1:] == ["two", "to one", "to two", "three"], "in the order of the log"
    assert fourth[1:] == ["three", "to one", "to two", "to three", "four"], "what is not in the summary is here"


async def test_a_server_that_was_killed_goes_on_with_the_stored_summary(vendors: Vendors, start: Start) -> None:
    session_id = str(uuid.uuid4())
    server = await start(**environment(vendors, CHAT_CONTEXT_LIMIT=str(LIMIT)))
    async with talk(server.port, session_id) as client:
        await client.until_type("live")
        await say_all(client, "one", "two")
        vendors.play = plays(hang("They talk"), hang("Tea"))
        await client.say("three")
        await client.until_type("stream_delta", text="Tea")
        await server.kill()
    vendors.play = plays(say("They talk of coffee."))
    await server.start()
    async with talk(server.port, session_id) as client:
        await client.until_type("chat_message", text="to three")
        assert "They talk of tea." in window(answers(vendors)[-1])[0]
        assert window(answers(vendors)[-1])[1:] == ["to one", "two", "to two", "three"]
        await client.until_type("state_update", turn=await turn_of(client))
        assert ended(client)["payload"]["memory"]["@summary"]["text"] == "They talk of coffee."
    records = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    windows = [record["window_messages"] for record in records if "window_messages" in record]
    assert windows == [2, LIMIT, LIMIT + 1], "of the answers, not of the summaries beside them"
    assert "They talk" not in server.log()
    script = [sys.executable, "scripts/check_session_state.py", session_id, "--store", f"sqlite:///{server.database}"]
    seen = await asyncio.create_subprocess_exec(*script, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await seen.communicate()
    assert seen.returncode == 0, out.decode()
    assert b"They talk of coffee." in out
