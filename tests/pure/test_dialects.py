"""Dialects: what each sends for an event, a transient frame, an ack and a refusal; who is spoken to in which."""

import json
from collections.abc import Sequence

import pytest

from server.errors import ERROR_CODES, ErrorCode
from server.records import Event
from server.wire import protocol
from server.wire.dialects import Dialect, Encoded, choose
from server.wire.dialects.builder import Builder
from server.wire.dialects.native import SUBPROTOCOL, Native
from server.wire.protocol import Ping, Transient
from server.wire.published import PublishedEvents, PublishedFrame
from tests.support.builders import SESSION, ended, event, line

NATIVE = Native()
BUILDER = Builder(gap_ms=100, replay_gap_ms=10)
BOTH = pytest.mark.parametrize("dialect", [NATIVE, BUILDER], ids=lambda dialect: dialect.name)


class Other(Native):
    """A third dialect, which counts what it encodes, and shows no `status_update`."""

    subprotocol: str | None = "other.v1"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode_events(self, events: Sequence[Event]) -> list[Encoded]:
        self.encoded += [event.message_id for event in events]
        return [Encoded(event.seq, True, (event.message_id.encode(),)) for event in events]

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        self.encoded.append(frame.type)
        return () if frame.type == "status_update" else (f"{message_id} {now_ms}".encode(),)


# ---------------------------------------------------------------- the two that are built in


@BOTH
def test_a_durable_frame_is_the_event_as_it_is_stored(dialect: Dialect) -> None:
    said = line(3, "grüß dich", created_at_ms=1_750_000_000_003)
    (frame,) = dialect.encode_events([said])
    assert (frame.seq, frame.visible) == (3, True)
    assert [json.loads(text) for text in frame.texts] == [
        {
            "type": "chat_message",
            "message_id": "m3",
            "session_id": SESSION,
            "timestamp": "2025-06-15T15:06:40.003Z",
            "role": "user",
            "payload": said.payload,
            "seq": 3,
        }
    ]


def test_a_durable_frame_is_the_same_text_at_every_replay_and_in_both_dialects() -> None:
    events = [line(3), event(4, "action_request"), ended(5, 3)]
    first = NATIVE.encode_events(events)
    assert first == NATIVE.encode_events(events) == BUILDER.encode_events(events)


@BOTH
def test_a_person_sees_what_is_said_and_not_how_the_turn_ended(dialect: Dialect) -> None:
    events = [line(3), event(4, "action_request"), ended(5, 3)]
    assert [frame.visible for frame in dialect.encode_events(events)] == [True, True, False]


@BOTH
def test_a_transient_frame_has_no_seq_and_a_fresh_id_unless_it_announces_one(dialect: Dialect) -> None:
    (text,) = dialect.encode_transient(Transient("pong", {"n": 2}), SESSION, "fresh", 5)
    assert json.loads(text) == {
        "type": "pong",
        "message_id": "fresh",
        "session_id": SESSION,
        "timestamp": "1970-01-01T00:00:00.005Z",
        "role": "system",
        "payload": {"n": 2},
    }
    announced = Transient("stream_delta", {}, role="assistant", message_id="m9")
    (text,) = dialect.encode_transient(announced, SESSION, "fresh", 5)
    assert json.loads(text)["message_id"] == "m9"


@pytest.mark.parametrize("kind", ["live", "drain"])
def test_the_existing_builder_is_not_sent_what_it_does_not_know(kind: str) -> None:
    frame = Transient(kind, {})
    assert len(NATIVE.encode_transient(frame, SESSION, "fresh", 5)) == 1
    assert BUILDER.encode_transient(frame, SESSION, "fresh", 5) == ()


