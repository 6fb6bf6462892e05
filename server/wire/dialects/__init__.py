"""Dialects: how one kind of client is heard, spoken to, and paced.

The log, the machines, the engine and the broker know events and `Transient` frames only. A dialect turns what a client
sends into them, and them into texts; a further view of the log is a further dialect, in a file of its own, given to
`create_app`. A client chooses one by its subprotocol.

No asyncio, clock or randomness here: ids and times arrive from outside.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from server.errors import ErrorCode
from server.records import Event
from server.wire.protocol import Inbound, Transient

#: Subprotocols of ours begin so; one that no dialect has is of another version.
SUBPROTOCOL_FAMILY: Final = "rejoinder."


class Encoded(Struct, frozen=True):
    """An event in a dialect: its texts (UTF-8), which go out together or not at all; none where it is not shown.

    `visible`: a person sees it, so the dialect's gap is kept before each of its texts.
    """

    seq: int
    visible: bool
    texts: tuple[bytes, ...]


class EncodedEvents:
    """Events in a dialect, as every connection queues them: `frames` has one for each event.

    `texts` are those of all of them, and `size` is their sum in bytes.
    """

    __slots__ = ("frames", "size", "texts")

    def __init__(self, frames: Sequence[Encoded]) -> None:
        self.frames = frames
        self.texts = [text for frame in frames for text in frame.texts]
        self.size = sum(map(len, self.texts))


class Dialect(Protocol):
    """How one kind of client is heard, spoken to, and paced. One object serves all its connections."""

    name: str
    """In the logs."""
    subprotocol: str | None
    """What a client offers to be spoken to so; None: the dialect of clients that offer none of ours."""
    pings: bool
    """Whether the server sends the heartbeat, and cuts a silent client; otherwise the client asks."""
    gap_ms: int
    """The least time between two live texts that a person sees."""
    replay_gap_ms: int
    """The same between two replayed ones."""
    legacy_states: bool
    """Whether `sync_response` names the state as a workflow has it for older clients."""

    def connect(self) -> "Dialect":
        """The dialect for one connection: itself, unless it must know what this connection was sent before."""
        ...

    def parse(self, text: str, *, frame_max_bytes: int, text_max_chars: int) -> Inbound:
        """What a text of the client means. Raises ProtocolError with the code of what is wrong."""
        ...

    def encode_events(self, events: Sequence[Event]) -> Sequence[Encoded]:
        """Each event, in order, neither more nor fewer.

        It is called once for all connections of the dialect, or of all dialects that have the same function. What it
        returns may not be sent, when the queue is full: then the event comes again.
        """
        ...

    def encode_transient(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> Sequence[bytes]:
        """The texts of a frame that is not in the log; none where the dialect does not show it.

        `message_id` is a fresh id, for a frame that has none; `now_ms` is UTC.
        """
        ...

    def encode_ack(
        self, client_id: str | None, seq: int, *, duplicate: bool, session_id: str, message_id: str, now_ms: int
    ) -> Sequence[bytes]:
        """The texts of the promise that a line is durable, as the event `seq`."""
        ...

    def refusals(self, code: ErrorCode, client_id: str | None, retry_ms: int | None) -> Sequence[Transient]:
        """The frames that tell the client of a refusal."""
        ...


def choose(dialects: Iterable[Dialect], offered: Sequence[str]) -> Dialect | None:
    """The first dialect whose subprotocol a client offers, else the one without; None: a version that we lack."""
    fallback = None
    for dialect in dialects:
        if dialect.subprotocol is None:
            fallback = dialect
        elif dialect.subprotocol in offered:
            return dialect
    return None if any(name.startswith(SUBPROTOCOL_FAMILY) for name in offered) else fallback
