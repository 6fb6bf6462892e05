"""Fan-out: who is told of what was committed.

Fan-out is a hint. A subscriber that misses a publication reads the store when it sees the gap, so a broker may lose,
repeat or delay anything; it never writes and never reads the store.
"""

from collections.abc import Sequence
from typing import Protocol

from server.errors import CloseCode
from server.protocol import Encoded, Transient
from server.store.records import Event

#: A session as the broker knows it: (user_id, session_id). The owner is part of the name.
Key = tuple[str, str]


class Subscriber(Protocol):
    """Whoever hears of a session."""

    def hear(self, frames: Sequence[Encoded]) -> None:
        """Events that were just committed, as frames."""
        ...

    def hear_transient(self, frame: Transient) -> None:
        """Something that is not in the log."""
        ...

    def close(self, code: CloseCode) -> None:
        """The session is not there for it."""
        ...


class Broker(Protocol):
    """What the engine needs of a broker."""

    def subscribe(self, key: Key, subscriber: Subscriber) -> None:
        """Tell `subscriber` of everything published for `key` from now on."""
        ...

    def unsubscribe(self, key: Key, subscriber: Subscriber) -> None:
        """Stop telling it; unknown ones are ignored."""
        ...

    def subscribers(self, key: Key) -> Sequence[Subscriber]:
        """Who hears of the session in this process."""
        ...

    def publish(self, key: Key, events: Sequence[Event], frames: Sequence[Encoded]) -> None:
        """Tell every subscriber of committed events, in their order."""
        ...

    def publish_transient(self, key: Key, frame: Transient) -> None:
        """Tell every subscriber something that is not in the log."""
        ...


class LocalBroker:
    """Fan-out inside one process."""

    def __init__(self) -> None:
        self._subscribers: dict[Key, list[Subscriber]] = {}

    def subscribe(self, key: Key, subscriber: Subscriber) -> None:
        """Tell `subscriber` of everything published for `key` from now on."""
        self._subscribers.setdefault(key, []).append(subscriber)

    def unsubscribe(self, key: Key, subscriber: Subscriber) -> None:
        """Stop telling it; unknown ones are ignored."""
        left = [other for other in self._subscribers.get(key, ()) if other is not subscriber]
        if left:
            self._subscribers[key] = left
        else:
            self._subscribers.pop(key, None)

    def subscribers(self, key: Key) -> Sequence[Subscriber]:
        """Who hears of the session; a copy, because hearing may end a subscription."""
        return tuple(self._subscribers.get(key, ()))

    def publish(self, key: Key, events: Sequence[Event], frames: Sequence[Encoded]) -> None:
        """Tell every subscriber of committed events, in their order."""
        for subscriber in self.subscribers(key):
            subscriber.hear(frames)

    def publish_transient(self, key: Key, frame: Transient) -> None:
        """Tell every subscriber something that is not in the log."""
        for subscriber in self.subscribers(key):
            subscriber.hear_transient(frame)
