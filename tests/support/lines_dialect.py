"""A third dialect, as a test of the seam: lines of plain text, for somebody who has a terminal and no JSON.

    client → server                       server → client
    say ID TEXT                           = ACTION HEAD            where the session stands
    press ID ACTION CARD                  # SEQ                    ends what belongs to an event that is shown
    cancel ID TURN                        ROLE: TEXT               a line, and `- ITEM` for each of its items
    resume AFTER                          ~ TEXT                   a piece of an answer; `~~` where it begins anew
                                          ? TEXT [VALUE …] CARD    a question with buttons
                                          x TURN                   a turn that was cancelled or broke
                                          ok ID SEQ                a line is durable
                                          ! CODE ID                a refusal

An answer that was streamed to a connection is not said there again, so each connection has an object of its own.
"""

from collections.abc import Sequence
from typing import Any

from server.errors import ErrorCode, ProtocolError
from server.records import SYSTEM, Event
from server.wire import protocol
from server.wire.dialects import Encoded
from server.wire.protocol import Cancel, Inbound, Resume, Say, Transient


class Lines:
    """`gap_ms` and `replay_gap_ms` as of a dialect."""

    name: str = "lines"
    subprotocol: str | None = "rejoinder.lines"
    pings: bool = False
    legacy_states: bool = False

    def __init__(self, *, gap_ms: int = 0, replay_gap_ms: int = 0) -> None:
        self.gap_ms = gap_ms
        self.replay_gap_ms = replay_gap_ms
        self.connections: list[Lines] = []
        self._streamed: set[str] = set()

    def connect(self) -> "Lines":
        self.connections.append(Lines(gap_ms=self.gap_ms, replay_gap_ms=self.replay_gap_ms))
        return self.connections[-1]

    def parse(self, text: str, *, frame_max_bytes: int, text_max_chars: int) -> Inbound:
        if len(text.encode()) > frame_max_bytes or len(text) > text_max_chars:
            raise ProtocolError(ErrorCode.TOO_LARGE)
        match text.split(" ", 3):
            case ["say", client_id, *words] if words:
                return Say(client_id, " ".join(words))
            case ["press", client_id, action, card]:
                return Say(client_id, action, action, card)
            case ["cancel", client_id, turn] if turn.isdecimal():
                return Cancel(client_id, int(turn))
            case ["resume", after] if after.isdecimal():
                return Resume(int(after))
        raise ProtocolError(ErrorCode.UNKNOWN_TYPE)

    def encode_events(self, events: Sequence[Event]) -> list[Encoded]:
        return [
            Encoded(event.seq, event.role != SYSTEM, tuple(map(str.encode, self._lines(event)))) for event in events
        ]

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        payload = frame.payload
        match frame.type:
            case "sync_response":
                return (f"= {payload['action']} {payload['head']}".encode(),)
            case "stream_delta":
                self._streamed.add(frame.message_id or message_id)
                piece = f"~ {payload['text']}".encode()
                return (b"~~", piece) if payload["reset"] else (piece,)
            case "action_request":
                return (_question(payload, message_id).encode(),)
            case "error":
                return (f"! {payload['code']} {payload['id'] or '-'}".encode(),)
        return ()

    def encode_ack(
        self, client_id: str | None, seq: int, *, duplicate: bool, session_id: str, message_id: str, now_ms: int
    ) -> Sequence[bytes]:
        return (f"ok {client_id} {seq}".encode(),)

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        return (protocol.error(code, client_id, retry_ms),)

    def _lines(self, event: Event) -> list[str]:
        payload = event.payload
        match event.type:
            case "chat_message" if event.message_id in self._streamed:
                self._streamed.discard(event.message_id)
                shown = []
            case "chat_message":
                shown = [f"{event.role}: {payload['text']}", *(f"- {item}" for item in payload["list_items"] or ())]
            case "action_request":
                shown = [_question(payload, event.message_id)]
            case "turn_cancelled" | "turn_failed":
                shown = [f"x {payload['turn']}"]
            case _:
                return []
        return [*shown, f"# {event.seq}"]


def _question(payload: dict[str, Any], message_id: str) -> str:
    values = " ".join(action["value"] for action in payload["actions"])
    return f"? {payload['prompt_text']} [{values}] {message_id}"
