"""Fan-out: who is told of what was committed.

Fan-out is a hint (L5). A subscriber that misses a publication reads the store when it sees the gap, so a broker may
lose, repeat or delay anything; it never writes and never reads the store. *publish* reaches the subscribers of every
process, *tell* those of this one.
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
    """A subscriber of a session."""

    def hear(self, events: PublishedEvents) -> None:
        """Events that were just committed."""
        ...

    def hint(self, head: int) -> None:
        """How far the log goes: who has less reads the store."""
        ...

    def hear_transient(self, published: PublishedFrame) -> None:
        """Something that is not in the log."""
        ...

    def close(self, code: CloseCode) -> None:
        """The session is not there for it."""
        ...


class Listener(Protocol):
    """The engine's view of events that other processes publish."""

    def hear(self, key: SessionKey, head: int, events: Sequence[Event]) -> None:
        """What was committed: how far the log goes, and the events where they came along."""
        ...

    def show(self, key: SessionKey, frame: Transient) -> None:
        """Something that is not in the log, which the subscribers have not been told yet."""
        ...

    def wish(self, key: SessionKey) -> None:
        """A client missed what the session's running turn has shown."""
        ...


class Broker(Protocol):
    """What the engine needs of a broker."""

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Tell `subscriber` of everything published for `key` from now on; once, however often it subscribes."""
        ...

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Stop telling it; unknown ones are ignored."""
        ...

    def subscribers(self, key: SessionKey) -> Sequence[Subscriber]:
        """Who hears of the session in this process."""
        ...

    def follow(self, key: SessionKey) -> None:
        """Hear of the session from other processes from soon on, whether or not anybody here subscribed."""
        ...

    def unfollow(self, key: SessionKey) -> None:
        """Hear of it for the subscribers alone."""
        ...

    @property
    def connected(self) -> bool:
        """Whether other processes can be heard of just now."""
        ...

    def sessions(self) -> Sequence[SessionKey]:
        """The sessions that have a subscriber in this process, or are followed."""
        ...

    async def joined(self, key: SessionKey) -> None:
        """Return when news of the session reach this process, or when waiting for that is of no use."""
        ...

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        """Tell every subscriber of committed events, in their order. One that raises is no matter of the others."""
        ...

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        """Tell every subscriber something that is not in the log."""
        ...

    def ask(self, key: SessionKey) -> None:
        """Ask the process that runs the session's turn, if there is one, to show again what it has shown so far."""
        ...

    def tell_head(self, key: SessionKey, head: int) -> None:
        """Tell the subscribers in this process how far the log goes."""
        ...

    def tell_transient(self, key: SessionKey, frame: Transient) -> None:
        """Tell the subscribers in this process something that is not in the log."""
        ...


class LocalBroker:
    """Fan-out inside one process."""

    def __init__(self) -> None:
        self._subscribers: dict[SessionKey, list[Subscriber]] = {}
        self._followed: set[SessionKey] = set()

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Tell `subscriber` of everything published for `key` from now on, once, however often it subscribes."""
        known = self._subscribers.setdefault(key, [])
        if not any(other is subscriber for other in known):
            known.append(subscriber)

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Stop telling it; unknown ones are ignored."""
        left = [other for other in self._subscribers.get(key, ()) if other is not subscriber]
        if left:
            self._subscribers[key] = left
        else:
            self._subscribers.pop(key, None)

    def subscribers(self, key: SessionKey) -> Sequence[Subscriber]:
        """Who hears of the session; a copy, because hearing may end a subscription."""
        return tuple(self._subscribers.get(key, ()))

    def follow(self, key: SessionKey) -> None:
        """No other process publishes here; the caller can read the store."""
        self._followed.add(key)

    def unfollow(self, key: SessionKey) -> None:
        """Unknown ones are ignored."""
        self._followed.discard(key)

    @property
    def connected(self) -> bool:
        """No other process publishes here, so there is nothing to pass on."""
        return False

    def sessions(self) -> Sequence[SessionKey]:
        """The sessions that have a subscriber, or are followed; a copy."""
        return tuple(self._followed.union(self._subscribers))

    async def joined(self, key: SessionKey) -> None:
        """At once: there is no other process to hear of."""

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        """Tell every subscriber of committed events, in their order."""
        published = PublishedEvents(events)
        for subscriber in self.subscribers(key):
            try:
                subscriber.hear(published)
            except Exception:  # as in `_alone`, which would cost more than all the rest
                log.exception("subscriber_failed", session_id=key.session_id)

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        """Tell every subscriber something that is not in the log."""
        self.tell_transient(key, frame)

    def ask(self, key: SessionKey) -> None:
        """There is no other process to ask."""

    def tell_head(self, key: SessionKey, head: int) -> None:
        """Tell every subscriber how far the log goes."""
        for subscriber in self.subscribers(key):
            with _alone(key):
                subscriber.hint(head)

    def tell_transient(self, key: SessionKey, frame: Transient) -> None:
        """Tell every subscriber something that is not in the log."""
        if subscribers := self.subscribers(key):
            published = PublishedFrame(frame, key.session_id, new_id(), now_ms())
            for subscriber in subscribers:
                with _alone(key):
                    subscriber.hear_transient(published)


@contextlib.contextmanager
def _alone(key: SessionKey) -> Iterator[None]:
    """One that cannot hear is logged and costs the others nothing; what it missed is in the store."""
    try:
        yield
    except Exception:  # whatever one subscriber raises: the line is durable, and the others must hear of it (L5)
        log.exception("subscriber_failed", session_id=key.session_id)