@BOTH
def test_an_ack_names_the_line_its_place_and_whether_it_was_there_before(dialect: Dialect) -> None:
    texts = dialect.encode_ack("a", 7, duplicate=True, session_id=SESSION, message_id="m9", now_ms=5)
    acked = Transient("ack", {"id": "a", "seq": 7, "duplicate": True})
    assert texts == dialect.encode_transient(acked, SESSION, "m9", 5)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refusal_is_an_error_and_to_the_existing_builder_a_line_as_well(code: ErrorCode) -> None:
    error = protocol.error(code, "a", 250)
    assert NATIVE.refusals(code, "a", 250) == (error,)
    first, spoken = BUILDER.refusals(code, "a", 250)
    assert first == error
    assert (spoken.type, spoken.role) == ("chat_message", "assistant")
    assert spoken.payload["text"] == ERROR_CODES[code].message
    assert spoken.payload["ephemeral"] is True


def test_only_the_existing_builder_is_paced_and_only_it_pings() -> None:
    assert (NATIVE.gap_ms, NATIVE.replay_gap_ms, NATIVE.pings) == (0, 0, True)
    assert (BUILDER.gap_ms, BUILDER.replay_gap_ms, BUILDER.pings) == (100, 10, False)


def test_only_the_existing_builder_knows_states_by_older_names() -> None:
    assert (NATIVE.legacy_states, BUILDER.legacy_states) == (False, True)


@BOTH
def test_one_object_serves_all_connections(dialect: Dialect) -> None:
    assert dialect.connect() is dialect
    assert dialect.parse("ping", frame_max_bytes=10, text_max_chars=10) == Ping(bare=True)


# ---------------------------------------------------------------- who is spoken to in which


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], BUILDER),
        (["graphql-ws"], BUILDER),
        ([SUBPROTOCOL], NATIVE),
        (["graphql-ws", SUBPROTOCOL], NATIVE),
        (["rejoinder.v2", SUBPROTOCOL], NATIVE),
        (["rejoinder.v2"], None),
        (["graphql-ws", "rejoinder."], None),
    ],
)
def test_a_client_chooses_by_its_subprotocol(offered: list[str], chosen: Dialect | None) -> None:
    for dialects in ((NATIVE, BUILDER), (BUILDER, NATIVE)):
        assert choose(dialects, offered) is chosen


def test_a_further_dialect_is_chosen_like_the_others_and_the_first_wins() -> None:
    other = Other()
    assert choose((other, NATIVE, BUILDER), ["other.v1"]) is other
    assert choose((other, NATIVE, BUILDER), [SUBPROTOCOL, "other.v1"]) is other
    assert choose((other, NATIVE, BUILDER), []) is BUILDER
    assert choose((NATIVE,), []) is None


# ---------------------------------------------------------------- once for all


def test_published_events_are_encoded_once_for_all_that_are_spoken_to_alike() -> None:
    others = Other(), Other()
    published = PublishedEvents([line(3), ended(4, 3)])
    assert others[0].encoded == []
    for _ in range(3):
        frames = [published.encoded(dialect.encode_events) for dialect in (NATIVE, BUILDER, *others)]
        assert frames[0] is frames[1]
        assert [frame.texts for frame in frames[2].frames] == [(b"m3",), (b"m4",)]
        assert (frames[2].texts, frames[2].size) == ([b"m3", b"m4"], 4)
    assert [other.encoded for other in others] == [["m3", "m4"]] * 2


def test_a_published_frame_is_encoded_once_in_each_dialect_with_one_id_and_time() -> None:
    other = Other()
    shown = PublishedFrame(Transient("stream_delta", {"text": "hel"}), SESSION, "fresh", 5)
    assert shown.frame.payload == {"text": "hel"}
    assert shown.texts(NATIVE) is shown.texts(NATIVE)
    assert shown.texts(other) == shown.texts(other) == (b"fresh 5",)
    hidden = PublishedFrame(Transient("status_update", {}), SESSION, "fresh", 5)
    assert hidden.texts(other) == hidden.texts(other) == ()
    assert other.encoded == ["stream_delta", "status_update"]
