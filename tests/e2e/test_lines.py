"""A line takes effect once, for the life of the session, however often and wherever it is sent."""

import asyncio
import uuid

from tests.support.process import ServerProcess
from tests.support.wire import Client


async def test_one_id_is_one_turn_over_sockets_and_restarts(server: ServerProcess) -> None:
    session_id, line = str(uuid.uuid4()), str(uuid.uuid4())
    acks = []
    async with Client(server.port, session_id=session_id) as one, Client(server.port, session_id=session_id) as two:
        await one.until_type("live")
        await two.until_type("live")
        await one.say("only once", line)
        await two.say("only once", line)
        acks += [await one.until_type("ack", id=line), await two.until_type("ack", id=line)]
        await one.until_type("state_update", intent="Say")
    await server.kill()
    await server.start()
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.say("only once", line)
        acks.append(await client.until_type("ack", id=line))
        await client.turn("something else")
        assert client.texts("user") == ["only once", "something else"]
        assert client.texts() == ["Welcome.", "you said only once", "you said something else"]
    assert len({ack["payload"]["seq"] for ack in acks}) == 1
    assert sorted(ack["payload"]["duplicate"] for ack in acks) == [False, True, True]
    assert acks[2]["payload"]["duplicate"] is True


async def test_an_id_with_another_text_is_refused(server: ServerProcess) -> None:
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn("one", "same-id")
        await client.say("two", "same-id")
        error = await client.until_type("error", id="same-id")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("id_reuse", False)
        await client.turn("three")
        assert client.texts("user") == ["one", "three"]


async def test_the_handoff_key_serves_as_id_and_lines_without_one_are_each_a_turn(server: ServerProcess) -> None:
    async with Client(server.port, native=False, session_id=uuid.uuid4()) as client:
        for _ in range(2):
            await client.send(
                {"type": "user_message", "data": {"text": "handed over", "handoff_idempotency_key": "key-1"}}
            )
            await client.until_type("ack", id="key-1")
        for _ in range(2):
            await client.send({"type": "user_message", "data": {"text": "hello again"}})
            await client.until_type("ack", id=None)
        await client.until(lambda f: f.get("type") == "state_update" and f["seq"] == 11, "the last turn")
        assert client.texts("user") == ["handed over", "hello again", "hello again"]


