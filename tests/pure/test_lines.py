"""A line's write, what is the same line again, and what waits before it can be judged."""

from typing import Any

import pytest

from server.errors import ErrorCode
from server.machines.effects import Reject
from server.machines.inputs import Cancel, Message
from server.machines.lines import Held, accept_write, is_same, line_event, reject
from server.records import Event, Snapshot
from tests.pure.sessions import LEFT_CARD, cancel, press, say
from tests.support.builders import T0_MS, USER, event, line, snapshot
from tests.support.example_workflows import ECHO


def payload(message: Message, before: Snapshot) -> dict[str, Any]:
    said = line_event(message, before, ECHO)
    return said.payload


def test_a_line_is_stored_as_it_was_received() -> None:
    write = accept_write(line_event(say("hello"), snapshot(), ECHO), USER)
    [said] = write.events
    assert (write.client_id, write.expected_version, write.update) == ("c3", None, None)
    assert (said.type, said.role, said.message_id, said.created_at) == ("chat_message", "user", "m-c3", T0_MS)
    assert said.payload == {
        "text": "hello",
        "sub_title": None,
        "list_items": None,
        "format": "plain",
        "client_id": "c3",
    }


def test_a_line_without_an_id_is_keyed_by_its_message_id() -> None:
    write = accept_write(line_event(say(client_id=None), snapshot(), ECHO), USER)
    assert write.client_id == write.events[0].client_id == "m-None"
    assert "client_id" not in write.events[0].payload


def test_a_press_is_stored_with_its_action_and_its_card() -> None:
    stored = payload(press(), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"], stored["action_message_id"]) == ("Go left", "left", LEFT_CARD)


def test_a_buttons_value_sent_as_text_is_stored_as_its_label() -> None:
    stored = payload(say("left"), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"]) == ("Go left", "left")


def test_words_that_come_with_a_button_are_stored() -> None:
    stored = payload(say("because", action="right"), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"]) == ("because", "right")


def test_an_action_that_no_table_knows_is_stored_as_it_came() -> None:
    stored = payload(say("up", action="up"), snapshot())
    assert (stored["text"], stored["action_value"]) == ("up", "up")


@pytest.mark.parametrize(
    ("again", "stored", "same"),
    [
        (say("hello"), line(3), True),
        (say("hullo"), line(3), False),
        (say("hello", action="left"), line(3), False),
        (say("hello"), event(3), False),
        (say("left"), line(3, "Go left", action_value="left"), True),
        (say("left", action="left"), line(3, "Go left", action_value="left"), True),
        (say("Go left"), line(3, "Go left", action_value="left"), True),
        (say("Go left", action="right"), line(3, "Go left", action_value="left"), False),
        (say("up", action="up"), line(3, "up", action_value="up"), True),
        (press(), line(3, "Go left", action_value="left", action_message_id=LEFT_CARD), True),
        (press("card2"), line(3, "Go left", action_value="left", action_message_id=LEFT_CARD), False),
        (cancel(3), event(4, "turn_cancelled", turn=3), True),
        (cancel(2), event(4, "turn_cancelled", turn=3), False),
        (cancel(3), line(3), False),
    ],
)
def test_what_is_the_same_again(again: Message | Cancel, stored: Event, same: bool) -> None:
    assert is_same(again, stored, ECHO) is same


# ---------------------------------------------------------------- what waits


def test_what_waits_is_bounded_and_keeps_its_order() -> None:
    held, first, second, third = Held(2), say(client_id="c1"), cancel(), say(client_id="c2")
    assert [held.add(asked) for asked in (first, second, third)] == [[], [], [Reject(7, "c2", ErrorCode.INBOX_FULL)]]
    assert held.take() == [first, second]
    assert held.take() == []


def test_what_is_put_back_is_first_and_only_beyond_the_bound_does_the_last_make_room() -> None:
    held, first, second, third = Held(2), say(client_id="c1"), cancel(), say(client_id="c2")
    assert held.add(second) == []
    assert held.put_back(first) == []
    assert held.put_back(third) == [Reject(8, "x1", ErrorCode.INBOX_FULL)]
    assert held.take() == [third, first]


def test_what_waits_can_be_refused_at_once() -> None:
    held = Held(2)
    held.add(say(client_id="c1"))
    held.add(cancel())
    assert held.refuse(ErrorCode.NOT_FOUND) == [
        Reject(7, "c1", ErrorCode.NOT_FOUND),
        Reject(8, "x1", ErrorCode.NOT_FOUND),
    ]
    assert held.take() == []


@pytest.mark.parametrize(("code", "card"), [(ErrorCode.STALE_ACTION, "card2"), (ErrorCode.INBOX_FULL, None)])
def test_only_who_pressed_a_closed_card_is_told_which_is_open(code: ErrorCode, card: str | None) -> None:
    assert reject(press(), code, snapshot(card="card2")) == Reject(7, "c3", code, card)
    assert reject(press(), code) == Reject(7, "c3", code)
