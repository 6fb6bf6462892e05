"""Records as rows of the tables, and back. JSON is text, made and read by msgspec.

No I/O here. JSON has no NaN and no infinity: they are stored as null, which is also what the wire makes of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from server.errors import InvalidWrite, Unreadable
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
    """JSON text. Raises InvalidWrite for what is not JSON: a lone surrogate, an object, a nesting without end."""
    try:
        return _encoder.encode(value).decode()
    except _NO_JSON as error:
        raise InvalidWrite(f"not JSON: {error}") from error


def decode(text: str) -> dict[str, Any]:
    """The object that `encode` made a text of. Raises Unreadable when it is no longer that: it was damaged."""
    try:
        return _decoder.decode(text)
    except _NO_JSON as error:
        raise Unreadable(f"what is stored is damaged: {error}") from error


def event_rows(logs: Iterable[tuple[str | int, Sequence[Event]]], nothing: Any = None) -> list[tuple[Any, ...]]:
    """EVENT_COLUMNS of each event of some sessions; the first one is what the store knows the session by.

    `nothing` is put in the place of a client id that there is not.

    Raises InvalidWrite as `encode` does.
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
    """The event of EVENT_COLUMNS. Raises Unreadable for a row that no store wrote."""
    session_id, seq, kind, role, message_id, client_id, turn, payload, created_at = row
    if not (type(seq) is type(turn) is type(created_at) is int and type(kind) is type(role) is type(message_id) is str):
        raise Unreadable(f"what is stored is damaged: an event has a column of a wrong type, {seq!r:.20}")
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
    """The snapshot of SESSION_COLUMNS. Raises Unreadable for a row that no store wrote."""
    session_id, user_id, workflow, state, memory, *rest = row
    version, seq, cursor, lined, visible, card, created_at, updated_at = rest
    numbers = (version, seq, cursor, lined, visible, created_at, updated_at)
    if {*map(type, numbers)} != {int} or {type(workflow), type(state)} != {str} or type(card) not in (str, type(None)):
        raise Unreadable("what is stored is damaged: a session has a column of a wrong type")
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
