"""The wire: what is understood, what is refused and how, and what a frame looks like."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ERROR_CODES, ErrorCode, ProtocolError
from server.wire import protocol
from server.wire.protocol import Authenticate, Cancel, Inbound, Ping, Pong, Resume, Say
from tests.support.builders import snapshot

LIMIT = 20


def parse(frame: Any) -> Inbound:
    raw = frame if isinstance(frame, str) else json.dumps(frame)
    return protocol.parse(raw, frame_max_bytes=1000, text_max_chars=LIMIT)


def refused(frame: Any) -> tuple[str, str | None]:
    with pytest.raises(ProtocolError) as raised:
        parse(frame)
    assert raised.value.code in ERROR_CODES
    return raised.value.code, raised.value.client_id


# ---------------------------------------------------------------- what is understood


def test_a_line_carries_its_id_and_its_text_without_the_space_around_it() -> None:
    frame = {"type": "user_message", "id": "a", "data": {"text": "  hello \n"}}
    assert parse(frame) == Say(client_id="a", text="hello")


def test_a_line_without_an_id_is_a_line() -> None:
    assert parse({"type": "user_message", "data": {"text": "hello"}}) == Say(None, "hello")


def test_the_existing_builders_idempotency_key_is_an_id_unless_there_is_one() -> None:
    data = {"text": "hello", "handoff_idempotency_key": "k"}
    assert parse({"type": "user_message", "data": data}) == Say("k", "hello")
    assert parse({"type": "user_message", "id": "a", "data": data}) == Say("a", "hello")


def test_a_button_names_its_action_and_the_card_that_it_answers() -> None:
    data = {"text": "Go left", "action_value": "left", "action_message_id": "m4"}
    assert parse({"type": "user_message", "id": "a", "data": data}) == Say("a", "Go left", "left", "m4")


def test_a_button_without_text_speaks_its_value() -> None:
    assert parse({"type": "user_message", "data": {"action_value": "left"}}) == Say(None, "left", "left")


def test_an_older_builders_action_is_the_first_that_has_a_name() -> None:
    data = {"text": "x", "frontend_actions": [{}, {"action_id": ""}, {"action_id": "left"}, {"action_id": "right"}]}
    assert parse({"type": "user_input", "data": data}) == Say(None, "x", "left")
    assert parse({"type": "user_input", "data": {**data, "action_value": "up"}}) == Say(None, "x", "up")


def test_an_empty_card_id_is_none() -> None:
    data = {"text": "x", "action_value": "left", "action_message_id": ""}
    assert parse({"type": "user_message", "data": data}) == Say(None, "x", "left", None)


@pytest.mark.parametrize(
    ("frame", "meaning"),
    [
        ("ping", Ping(bare=True)),
        ({"type": "ping", "n": 4}, Ping(4)),
        ({"type": "ping"}, Ping(None)),
        ({"type": "pong", "n": 4}, Pong()),
        ({"type": "resume", "after": 0}, Resume(0)),
        ({"type": "resume", "after": 2**53 - 1}, Resume(2**53 - 1)),
        ({"type": "cancel", "id": "a", "turn": 7}, Cancel("a", 7)),
        ({"type": "auth", "token": "t"}, Authenticate("t")),
    ],
)
def test_the_other_frames(frame: Any, meaning: Inbound) -> None:
    assert parse(frame) == meaning


def test_only_the_bare_word_is_a_bare_ping() -> None:
    """Not by comparison: what compares equal has the same default."""
    for frame, bare in (("ping", True), ({"type": "ping", "n": 4}, False), ({"type": "ping"}, False)):
        ping = parse(frame)
        assert isinstance(ping, Ping)
        assert ping.bare is bare


def test_unknown_fields_are_kept_out_of_the_way() -> None:
    frame = {"type": "user_message", "colour": "red", "data": {"text": "x", "mood": {"a": [1]}}}
    assert parse(frame) == Say(None, "x")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "invalid_json"),
        ("Ping", "invalid_json"),
        ('{"type":', "invalid_json"),
        ('{"type":"user_message","data":{"text":"\\ud800"}}', "invalid_json"),
        ('{"type":"ping","x":"\ud800"}', "invalid_json"),
        ("[" * 900, "invalid_frame"),
        ('{"type":"ping","x":' + "[" * 900, "invalid_json"),
        ("[]", "invalid_frame"),
        ("null", "invalid_frame"),
        ("{}", "invalid_frame"),
        ('{"type":7}', "invalid_frame"),
        ('{"type":"user_message","data":"x"}', "invalid_frame"),
        ('{"type":"user_message","data":{"text":7}}', "invalid_frame"),
        ('{"type":"resume","after":true}', "invalid_frame"),
        ('{"type":"resume","after":"1"}', "invalid_frame"),
        ('{"type":"dance"}', "unknown_type"),
    ],
)
def test_what_is_not_a_frame_is_refused(raw: str, code: str) -> None:
    assert refused(raw) == (code, None)


def test_a_frame_nested_too_deeply_is_refused_rather_than_fatal() -> None:
    raw = '{"type":"ping","x":' + "[" * 50_000 + "]" * 50_000 + "}"
    with pytest.raises(ProtocolError) as raised:
        protocol.parse(raw, frame_max_bytes=1_000_000, text_max_chars=LIMIT)
    assert raised.value.code == "invalid_json"


def test_a_frame_has_at_most_so_many_bytes_however_few_its_characters() -> None:
    fits = json.dumps({"type": "pong", "x": "y" * 975})
    assert len(fits) == 1000
    assert parse(fits) == Pong()
    assert refused(fits + " ") == ("too_large", None)
    assert refused('{"type":"pong","x":"' + "ü" * 495 + '"}') == ("too_large", None)


@pytest.mark.parametrize("text", ["", "  \t\n ", None])
def test_empty_text_is_refused(text: str | None) -> None:
    assert refused({"type": "user_message", "id": "a", "data": {"text": text}}) == ("empty_text", "a")


def test_a_line_without_a_body_is_empty() -> None:
    assert refused({"type": "user_message", "id": "a"}) == ("empty_text", "a")


def test_text_and_action_have_at_most_so_many_characters() -> None:
    assert parse({"type": "user_message", "data": {"text": "x" * LIMIT}}) == Say(None, "x" * LIMIT)
    for data in ({"text": "x" * (LIMIT + 1)}, {"text": "x", "action_value": "y" * (LIMIT + 1)}):
        assert refused({"type": "user_message", "id": "a", "data": data}) == ("too_large", "a")


@pytest.mark.parametrize("client_id", ["", "x" * 65, "a\0b"])
def test_an_id_has_1_to_64_characters_without_nul_and_a_wrong_one_is_not_echoed(client_id: str) -> None:
    assert refused({"type": "user_message", "id": client_id, "data": {"text": "x"}}) == ("invalid_id", None)
    assert refused({"type": "cancel", "id": client_id, "turn": 1}) == ("invalid_id", None)


def test_a_key_of_the_existing_builder_is_held_to_the_same() -> None:
    data = {"text": "x", "handoff_idempotency_key": "x" * 65}
    assert refused({"type": "user_message", "data": data}) == ("invalid_id", None)


def test_a_cancellation_needs_an_id() -> None:
    assert refused({"type": "cancel", "turn": 1}) == ("invalid_id", None)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "resume"},
        {"type": "resume", "after": -1},
        {"type": "resume", "after": 2**53},
        {"type": "resume", "after": 10**30},
        {"type": "cancel"},
        {"type": "cancel", "turn": -1},
        {"type": "auth"},
        {"type": "auth", "token": ""},
    ],
)
def test_a_refusal_names_the_frame_by_an_id_that_can_be_one(frame: dict[str, Any]) -> None:
    assert refused({**frame, "id": "a"}) == ("invalid_frame", "a")
    if frame["type"] != "cancel":
        assert refused({**frame, "id": "x" * 65}) == ("invalid_frame", None)


def test_an_unknown_type_names_the_frame_by_an_id_that_can_be_one() -> None:
    assert refused({"type": "dance", "id": "a"}) == ("unknown_type", "a")
    assert refused({"type": "dance", "id": "x" * 65}) == ("unknown_type", None)


IDS = st.sampled_from(["a", "b"]) | st.text(max_size=70) | st.sampled_from(["", "a\0b"])
NUMBERS = st.integers(0, 9) | st.integers(-(2**70), 2**70) | st.none()
WORDS = st.none() | st.text(max_size=LIMIT + 2) | st.sampled_from(["hello", " ", "left", "l" * (LIMIT + 1)])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "text": WORDS,
        "action_value": WORDS,
        "action_message_id": WORDS,
        "handoff_idempotency_key": IDS,
        "frontend_actions": st.lists(st.fixed_dictionaries({}, optional={"action_id": WORDS}), max_size=3),
    },
)
FIELDS = {"id": IDS, "data": BODIES, "after": NUMBERS, "turn": NUMBERS, "n": NUMBERS, "token": WORDS}
TYPES = ["user_message", "user_input", "resume", "cancel", "ping", "pong", "auth", "dance"]
KINDS = st.sampled_from(TYPES)
FRAMES = st.fixed_dictionaries({"type": KINDS, **FIELDS}) | st.fixed_dictionaries({"type": KINDS}, optional=FIELDS)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
#: Whole frames, frames of which one field is of another kind, other JSON, and texts that are none.
RAW = st.one_of(
    FRAMES.map(json.dumps),
    st.builds(lambda frame, field, value: json.dumps({**frame, field: value}), FRAMES,
              st.sampled_from(["type", "id", "data", "after", "turn", "n", "token"]), ANY_JSON),
    ANY_JSON.map(json.dumps),
    st.text(),
)  # fmt: skip


def can_be_an_id(client_id: str) -> bool:
    return 1 <= len(client_id) <= 64 and "\0" not in client_id


def check_meaning(frame: Inbound) -> None:
    """What holds for every frame that is let in."""
    match frame:
        case Say():
            assert 1 <= len(frame.text) <= LIMIT
            assert frame.text == frame.text.strip() or frame.text == frame.action
            assert frame.client_id is None or can_be_an_id(frame.client_id)
            assert frame.action is None or 1 <= len(frame.action) <= LIMIT
            assert frame.action_message_id != ""
        case Resume():
            assert 0 <= frame.after < 2**53
        case Cancel():
            assert can_be_an_id(frame.client_id)
            assert 0 <= frame.turn < 2**53
        case Authenticate():
            assert frame.token


@given(raw=RAW)
def test_every_text_means_something_sane_or_is_refused(raw: str) -> None:
    refusal = None
    try:
        check_meaning(parse(raw))
    except ProtocolError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code in ERROR_CODES
        assert refusal.client_id is None or can_be_an_id(refusal.client_id)


def test_what_is_tried_are_frames_of_every_kind_and_every_refusal() -> None:
    """A search that never gets past the decoder would find nothing."""
    seen: set[str] = set()

    @settings(derandomize=True, database=None, max_examples=2000, deadline=None)
    @given(raw=RAW)
    def look(raw: str) -> None:
        try:
            seen.add(type(parse(raw)).__name__)
        except ProtocolError as error:
            seen.add(error.code)

    look()
    assert {"Say", "Resume", "Cancel", "Ping", "Pong", "Authenticate"} <= seen
    assert {"invalid_json", "invalid_frame", "invalid_id", "empty_text", "too_large", "unknown_type"} <= seen


# ---------------------------------------------------------------- what is sent


@given(ms=st.integers(0, 253_402_300_799_999))
def test_a_timestamp_is_utc_to_the_millisecond_with_a_literal_z(ms: int) -> None:
    text = protocol.timestamp(ms)
    assert len(text) == 24
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert round(moment.timestamp() * 1000) == ms


def test_timestamps_sort_as_the_times_do() -> None:
    assert protocol.timestamp(1_750_000_000_999) < protocol.timestamp(1_750_000_001_000)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_an_error_says_what_to_do(code: ErrorCode) -> None:
    payload = protocol.error(code, "a").payload
    row = ERROR_CODES[code]
    assert payload == {"code": code, "id": "a", "message": row.message, "temporary": row.temporary}


def test_an_error_tells_when_to_try_again_where_that_is_known() -> None:
    assert protocol.error(ErrorCode.RATE_LIMITED, None, 250).payload["retry_ms"] == 250


def test_a_status_names_its_turn() -> None:
    assert protocol.status(7, "generating", "Working …", 40, 3).payload == {
        "status": "generating",
        "text": "Working …",
        "progress": 40,
        "estimated_time": 3,
        "turn": 7,
    }


def sync(state: str, **summary: Any) -> dict[str, Any]:
    return protocol.sync_response(
        "send_delta",
        snapshot(state="HELLO", visible=4, seq=9),
        state=state,
        running=7,
        summary=summary,
        heartbeat_ms=25_000,
        limits={"inbox": 20},
    ).payload


def test_the_sync_response_tells_where_the_session_stands() -> None:
    assert sync("CHOICE", has_mood=True) == {
        "action": "send_delta",
        "message_count": 4,
        "current_state": "CHOICE",
        "workflow": "echo",
        "head": 9,
        "running": 7,
        "has_mood": True,
        "heartbeat_ms": 25_000,
        "limits": {"inbox": 20},
    }


def test_a_code_is_its_own_text_in_json_and_has_a_row() -> None:
    assert list(ERROR_CODES) == list(ErrorCode)
    assert [msgspec.json.encode(code) for code in ErrorCode] == [
        f'"{code.name.lower()}"'.encode() for code in ErrorCode
    ]
