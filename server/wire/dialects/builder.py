"""The existing builder's dialect: native frames, for a frontend without a subprotocol that knows fewer types."""

from collections.abc import Sequence
from typing import Final

from server.errors import ERROR_CODES, ErrorCode
from server.records import EventType
from server.wire.dialects.native import Native
from server.wire.protocol import Transient

#: Frame types that this frontend does not know.
_NOT_SHOWN: Final = frozenset({"live", "drain"})


class Builder(Native):
    """The builder's dialect, with gaps between frames: this frontend loses frames that arrive together."""

    name = "builder"
    subprotocol: str | None = None
    pings = False
    legacy_states = True

    def __init__(self, *, gap_ms: int, replay_gap_ms: int) -> None:
        self.gap_ms = gap_ms
        self.replay_gap_ms = replay_gap_ms

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        """One text; none for a type that this frontend does not know."""
        if frame.type in _NOT_SHOWN:
            return ()
        return super().encode_transient(frame, session_id, message_id, now_ms)

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        """The error frame, and the same text as a chat message: this frontend shows only chat messages."""
        payload = {
            "text": ERROR_CODES[code].message,
            "sub_title": None,
            "list_items": None,
            "format": "plain",
            "ephemeral": True,
        }
        return (
            *super().refusals(code, client_id, retry_ms),
            Transient(EventType.CHAT_MESSAGE, payload, role="assistant"),
        )
