"""The existing builder's dialect: the native one for a client that offers no subprotocol and knows less."""

from collections.abc import Sequence
from typing import Final

from server.errors import ERROR_CODES, ErrorCode
from server.records import EventType
from server.wire.dialects.native import Native
from server.wire.protocol import Transient

#: What that frontend does not know.
_NOT_SHOWN: Final = frozenset({"live", "drain"})


class Builder(Native):
    """Keeps the gaps that it is given: that frontend loses frames that it is to render at once."""

    name = "builder"
    subprotocol: str | None = None
    pings = False
    legacy_states = True

    def __init__(self, *, gap_ms: int, replay_gap_ms: int) -> None:
        self.gap_ms = gap_ms
        self.replay_gap_ms = replay_gap_ms

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        """One text, or none for what that frontend does not know."""
        if frame.type in _NOT_SHOWN:
            return ()
        return super().encode_transient(frame, session_id, message_id, now_ms)

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        """The error, and the same as a line of the assistant: that frontend shows nothing but chat messages."""
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
