"""Live answers: a real server process, real sockets, and a vendor on loopback that speaks its vendor's format."""

import asyncio
import json
import uuid
from typing import Any

import pytest

from tests.e2e.live import LONG, assembled, ended, talk
from tests.e2e.test_crash import stored_texts
from tests.support.figures import read
from tests.support.process import ServerProcess
from tests.support.wire import Client
from tests.vendors import Call, Play, Vendors, cut, fault, hang, refuse, say

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_is_streamed_stored_and_accounted_for(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(say("Tea is a leaf.", per_s=50))
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.turn("What is tea?")
        assert client.texts()[-1] == assembled(client) == "Tea is a leaf."
        told = await client.until_type("token_usage")
        usage, [entry] = ended(client)["payload"]["usage"], ended(client)["payload"]["trace"]
        assert (usage["calls"], usage["attempts"], usage["measured"]) == (1, 1, True)
        assert usage["output_tokens"] == 4
        assert usage["cost_micro_usd"] == usage["input_tokens"] + 2 * usage["output_tokens"]
        assert usage["first_token_ms"] >= 0
        assert told["payload"]["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert (entry["name"], entry["outcome"], entry["messages"]) == ("answer", "answered", 2)
        await client.turn("And coffee?")
        session = (await client.until_type("token_usage"))["payload"]["session"]
        assert session["calls"] == 2
        assert session["output_tokens"] == usage["output_tokens"] + ended(client)["payload"]["usage"]["output_tokens"]
    said = vendors.calls[1].said
    assert [text for _, text in said][-3:] == ["What is tea?", "Tea is a leaf.", "And coffee?"]
    records = [json.loads(line) for line in live.log().splitlines() if line.startswith("{")]
    turns = [record for record in records if record["event"] == "turn" and "window_messages" in record]
    assert [record["window_messages"] for record in turns] == [2, 4]
    assert "coffee" not in live.log()


async def test_five_refreshes_during_one_answer(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(say(LONG, per_s=50))
    session_id = str(uuid.uuid4())
    async with talk(live.port, session_id) as first:
        await first.until_type("live")
        await first.say("Go on.")
        tabs = [first]
        for _ in range(5):
            await first.until_type("stream_delta")
            await asyncio.sleep(0.15)
            tabs.append(await talk(live.port, session_id).__aenter__())
        finals = await asyncio.gather(*(tab.until_type("chat_message", text=LONG) for tab in tabs))
    assert len({frame["message_id"] for frame in finals}) == 1
    for tab in tabs:
        assert assembled(tab) == LONG
    for tab in tabs[1:]:
        await tab.close()
    assert len(vendors.calls) == 1
    assert (await stored_texts(live.database, session_id))[-1] == ("assistant", LONG)


async def test_a_double_click_is_one_call(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(say(LONG, per_s=200))
    async with talk(live.port) as client:
        await client.until_type("live")
        for _ in range(2):
            await client.say("Go on.", "same")
        await client.until_type("state_update", intent="Say")
        await client.say("Go on.", "same")
        assert (await client.until_type("ack", duplicate=True))["payload"]["id"] == "same"
        await client.turn("Next.")
    assert [call.said[-1][1] for call in vendors.calls] == ["Go on.", "Next."]


async def test_a_cancel_keeps_what_was_said_and_stops_the_vendor(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(hang("Tea is "), say("Coffee."))
    session_id = str(uuid.uuid4())
    async with talk(live.port, session_id) as client:
        await client.until_type("live")
        await client.say("What is tea?")
        turn = (await client.until_type("ack"))["payload"]["seq"]
        await client.until(lambda frame: assembled(client) == "Tea is ", "the text so far")
        await client.send({"type": "cancel", "id": "stop", "turn": turn})
        kept = await client.until_type("chat_message", cancelled=True)
        assert kept["payload"]["text"] == "Tea is "
        await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
        await client.until_type("state_update", intent="Cancelled")
        [entry] = ended(client)["payload"]["trace"]
        assert entry["outcome"] == "cancelled"
        assert ended(client)["payload"]["usage"]["measured"] is False
        await client.turn("And coffee?")
        assert client.texts()[-1] == "Coffee."
    async with talk(live.port, session_id) as client:
        await client.until_type("live")
        assert client.texts() == ["Hello! What would you like to talk about?", "Tea is ", "Coffee."]


async def test_a_second_line_stops_the_vendor_and_each_turn_pays_for_its_own_calls(
    vendors: Vendors, live: ServerProcess
) -> None:
    vendors.next(hang("Tea is "), say("Coffee."))
    session_id = str(uuid.uuid4())
    async with talk(live.port, session_id, "chat-interrupt") as client:
        await client.until_type("live")
        await client.say("What is tea?")
        await client.until(lambda frame: assembled(client) == "Tea is ", "the text so far")
        await client.say("What is coffee?")
        kept = await client.until_type("chat_message", cancelled=True)
        assert kept["payload"]["text"] == "Tea is "
        await client.until_type("turn_cancelled", turn=3, reason="interrupted")
        first = await client.until_type("state_update", turn=3)
        second = await client.until_type("state_update", turn=4)
        await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
        assert client.texts()[-1] == "Coffee."
    said = ["What is tea?", "Tea is ", "What is coffee?"]  # with what it said before it was stopped
    assert [text for _, text in vendors.calls[1].said[-3:]] == said
    assert [entry["outcome"] for entry in first["payload"]["trace"]] == ["cancelled"]
    assert [entry["outcome"] for entry in second["payload"]["trace"]] == ["answered"]
    async with talk(live.port, session_id, "chat-interrupt") as client:
        await client.until_type("live")
        assert client.texts()[1:] == ["Tea is ", "Coffee."]


async def test_of_a_burst_only_the_last_line_is_answered_and_no_other_call_is_heard_out(
    vendors: Vendors, live: ServerProcess
) -> None:
    vendors.next(*[hang("Well, ")] * 8)
    async with talk(live.port, workflow="chat-interrupt") as client:
        await client.until_type("live")
        for number in range(8):
            await client.say(f"question {number}")
        line = await client.until_type("chat_message", text="question 7")
        await client.until_type("stream_delta", turn=line["seq"])  # every other turn has ended
        others = [call for call in vendors.calls if _last_line(call) != "question 7"]
        await vendors.until(lambda: all(call.outcome == "left" for call in others), "the other calls are left")
        begun = {_last_line(call) for call in vendors.calls}
        lines = {frame["seq"]: frame["payload"]["text"] for frame in client.durable if frame["role"] == "user"}
        for end in (frame["payload"] for frame in client.durable if frame["type"] == "state_update"):
            took = end.get("usage", {}).get("output_tokens", 0)
            assert took == 0 or lines[end["turn"]] in begun
        assert [f["payload"]["reason"] for f in client.durable if f["type"] == "turn_cancelled"] == ["interrupted"] * 7


def _last_line(call: Call) -> str:
    """Lines that had no answer come as one."""
    return call.said[-1][1].rpartition("\n")[2]


async def test_a_vendor_that_asks_to_wait_is_asked_again(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(fault("rate_limited", retry_after="1"), say("Here you are."))
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.turn("Tea?")
        assert client.texts()[-1] == "Here you are."
        assert ended(client)["payload"]["usage"]["attempts"] == 2
    assert vendors.calls[1].began - vendors.calls[0].began >= 1


FAULTS: dict[str, list[Play]] = {
    "assistant_rate_limited": [fault("rate_limited", retry_after="900")],
    "assistant_refused": [refuse()],
    "assistant_too_long": [fault("too_long")],
    "assistant_unauthorised": [fault("no_credit")],
    "assistant_rejected": [fault("no_model")],
    "assistant_unreachable": [fault("failing")] * 3,
    "assistant_malformed": [Play(("One ",), ending="garbage")] * 3,
}


@pytest.mark.parametrize("code", FAULTS)
async def test_a_fault_has_its_code_and_the_next_line_works(vendors: Vendors, live: ServerProcess, code: str) -> None:
    vendors.next(*FAULTS[code])
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.turn("Tea?")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == code
        assert ended(client)["payload"]["trace"][0]["outcome"] == code
        await client.turn("And now?")
        assert client.texts()[-1] == "Hello there, this is an answer."


async def test_an_answer_that_breaks_off_is_begun_again(vendors: Vendors, live: ServerProcess) -> None:
    """Tabs replace what they have of it, a late one sees the second attempt alone, and both calls are counted."""
    vendors.next(cut("Tea is "), say(LONG, per_s=50))
    session_id = str(uuid.uuid4())
    async with talk(live.port, session_id) as one, talk(live.port, session_id) as other:
        for tab in (one, other):
            await tab.until_type("live")
        await one.say("What is tea?")
        await one.until_type("stream_delta", attempt=2, n=3)
        async with talk(live.port, session_id) as late:
            tabs = [one, other, late]
            finals = await asyncio.gather(*(tab.until_type("chat_message", text=LONG) for tab in tabs))
            await asyncio.gather(*(tab.until_type("token_usage") for tab in tabs))
        usage, trace = ended(one)["payload"]["usage"], ended(one)["payload"]["trace"]
        assert [tab.texts()[1:] for tab in tabs] == [[LONG]] * 3
    assert len({frame["message_id"] for frame in finals}) == 1
    for tab in tabs:
        assert assembled(tab) == LONG
    for tab in (one, other):
        assert attempts(tab) == {1: "Tea is ", 2: LONG}
        first = next(piece for piece in pieces(tab) if piece["attempt"] == 2)
        assert (first["n"], first["reset"]) == (1, True)
    assert attempts(late).keys() == {2}
    assert [call.outcome for call in vendors.calls] == ["cut", "answered"]
    assert (usage["calls"], usage["attempts"], usage["measured"]) == (2, 2, False)
    assert usage["output_tokens"] > len(LONG.split())
    assert [entry["outcome"] for entry in trace] == ["assistant_unreachable", "answered"]
    assert (await stored_texts(live.database, session_id))[2] == ("assistant", LONG)
    records = [json.loads(line) for line in live.log().splitlines() if session_id in line]
    assert [record["attempts"] for record in records if record["event"] == "turn"] == [1, 2]
    assert "step_broke_off" in {record["event"] for record in records}


async def test_an_answer_that_breaks_off_every_time_is_told(vendors: Vendors, live: ServerProcess) -> None:
    vendors.next(*[cut("Tea is ")] * 3)
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.turn("Tea?")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "assistant_unreachable"
        assert attempts(client) == {1: "Tea is ", 2: "Tea is ", 3: "Tea is "}
        usage, trace = ended(client)["payload"]["usage"], ended(client)["payload"]["trace"]
        assert (usage["calls"], usage["attempts"]) == (3, 3)
        assert [entry["outcome"] for entry in trace] == ["assistant_unreachable"] * 3
        assert len(vendors.calls) == 3
        await client.turn("And now?")
        assert client.texts()[-1] == "Hello there, this is an answer."


async def test_a_cancel_between_two_attempts_ends_the_turn(vendors: Vendors, live: ServerProcess) -> None:
    """What broke off is not kept, and no other call is made."""
    vendors.next(cut("Tea is "), say("Coffee."))
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.say("Tea?")
        turn = (await client.until_type("ack"))["payload"]["seq"]
        await client.until_type("stream_delta", attempt=1)
        await client.until_type("status_update", status="thinking", turn=turn)
        await client.send({"type": "cancel", "id": "stop", "turn": turn})
        await client.until_type("state_update", intent="Cancelled")
        await client.turn("And now?")
        assert client.texts()[1:] == ["Coffee."]
    assert len(vendors.calls) == 2


async def test_the_window_of_an_answer_is_in_the_figures(vendors: Vendors, live: ServerProcess) -> None:
    before = await read(live.url)
    vendors.next(say("Tea is a leaf."), say("So is this."))
    async with talk(live.port) as client:
        await client.until_type("live")
        await client.turn("What is tea?")
        first = ended(client)["payload"]
        await client.turn("And coffee?")
        both = (first, ended(client)["payload"])
    after = await read(live.url)
    grown = {name: after(name) - before(name) for name in ("window_messages_count", "window_messages_sum")}
    assert grown == {"window_messages_count": 2, "window_messages_sum": 2 + 4}
    for name in ("chars", "tokens"):
        told = sum(payload["trace"][0][name] for payload in both)
        assert after(f"window_{name}_sum") - before(f"window_{name}_sum") == told
    for name in ("input_tokens", "output_tokens", "cost_micro_usd", "calls"):
        assert after(f"{name}_total") - before(f"{name}_total") == sum(payload["usage"][name] for payload in both)
    answered = {"workflow": "chat", "outcome": "answered"}
    assert after("turns_total", **answered) - before("turns_total", **answered) == 2
    assert "coffee" not in after.text


def pieces(tab: Client) -> list[dict[str, Any]]:
    return [frame["payload"] for frame in tab.frames if frame.get("type") == "stream_delta"]


def attempts(tab: Client) -> dict[int, str]:
    """The text that each attempt came to."""
    texts: dict[int, str] = {}
    for piece in pieces(tab):
        number = piece["attempt"]
        texts[number] = piece["text"] if piece["reset"] else texts[number] + piece["text"]
    return texts
