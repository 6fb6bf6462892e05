"""Converts records to the arguments of the Redis scripts, and their answers to records. No I/O here.

An event is stored as one JSON array. The script puts `seq`, time and turn first; after them comes the text that this
module made, byte for byte.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from server.errors import InvalidWrite, SessionUnreadable, StoreUnavailable
from server.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    Failed,
    Missing,
    Outcome,
    Snapshot,
    Write,
    count_visible,
    is_line,
    is_own_frame,
    place,
)
from server.store.rows import encode, snapshot_of

NUMBER_MAX: Final = 2**53 - 1  # the scripts count in doubles

#: seq, created_at, turn, type, role, message_id, client_id, payload
_decoder: Final = msgspec.json.Decoder(tuple[int, int, int, str, str, str, str | None, dict[str, Any]])
_NO_VERSION: Final = -1  # no session has this version


def clamp(number: int) -> int:
    """The nearest number from 0 to NUMBER_MAX, for a script: a client may send any integer."""
    return min(max(number, 0), NUMBER_MAX)


def write_row(write: Write) -> list[Any]:
    """A write as the script's argument, with False for None. Raises InvalidWrite for values that cannot be stored."""
    expected, update = write.expected_version, write.update
    return [
        write.session_id,
        write.user_id,
        False if write.client_id is None else write.client_id,
        False if expected is None else expected if 0 <= expected <= NUMBER_MAX else _NO_VERSION,
        count_visible(write.events),
        [_event_row(event) for event in write.events],
        update is not None
        and [
            update.workflow,
            update.state,
            _number(update.cursor),
            False if update.card is None else update.card,
            False if update.memory is None else encode(update.memory),
        ],
    ]


def _event_row(event: Event) -> list[Any]:
    fields = (event.type, event.role, event.message_id, event.client_id, event.payload)
    return [
        _number(event.created_at),
        _number(event.turn),
        is_line(event),
        False if event.client_id is None else event.client_id,
        is_own_frame(event) and event.message_id,
        encode(fields).removeprefix("["),
    ]


def _number(number: int) -> int:
    if abs(number) > NUMBER_MAX:
        raise InvalidWrite("a number is too large")
    return number


def outcome(write: Write, answer: Sequence[Any]) -> Outcome:
    """The outcome of a write, from the answer of the script. Raises StoreUnavailable or SessionUnreadable."""
    match answer:
        case ["committed", version, seq, updated_at]:
            return Committed(place(write.events, seq, updated_at), version)
        case ["duplicate", event]:
            return Duplicate(event_of(write.session_id, event))
        case ["conflict", version]:
            return Conflict(version)
        case ["missing"]:
            return Missing()
        case ["failed", code]:
            return Failed(code)
    raise StoreUnavailable("Redis answered something else than the script does")


def event_of(session_id: str, text: str) -> Event:
    """Decode a stored event. Raises SessionUnreadable when it was damaged."""
    try:
        seq, created_at, turn, kind, role, message_id, client_id, payload = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SessionUnreadable(f"what is stored is damaged: {error}") from error
    return Event(
        session_id=session_id,
        seq=seq,
        type=kind,
        role=role,
        message_id=message_id,
        client_id=client_id,
        turn=turn,
        payload=payload,
        created_at=created_at,
    )


def page_of(session_id: str, texts: Sequence[str], after: int) -> list[Event]:
    """Decode the events after `after`. Raises SessionUnreadable when one is damaged or missing: no silent gap (L7)."""
    events = [event_of(session_id, text) for text in texts]
    if any(event.seq != after + place for place, event in enumerate(events, 1)):
        raise SessionUnreadable("what is stored is damaged: the log has a gap")
    return events


def snapshot_from(session_id: str, user_id: str, columns: Sequence[str | bool]) -> Snapshot:
    """The snapshot from the columns of the script's `load`, which are texts, or False for a missing field.

    Raises SessionUnreadable when the session is damaged.
    """
    workflow, state, memory, version, seq, cursor, lined, visible, last, *times = columns
    numbers = (version, seq, cursor, lined, visible, *times)
    if any(isinstance(column, bool) for column in (workflow, state, memory, *numbers)):
        raise SessionUnreadable("what is stored is damaged: a session lacks a field")
    try:
        whole = [int(number) for number in numbers]
    except ValueError as error:
        raise SessionUnreadable("what is stored is damaged: a session has a number that is none") from error
    card = last if isinstance(last, str) else None
    return snapshot_of((session_id, user_id, workflow, state, memory, *whole[:5], card, *whole[5:]))
