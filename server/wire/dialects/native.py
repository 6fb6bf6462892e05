"""The native dialect: the frames of `wire.protocol`, for clients that offer the subprotocol."""

from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from server.errors import ErrorCode
from server.records import SYSTEM, Event
from server.wire import protocol
from server.wire.dialects import Encoded
from server.wire.protocol import Transient, timestamp

SUBPROTOCOL: Final = "rejoinder.v1"

_encode = msgspec.json.Encoder().encode


class _Envelope(Struct, omit_defaults=True):
    """The envelope of every frame; only a durable frame has a `seq`."""

    type: str
    message_id: str
    session_id: str
    timestamp: str
    role: str
    payload: dict[str, Any]
    seq: int = 0


def encode_events(events: Sequence[Event]) -> list[Encoded]:
    """Encode events as durable frames: one Encoded with one text for each event."""
    return [
        Encoded(
            event.seq,
            event.role != SYSTEM,
            (
                _encode(
                    _Envelope(
                        event.type,
                        event.message_id,
                        event.session_id,
                        timestamp(event.created_at),
                        event.role,
                        event.payload,
                        event.seq,
                    )
                ),
            ),
        )
        for event in events
    ]


class Native:
    """The native dialect. The builder's dialect is a subclass with a few changes."""

    name: str = "native"
    subprotocol: str | None = SUBPROTOCOL
    pings: bool = True
    gap_ms: int = 0
    replay_gap_ms: int = 0
    legacy_states: bool = False

    #: Functions, not methods: both dialects share them, so a durable frame is encoded once for both.
    encode_events = staticmethod(encode_events)
    parse = staticmethod(protocol.parse)

    def connect(self) -> Self:
        """Returns itself: no frame depends on earlier ones."""
        return self

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        """One text, with the frame's own `message_id` if it has one, else the fresh one."""
        at = timestamp(now_ms)
        named = frame.message_id or message_id
        return (_encode(_Envelope(frame.type, named, session_id, at, frame.role, frame.payload)),)

    def encode_ack(
        self, client_id: str | None, seq: int, *, duplicate: bool, session_id: str, message_id: str, now_ms: int
    ) -> Sequence[bytes]:
        """The frame `ack`, encoded without a Transient: every line gets one, so this is faster."""
        payload = {"id": client_id, "seq": seq, "duplicate": duplicate}
        return (_encode(_Envelope("ack", message_id, session_id, timestamp(now_ms), "system", payload)),)

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        """The frame `error`."""
        return (protocol.error(code, client_id, retry_ms),)
