"""Fan-out: brings committed events and transient frames to the subscribers of a session.

Fan-out is a hint (L5). A subscriber that misses a publication reads the store when it sees the gap, so a broker may
lose, repeat or delay publications; it never writes or reads events in the store. Methods named *publish* reach the
subscribers of all processes, those named *tell* the subscribers of this process.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import structlog

from server.clock import new_id, now_ms
from server.errors import CloseCode
from server.records import Event, SessionKey
from server.wire.protocol import Transient
from server.wire.published import PublishedEvents, PublishedFrame

log = structlog.get_logger()


class Subscriber(Protocol):
    """A subscriber of a session in this process. The broker logs an exception of it, and goes on with the others."""

    def hear(self, events: PublishedEvents) -> None:
        """Take events that were just committed, in order."""
        ...

    def hint(self, head: int) -> None:
        """Take the `seq` of the log's last event; a subscriber that has fewer events reads the store."""
        ...

    def hear_transient(self, published: PublishedFrame) -> None:
        """Take a transient frame, which is not in the log."""
        ...

    def close(self, code: CloseCode) -> None:
        """Close the connection with `code`: the session does not exist for it."""
        ...


class Listener(Protocol):
    """The receiver of what other processes publish: the engine."""

    def hear(self, key: SessionKey, head: int, events: Sequence[Event]) -> None:
        """Take news of committed events: `head` is the last seq; `events` may be empty."""
        ...

    def show(self, key: SessionKey, frame: Transient) -> None:
        """Take a transient frame. The engine passes it on to the subscribers here; the broker has not."""
        ...

    def wish(self, key: SessionKey) -> None:
        """Show again the frames of the session's running turn: a client of another process missed some."""
        ...


class Broker(Protocol):
    """The broker of one process, as the engine and its subscribers use it."""

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Pass all that is published for `key` from now on to `subscriber`; subscribing twice changes nothing."""
        ...

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Remove a subscriber; an unknown one is ignored."""
        ...

    def subscribers(self, key: SessionKey) -> Sequence[Subscriber]:
        """The session's subscribers in this process."""
        ...

    def follow(self, key: SessionKey) -> None:
        """Pass news of the session from other processes to the listener, even without a subscriber here.

        It begins soon after this call; `joined` waits for it.
        """
        ...

    def unfollow(self, key: SessionKey) -> None:
        """End `follow`: pass news to the listener only while the session has a subscriber here."""
        ...

    @property
    def connected(self) -> bool:
        """Whether news of other processes reach this process now."""
        ...

    def sessions(self) -> Sequence[SessionKey]:
        """The sessions that have a subscriber in this process or are followed."""
        ...

    async def joined(self, key: SessionKey) -> None:
        """Return when news of the session reach this process; at once without a connection, or after a timeout."""
        ...

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        """Pass committed events, in order, to the subscribers of all processes; if one raises, the others get them."""
        ...

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        """Pass a transient frame to the subscribers of all processes."""
        ...

    def ask(self, key: SessionKey) -> None:
        """Ask the process that runs the session's turn, if one does, to show its frames so far again."""
        ...

    def tell_head(self, key: SessionKey, head: int) -> None:
        """Pass the `seq` of the log's last event to the subscribers in this process."""
        ...

    def tell_transient(self, key: SessionKey, frame: Transient) -> None:
        """Pass a transient frame to the subscribers in this process."""
        ...


class LocalBroker:
    """Fan-out inside one process. Without Redis it is the broker; processes then find news of others in the store."""

    def __init__(self) -> None:
        self._subscribers: dict[SessionKey, list[Subscriber]] = {}
        self._followed: set[SessionKey] = set()

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Add a subscriber; adding it twice changes nothing."""
        known = self._subscribers.setdefault(key, [])
        if not any(other is subscriber for other in known):
            known.append(subscriber)

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Remove a subscriber; an unknown one is ignored."""
        left = [other for other in self._subscribers.get(key, ()) if other is not subscriber]
        if left:
            self._subscribers[key] = left
        else:
            self._subscribers.pop(key, None)

    def subscribers(self, key: SessionKey) -> Sequence[Subscriber]:
        """The session's subscribers; a copy, because a subscriber may unsubscribe while it is called."""
        return tuple(self._subscribers.get(key, ()))

    def follow(self, key: SessionKey) -> None:
        """Add the session to `sessions`. No other process publishes here; the caller can read the store."""
        self._followed.add(key)

    def unfollow(self, key: SessionKey) -> None:
        """End `follow`; an unknown session is ignored."""
        self._followed.discard(key)

    @property
    def connected(self) -> bool:
        """False: no other process publishes here."""
        return False

    def sessions(self) -> Sequence[SessionKey]:
        """The sessions that have a subscriber or are followed; a copy."""
        return tuple(self._followed.union(self._subscribers))

    async def joined(self, key: SessionKey) -> None:
        """Return at once: no other process publishes here."""

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        """Pass committed events, in order, to all subscribers. An exception of a subscriber is logged."""
        published = PublishedEvents(events)
        for subscriber in self.subscribers(key):
            try:
                subscriber.hear(published)
            except Exception:  # as in `_alone`, without its context manager: this runs for each tab and turn
                log.exception("subscriber_failed", session_id=key.session_id)

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        """Pass a transient frame to all subscribers."""
        self.tell_transient(key, frame)

    def ask(self, key: SessionKey) -> None:
        """Do nothing: no other process can be asked here."""

    def tell_head(self, key: SessionKey, head: int) -> None:
        """Pass the `seq` of the log's last event to all subscribers."""
        for subscriber in self.subscribers(key):
            with _alone(key):
                subscriber.hint(head)

    def tell_transient(self, key: SessionKey, frame: Transient) -> None:
        """Pass a transient frame to all subscribers."""
        if subscribers := self.subscribers(key):
            published = PublishedFrame(frame, key.session_id, new_id(), now_ms())
            for subscriber in subscribers:
                with _alone(key):
                    subscriber.hear_transient(published)


@contextlib.contextmanager
def _alone(key: SessionKey) -> Iterator[None]:
    """Log an exception of one subscriber, so that the others are still called. The store has what it missed."""
    try:
        yield
    except Exception:  # a subscriber may raise anything; the others must still get what is durable (L5)
        log.exception("subscriber_failed", session_id=key.session_id)
