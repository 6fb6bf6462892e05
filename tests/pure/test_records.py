"""What is stored: places and times in the log, the memory, the open card, and the fold law."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from server.errors import InvalidWrite
from server.records import (
    ACTION_REQUEST,
    CHAT_MESSAGE,
    STATE_UPDATE,
    TURN_CANCELLED,
    TURN_FAILED,
    Event,
    EventType,
    SessionKey,
    Update,
    Write,
    check_write,
    count_visible,
    fold,
    is_id,
    is_line,
    is_own_frame,
    merge_memory,
    next_card,
    place,
)
from tests.support.builders import SESSION, T0_MS, USER, ended, event, line, snapshot


def greeting() -> list[Event]:
    change = {"from": None, "to": "HELLO", "intent": "Open", "workflow": "echo", "memory": {"a": 1, "b": 2}}
    return [event(1), ended(2, 0, **change)]


# ---------------------------------------------------------------- place


def test_events_are_placed_behind_the_head_without_a_hole() -> None:
    assert [placed.seq for placed in place([event(0), event(0), event(0)], 4, 0)] == [5, 6, 7]


def test_times_rise_by_at_least_a_millisecond_and_are_kept_where_they_do() -> None:
    events = [event(0, created_at=5), event(0, created_at=5), event(0, created_at=50)]
    assert [placed.created_at for placed in place(events, 0, 20)] == [21, 22, 50]


def test_a_lines_turn_is_its_own_place_and_an_answers_turn_is_its_lines() -> None:
    said, answer = place([structs.replace(line(0), turn=0), event(0, turn=3)], 6, 0)
    assert (said.seq, said.turn) == (7, 7)
    assert (answer.seq, answer.turn) == (8, 3)


def test_nothing_is_placed_as_nothing() -> None:
    assert place([], 4, 0) == ()


@given(seq=st.integers(0, 100), updated_at=st.integers(0, 100), times=st.lists(st.integers(0, 200)))
def test_a_log_is_gapless_and_strictly_rising_whatever_the_clock_says(
    seq: int, updated_at: int, times: list[int]
) -> None:
    placed = place([event(0, created_at=time) for time in times], seq, updated_at)
    assert [event.seq for event in placed] == list(range(seq + 1, seq + 1 + len(times)))
    stamps = [updated_at, *(event.created_at for event in placed)]
    assert all(earlier < later for earlier, later in pairwise(stamps))
    assert all(event.created_at >= time for event, time in zip(placed, times, strict=True))


# ---------------------------------------------------------------- what can be written

UPDATE = Update(workflow="echo", state="HELLO", cursor=3, memory=None, card=None)
ACCEPT = Write(session_id=SESSION, user_id=USER, events=(line(0, client_id="c1"),), client_id="c1")
TURN = Write(session_id=SESSION, user_id=USER, events=(event(0), ended(0, 3)), expected_version=1, update=UPDATE)


@pytest.mark.parametrize("write", [ACCEPT, TURN, structs.replace(ACCEPT, user_id="Jörg")])
def test_a_line_and_a_turn_can_be_written(write: Write) -> None:
    check_write(write)


def test_a_payload_may_hold_what_an_id_may_not() -> None:
    check_write(structs.replace(ACCEPT, events=(line(0, "a\0b", client_id="c1"),)))


@pytest.mark.parametrize(
    ("write", "change"),
    [
        (ACCEPT, {"events": ()}),
        (ACCEPT, {"session_id": "another"}),
        (ACCEPT, {"update": UPDATE}),
        (ACCEPT, {"expected_version": 1}),
        (TURN, {"update": None}),
        (ACCEPT, {"client_id": None}),
        (ACCEPT, {"client_id": "c2"}),
        (ACCEPT, {"events": (line(0, client_id="c1"), line(0, client_id="c1"))}),
        (TURN, {"client_id": "c1"}),
        (TURN, {"events": (event(0), structs.replace(line(0), client_id=None), ended(0, 3))}),
        (ACCEPT, {"user_id": "a\0b"}),
        (ACCEPT, {"user_id": "\ud800"}),
        (TURN, {"events": (event(0, message_id="a\0b"),)}),
        (TURN, {"events": (event(0, type="a\0b"),)}),
        (TURN, {"events": (event(0, role="a\0b"),)}),
        (ACCEPT, {"client_id": "a\0b", "events": (line(0, client_id="a\0b"),)}),
        (TURN, {"update": structs.replace(UPDATE, card="\udfff")}),
        (TURN, {"update": structs.replace(UPDATE, workflow="a\0b")}),
        (TURN, {"update": structs.replace(UPDATE, state="a\0b")}),
        (ACCEPT, {"events": (line(0, client_id="c1"), structs.replace(event(0), created_at=2**63))}),
        (TURN, {"events": (event(0, turn=2**63),)}),
        (TURN, {"update": structs.replace(UPDATE, cursor=2**63)}),
    ],
)
def test_what_no_store_takes_is_refused_before_any_is_asked(write: Write, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidWrite):
        check_write(structs.replace(write, **change))


# ---------------------------------------------------------------- the small rules


def test_a_line_is_what_the_user_said() -> None:
    assert is_line(line(1))
    assert not is_line(event(1))


def test_only_items_that_a_person_sees_are_counted() -> None:
    log = [line(1), event(2, "action_request"), event(3, "drawing"), event(4)]
    told = [event(6, "turn_failed", role="system"), event(7, "turn_cancelled", role="system")]
    assert count_visible([*log, ended(5, 1), *told]) == 4


def test_a_workflows_own_frame_is_said_by_it_and_is_nothing_that_every_workflow_says() -> None:
    log = [
        line(1),
        event(2),
        event(3, "action_request"),
        event(4, "drawing"),
        ended(5, 1),
        event(6, "drawing", role="user"),
    ]
    assert [one.seq for one in log if is_own_frame(one)] == [4]


def test_none_forgets_and_anything_else_is_kept() -> None:
    assert merge_memory({"a": 1, "b": 2, "c": 3}, {"a": None, "b": 0, "d": [], "e": None}) == {"b": 0, "c": 3, "d": []}


def test_a_turn_that_asks_opens_its_last_card() -> None:
    asked = [event(1, "action_request"), event(2), event(3, "action_request")]
    assert next_card("old", asked, moved=False) == "m3"
    assert next_card(None, asked, moved=True) == "m3"


def test_a_move_closes_the_card_and_staying_keeps_it_open() -> None:
    assert next_card("old", [event(1)], moved=True) is None
    assert next_card("old", [event(1)], moved=False) == "old"


# ---------------------------------------------------------------- fold


def test_there_is_no_snapshot_without_a_turn() -> None:
    assert fold([], USER) is None
    assert fold([line(1), event(2)], USER) is None


def test_the_greeting_starts_the_snapshot() -> None:
    assert fold(greeting(), USER) == snapshot(
        memory={"a": 1, "b": 2}, created_at=T0_MS + 1, updated_at=T0_MS + 2, visible=1
    )


def test_a_line_that_waits_shows_in_the_snapshot_and_moves_nothing() -> None:
    before, after = fold(greeting(), USER), fold([*greeting(), line(3), line(4)], USER)
    assert before is not None
    assert after == structs.replace(before, seq=4, lined=4, visible=3, updated_at=T0_MS + 4)


def test_a_turn_moves_state_memory_cursor_version_and_card() -> None:
    asked = event(4, "action_request", turn=3)
    moved = ended(5, 3, **{"from": "HELLO", "to": "CHOICE", "memory": {"a": None, "c": 3}})
    assert fold([*greeting(), line(3), asked, moved], USER) == snapshot(
        state="CHOICE",
        memory={"b": 2, "c": 3},
        version=2,
        seq=5,
        cursor=3,
        lined=3,
        visible=3,
        card="m4",
        created_at=T0_MS + 1,
        updated_at=T0_MS + 5,
    )


def test_a_turn_that_stays_keeps_the_card_and_one_that_moves_closes_it() -> None:
    asked = [*greeting(), line(3), event(4, "action_request", turn=3), ended(5, 3)]
    stayed = fold([*asked, line(6), event(7, turn=6), ended(8, 6)], USER)
    moved = fold([*asked, line(6), event(7, turn=6), ended(8, 6, to="CHOICE")], USER)
    assert stayed is not None
    assert moved is not None
    assert (stayed.card, moved.card) == ("m4", None)


def test_a_line_between_a_turns_events_is_not_part_of_it() -> None:
    before = [*greeting(), line(3), line(4), event(5, turn=3), ended(6, 3)]
    folded = fold(before, USER)
    assert folded is not None
    assert (folded.cursor, folded.lined) == (3, 4)


def test_a_log_whose_first_turn_names_no_workflow_has_none() -> None:
    folded = fold([event(1), ended(2, 0)], USER)
    assert folded is not None
    assert (folded.workflow, folded.session_id) == ("", SESSION)


def test_what_a_turn_writes_is_a_plain_str_though_its_types_are_an_enum() -> None:
    """SQLite looks for an adapter for every subclass of str."""
    written = {CHAT_MESSAGE, ACTION_REQUEST, STATE_UPDATE, TURN_CANCELLED, TURN_FAILED}
    assert written == set(EventType)
    assert {type(name) for name in written} == {str}


def test_a_snapshot_and_a_write_name_their_session_with_its_owner() -> None:
    key = SessionKey(user_id=USER, session_id=snapshot().session_id)
    assert snapshot().key == key
    assert Write(session_id=key.session_id, user_id=USER, events=(line(1),)).key == key


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize(
    "text",
    [
        "session_456",
        "e2e-ingest:chromium:17-ab",
        "5f1c8a52-0d5e-4f0e-9a55-1c6f6f0f8a01",
        "ann@example.com",
        " ",
        "Jörg Müller",
        "e\u0301",  # a combining mark
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a joiner that does not join
        "👨\u200d👩\u200d👧\u200d👦",
        "👁️\u200d🗨️",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England
        "\U0001f469" * 255,
    ],
)
def test_what_people_are_called_is_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 256, "a\0", "a\nb", "a\tb", "\x7f", "\x85", "\u2028", "\u2029", "\ud800", "\ufeff", "\u00ad",
     "a\u202eb", "\u202a", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\u00a0", "\ue000", "\uffff"],
)  # fmt: skip
def test_what_cannot_be_seen_or_shows_another_text_is_no_id(text: str) -> None:
    assert not is_id(text)
    assert not is_id(f"ann{text}ann" if text else text * 2)


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")), max_size=300))
def test_an_id_is_any_text_of_visible_characters(text: str) -> None:
    assert is_id(text) == (1 <= len(text) <= 255)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.characters(categories=("Cc", "Cf", "Co", "Cs", "Zl", "Zp")),
    st.text(max_size=20),
)
def test_no_other_character_gets_in_but_the_joiners(before: str, bad: str, after: str) -> None:
    joins = bad in "\u200c\u200d" or 0xE0020 <= ord(bad) <= 0xE007F
    assert is_id(before + bad + after) == (joins and (not before + after or is_id(before + after)))


@given(st.text(max_size=300))
def test_every_id_can_be_stored_and_sent(text: str) -> None:
    if is_id(text):
        check_write(Write(session_id=text, user_id=text, events=(event(1, session_id=text),)))
        assert msgspec.json.decode(msgspec.json.encode(text)) == text
        assert text.encode().decode() == text
        assert len(text.splitlines()) == 1
