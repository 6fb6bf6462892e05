"""Dialects: how the server parses, encodes and paces the frames of one kind of client.

The log, the machines, the engine and the broker know events and `Transient` frames only. A dialect parses the client's
texts into `Inbound` values, and encodes events and frames as texts. To add a dialect, write it in a file of its own
and pass it to `create_app`. A client chooses a dialect by its subprotocol.

No asyncio, clock or randomness here: the caller passes ids and times.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from server.errors import ErrorCode
from server.records import Event
from server.wire.protocol import Inbound, Transient

#: All subprotocols of this server begin with it; one that no dialect has is of another version.
SUBPROTOCOL_FAMILY: Final = "rejoinder."


class Encoded(Struct, frozen=True):
    """An event in a dialect: its texts (UTF-8), sent together or not at all; none when the dialect hides the event.

    `visible`: the client shows the event, so the dialect's gap is kept before each of its texts.
    """

    seq: int
    visible: bool
    texts: tuple[bytes, ...]


class EncodedEvents:
    """Encoded events for the send queue: `frames` has one entry for each event.

    `texts` are the texts of all frames, and `size` is their length together in bytes.
    """

    __slots__ = ("frames", "size", "texts")

    def __init__(self, frames: Sequence[Encoded]) -> None:
        self.frames = frames
        self.texts = [text for frame in frames for text in frame.texts]
        self.size = sum(map(len, self.texts))


class Dialect(Protocol):
    """How the server parses, encodes and paces frames for one kind of client. One object serves all connections."""

    name: str
    """The name in log records."""
    subprotocol: str | None
    """The subprotocol by which a client chooses this dialect; None: the dialect of clients that offer none of ours."""
    pings: bool
    """Whether the server sends the heartbeat and closes silent connections; otherwise the client sends it."""
    gap_ms: int
    """The shortest time before a live text that the client shows."""
    replay_gap_ms: int
    """The same for replayed texts."""
    legacy_states: bool
    """Whether `sync_response` uses the state's name for older clients (`Workflow.legacy_state`)."""

    def connect(self) -> "Dialect":
        """The dialect for one connection: itself, or a new object when encoding depends on earlier frames."""
        ...

    def parse(self, text: str, *, frame_max_bytes: int, text_max_chars: int) -> Inbound:
        """Parse one text of the client. Raises ProtocolError with an error code."""
        ...

    def encode_events(self, events: Sequence[Event]) -> Sequence[Encoded]:
        """Encode events: returns exactly one Encoded for each, in order.

        The server calls it once for all connections whose dialects have the same function. When a send queue is full,
        the server does not send the result to that connection and calls it again later for the same events.
        """
        ...

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        """The texts of a frame that is not in the log; none when the dialect hides it.

        `message_id` is a fresh id, for a frame that has none; `now_ms` is the frame's time (UTC ms).
        """
        ...

    def encode_ack(
        self, client_id: str | None, seq: int, *, duplicate: bool, session_id: str, message_id: str, now_ms: int
    ) -> Sequence[bytes]:
        """The texts of the ack: the client's line is durable as event `seq`."""
        ...

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        """The frames that report a refusal to the client. `retry_ms`: when to try again, if that is known."""
        ...


def choose(dialects: Iterable[Dialect], offered: Sequence[str]) -> Dialect | None:
    """The first dialect whose subprotocol the client offers, or else the dialect without a subprotocol.

    None when the client offers only versions of ours that no dialect has.
    """
    fallback = None
    for dialect in dialects:
        if dialect.subprotocol is None:
            fallback = dialect
        elif dialect.subprotocol in offered:
            return dialect
    return None if any(name.startswith(SUBPROTOCOL_FAMILY) for name in offered) else fallback
