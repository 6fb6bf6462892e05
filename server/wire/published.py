"""Events and frames for many subscribers: encoded once for each dialect, not once for each subscriber."""

from collections.abc import Callable, Sequence

from server.records import Event
from server.wire.dialects import Dialect, Encoded, EncodedEvents
from server.wire.protocol import Transient

EncodeEvents = Callable[[Sequence[Event]], Sequence[Encoded]]


class PublishedEvents(tuple[Event, ...]):
    """Committed events that the broker delivers. They are encoded when the first subscriber sends them."""

    _encoded: dict[EncodeEvents, EncodedEvents] | None = None

    def encoded(self, encode: EncodeEvents) -> EncodedEvents:
        """The events encoded by `encode`, which is called only once."""
        if self._encoded is None:
            self._encoded = {}
        encoded = self._encoded.get(encode)
        if encoded is None:
            encoded = self._encoded[encode] = EncodedEvents(encode(self))
        return encoded


class PublishedFrame:
    """A transient frame that the broker delivers to the subscribers of a session, with one id and time for all.

    `message_id` is a fresh id, used when the frame has none of its own; `now_ms` is the frame's time (UTC ms).
    """

    __slots__ = ("_message_id", "_now_ms", "_session_id", "_texts", "frame")

    def __init__(self, frame: Transient, session_id: str, message_id: str, now_ms: int) -> None:
        self.frame = frame
        self._session_id = session_id
        self._message_id = message_id
        self._now_ms = now_ms
        self._texts: dict[Dialect, Sequence[bytes]] = {}

    def texts(self, dialect: Dialect) -> Sequence[bytes]:
        """The frame's texts in `dialect`, which encodes them only once."""
        texts = self._texts.get(dialect)
        if texts is None:
            texts = dialect.encode_transient(self.frame, self._session_id, self._message_id, self._now_ms)
            self._texts[dialect] = texts
        return texts
