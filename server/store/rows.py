"""Converts records to rows of the tables and back. JSON is stored as text, encoded and decoded by msgspec.

No I/O here. JSON has no NaN and no infinity: they become null, as on the wire.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from server.errors import InvalidWrite, SessionUnreadable
from server.records import Event, Snapshot

EVENT_COLUMNS: Final = "session_id, seq, type, role, message_id, client_id, turn, payload, created_at"
SESSION_COLUMNS: Final = (
    "session_id, user_id, workflow, state, memory, version, seq, cursor, lined, visible, card, created_at, updated_at"
)
HEAD_COLUMNS: Final = SESSION_COLUMNS.replace("memory, ", "")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])
_NO_JSON: Final = (TypeError, ValueError, RecursionError, msgspec.MsgspecError)


def encode(value: Any) -> str:
    """Encode a value as JSON text. Raises InvalidWrite for one that JSON cannot hold: a lone surrogate, a Python
    object, a value that is nested too deep or contains itself.
    """
    try:
        return _encoder.encode(value).decode()
    except _NO_JSON as error:
        raise InvalidWrite(f"not JSON: {error}") from error


def decode(text: str) -> dict[str, Any]:
    """Decode a JSON object from the text that `encode` made. Raises SessionUnreadable when the text was damaged."""
    try:
        return _decoder.decode(text)
    except _NO_JSON as error:
        raise SessionUnreadable(f"what is stored is damaged: {error}") from error


def event_rows(logs: Iterable[tuple[str | int, Sequence[Event]]], nothing: Any = None) -> list[tuple[Any, ...]]:
    """One row of EVENT_COLUMNS for each event. The first column is the session's name or number in `logs`.

    An event without a client id has `nothing` in that column. Raises InvalidWrite as `encode` does.
    """
    try:
        return [
            (
                session,
                event.seq,
                event.type,
                event.role,
                event.message_id,
                nothing if event.client_id is None else event.client_id,
                event.turn,
                _encoder.encode(event.payload).decode(),
                event.created_at,
            )
            for session, events in logs
            for event in events
        ]
    except _NO_JSON as error:
        raise InvalidWrite(f"not JSON: {error}") from error


def event_of(row: Sequence[Any]) -> Event:
    """The event of a row of EVENT_COLUMNS. Raises SessionUnreadable for wrong types or a broken payload."""
    session_id, seq, kind, role, message_id, client_id, turn, payload, created_at = row
    if not (type(seq) is type(turn) is type(created_at) is int and type(kind) is type(role) is type(message_id) is str):
        raise SessionUnreadable(f"what is stored is damaged: an event has a column of a wrong type, {seq!r:.20}")
    return Event(
        session_id=session_id,
        seq=seq,
        type=kind,
        role=role,
        message_id=message_id,
        client_id=client_id,
        turn=turn,
        payload=decode(payload),
        created_at=created_at,
    )


def snapshot_of(row: Sequence[Any]) -> Snapshot:
    """The snapshot of a row of SESSION_COLUMNS. Raises SessionUnreadable for wrong types or broken memory."""
    session_id, user_id, workflow, state, memory, *rest = row
    version, seq, cursor, lined, visible, card, created_at, updated_at = rest
    numbers = (version, seq, cursor, lined, visible, created_at, updated_at)
    if {*map(type, numbers)} != {int} or {type(workflow), type(state)} != {str} or type(card) not in (str, type(None)):
        raise SessionUnreadable("what is stored is damaged: a session has a column of a wrong type")
    return Snapshot(
        session_id=session_id,
        user_id=user_id,
        workflow=workflow,
        state=state,
        memory=decode(memory),
        version=version,
        seq=seq,
        cursor=cursor,
        lined=lined,
        visible=visible,
        card=card,
        created_at=created_at,
        updated_at=updated_at,
    )