async def test_two_tabs_see_the_same_frames_in_the_same_order(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as one, Client(server.port, session_id=session_id) as two:
        await one.until_type("live")
        await two.until_type("live")
        for number in range(5):
            await asyncio.gather(one.say(f"one {number}"), two.say(f"two {number}"))
        for client in (one, two):
            await client.until(lambda f: f.get("seq") == 2 + 10 * 3, "the last frame")
        assert one.durable == two.durable
        said = one.texts("user")
        assert sorted(said) == sorted(f"{tab} {number}" for tab in ("one", "two") for number in range(5))
        # Answered one after the other, in the order of the log.
        assert one.texts()[1:] == [f"you said {text}" for text in said]


async def test_a_button_is_a_line_with_the_label_as_its_text(server: ServerProcess) -> None:
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn("choose")
        await client.turn("left")
        line = client.durable[-3]
        assert (line["role"], line["payload"]["text"]) == ("user", "Go left")
        assert client.durable[-1]["payload"] == {
            "from": "CHOICE", "to": "HELLO", "intent": "Left", "turn": line["seq"], "memory": {},
        }  # fmt: skip


async def test_a_card_that_is_closed_gets_the_card_that_is_open(server: ServerProcess) -> None:
    async with Client(server.port) as client:
        await client.until_type("live")
        await client.turn("choose")
        first = next(frame for frame in client.durable if frame["type"] == "action_request")
        await client.turn("Go right", "press", action_value="right", action_message_id=first["message_id"])
        second = client.durable[-2]
        assert second["type"] == "action_request"
        await client.say("Go left", "late", action_value="left", action_message_id=first["message_id"])
        error = await client.until_type("error", id="late")
        assert error["payload"]["code"] == "stale_action"
        shown = await client.until_type("action_request")
        assert shown == {key: value for key, value in second.items() if key != "seq"}, "a seq would be a repetition"
        # The press that was accepted is acknowledged again, although its card is closed by now.
        await client.say("Go right", "press", action_value="right", action_message_id=first["message_id"])
        assert (await client.until_type("ack", id="press"))["payload"]["duplicate"] is True


async def test_older_frontends_press_by_value_by_label_and_by_frontend_action(server: ServerProcess) -> None:
    presses = [
        {"type": "user_message", "data": {"text": "right"}},
        {"type": "user_message", "data": {"text": "go RIGHT"}},
        {"type": "user_message", "data": {"text": "Go right", "action_value": "right", "action_label": "Go right"}},
        {"type": "user_input", "data": {"text": "", "response_to": "x", "frontend_actions": [{"action_id": "right"}]}},
    ]
    async with Client(server.port, native=False, session_id=uuid.uuid4()) as client:
        await client.until_type("state_update")
        await client.turn("choose")
        for press in presses:
            await client.send(press)
            turned = await client.until_type("state_update")
            assert turned["payload"]["intent"] == "Right", press


async def test_a_failed_step_ends_its_turn_in_words_without_the_reason(server: ServerProcess) -> None:
    async with Client(server.port) as client:
        await client.until_type("live")
        turned = await client.turn("boom")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "step_failed"
        assert failed["payload"]["turn"] == turned["payload"]["turn"]
        assert "the secret reason" not in str(client.frames)
        correlation_id = failed["payload"]["correlation_id"]
        await client.turn("still here?")
        assert client.texts()[-1] == "you said still here?"
    [record] = [line for line in server.log().splitlines() if correlation_id in line]
    assert "the secret reason" in record


async def test_what_is_sent_is_what_is_stored_also_for_what_json_does_not_keep(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as one:
        await one.until_type("live")
        turned = await one.turn("strange")
        assert turned["payload"]["memory"] == {"score": None, "pair": [1, 2], "by_number": {"1": "one"}}
        async with Client(server.port, session_id=session_id) as two:
            await two.until_type("live")
            assert two.durable == one.durable


async def test_cancel_keeps_what_was_said_and_is_a_line_of_its_own(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as one, Client(server.port, session_id=session_id) as two:
        await one.until_type("live")
        await two.until_type("live")
        line = await one.say("stream 0.2 a b c d e f g h i j k l m n o p q r s t u v w x y z")
        turn = (await one.until_type("ack", id=line))["payload"]["seq"]
        delta = await one.until_type("stream_delta", n=2)
        await two.send({"type": "cancel", "id": "stop", "turn": turn})
        acked = await two.until_type("ack", id="stop")
        await one.until_type("state_update", turn=turn)
        said = one.durable[-3]
        assert said["message_id"] == delta["message_id"]
        assert said["payload"]["cancelled"] is True
        assert said["payload"]["text"].startswith("ab")
        assert one.durable[-2]["type"] == "turn_cancelled"
        assert one.durable[-2]["seq"] == acked["payload"]["seq"]
        await two.send({"type": "cancel", "id": "stop", "turn": turn})
        assert (await two.until_type("ack", id="stop"))["payload"]["duplicate"] is True
        assert one.durable == two.durable
        await two.send({"type": "cancel", "id": "again", "turn": turn})
        assert (await two.until_type("error", id="again"))["payload"]["code"] == "not_running"


async def test_a_tab_that_comes_in_mid_answer_sees_the_text_so_far(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as one:
        await one.until_type("live")
        line = await one.say("stream 0.1 a b c d e f g h i j")
        turn = (await one.until_type("ack", id=line))["payload"]["seq"]
        await one.until_type("stream_delta", n=3)
        async with Client(server.port, session_id=session_id) as two:
            sync = await two.until_type("sync_response")
            assert sync["payload"]["running"] == turn
            status = await two.until_type("status_update")
            assert status["payload"]["turn"] == turn
            await two.until_type("state_update", turn=turn)
            deltas = [frame["payload"] for frame in two.frames if frame["type"] == "stream_delta"]
            assert [delta["reset"] for delta in deltas] == [True] + [False] * (len(deltas) - 1)
            assert "".join(delta["text"] for delta in deltas) == two.texts()[-1] == "abcdefghij"
