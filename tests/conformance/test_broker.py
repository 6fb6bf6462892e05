"""What a broker promises: whoever subscribed hears, in order, and nobody else does."""

import asyncio

from server.broker import Broker
from server.errors import CloseCode
from server.records import Event, SessionKey
from server.wire.protocol import Transient
from server.wire.published import PublishedEvents, PublishedFrame
from tests.support.writes import event

KEY: SessionKey = SessionKey("ann", "session")


class Listener:
    """Keeps what it hears; `then` is what it does on hearing."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.heads: list[int] = []
        self.transient: list[Transient] = []

    def hear(self, events: PublishedEvents) -> None:
        self.heard += events

    def hint(self, head: int) -> None:
        self.heads.append(head)

    def hear_transient(self, published: PublishedFrame) -> None:
        self.transient.append(published.frame)

    def close(self, code: CloseCode) -> None:
        raise AssertionError(f"closed with {code}")


class Leaver(Listener):
    """Ends a subscription, its own or another's, as soon as it hears something."""

    def __init__(self, broker: Broker, leaves: Listener | None = None) -> None:
        super().__init__()
        self.broker, self.leaves = broker, leaves or self

    def hear(self, events: PublishedEvents) -> None:
        super().hear(events)
        self.broker.unsubscribe(KEY, self.leaves)


class Breaker(Listener):
    """Cannot hear."""

    def hear(self, events: PublishedEvents) -> None:
        raise ValueError("cannot hear")

    def hint(self, head: int) -> None:
        raise ValueError("cannot hear")

    def hear_transient(self, published: PublishedFrame) -> None:
        raise ValueError("cannot hear")


def published(broker: Broker, count: int, key: SessionKey = KEY) -> list[Event]:
    """Publish `count` events at once."""
    events: list[Event] = [event(key.session_id, seq=number) for number in range(1, count + 1)]
    broker.publish(key, events)
    return events


def test_every_subscriber_hears_in_order(broker: Broker) -> None:
    listeners = [Listener() for _ in range(3)]
    for listener in listeners:
        broker.subscribe(KEY, listener)
    events = published(broker, 3) + published(broker, 2)
    assert [listener.heard for listener in listeners] == [events] * 3


def test_what_was_published_before_is_not_heard(broker: Broker) -> None:
    published(broker, 1)
    listener = Listener()
    broker.subscribe(KEY, listener)
    assert listener.heard == []
    events = published(broker, 1)
    assert listener.heard == events


def test_only_the_session_of_the_user_is_heard(broker: Broker) -> None:
    """A session is named by its owner, too: the same id under another user is another session."""
    listeners = {key: Listener() for key in (KEY, SessionKey("eve", "session"), SessionKey("ann", "other"))}
    for key, listener in listeners.items():
        broker.subscribe(key, listener)
    events = published(broker, 1)
    broker.publish_transient(KEY, Transient("status_update", {}))
    broker.tell_transient(KEY, Transient("status_update", {}))
    broker.tell_head(KEY, 1)
    assert [listener.heard for listener in listeners.values()] == [events, [], []]
    assert [len(listener.transient) for listener in listeners.values()] == [2, 0, 0]
    assert [listener.heads for listener in listeners.values()] == [[1], [], []]


def test_transient_frames_are_heard_by_all(broker: Broker) -> None:
    listeners = [Listener(), Listener()]
    for listener in listeners:
        broker.subscribe(KEY, listener)
    frame = Transient("stream_delta", {"text": "hel"})
    broker.publish_transient(KEY, frame)
    assert [listener.transient for listener in listeners] == [[frame], [frame]]


def test_what_is_told_is_heard_by_all_who_are_here(broker: Broker) -> None:
    listeners = [Listener(), Listener()]
    for listener in listeners:
        broker.subscribe(KEY, listener)
    frame = Transient("status_update", {"status": "idle"})
    broker.tell_transient(KEY, frame)
    broker.tell_head(KEY, 7)
    broker.tell_head(KEY, 5)  # who knows more takes no notice: that is not the broker's to judge
    assert [listener.transient for listener in listeners] == [[frame], [frame]]
    assert [listener.heads for listener in listeners] == [[7, 5], [7, 5]]
    assert [listener.heard for listener in listeners] == [[], []]


def test_the_sessions_are_those_that_somebody_follows(broker: Broker) -> None:
    other: SessionKey = SessionKey("eve", "session")
    listeners = [Listener(), Listener()]
    for listener in listeners:
        broker.subscribe(KEY, listener)
    broker.subscribe(other, listeners[0])
    known = broker.sessions()
    assert sorted(known) == sorted([KEY, other])
    broker.unsubscribe(KEY, listeners[0])
    broker.unsubscribe(other, listeners[0])
    assert list(broker.sessions()) == [KEY]
    assert len(known) == 2  # a copy: who goes through it may end subscriptions
    broker.unsubscribe(KEY, listeners[1])
    assert list(broker.sessions()) == []


def test_a_session_is_followed_with_or_without_subscribers(broker: Broker) -> None:
    listener = Listener()
    broker.follow(KEY)
    assert list(broker.sessions()) == [KEY]
    broker.subscribe(KEY, listener)
    broker.unfollow(KEY)
    assert list(broker.sessions()) == [KEY]
    broker.follow(KEY)
    broker.unsubscribe(KEY, listener)
    assert list(broker.sessions()) == [KEY]
    assert list(broker.subscribers(KEY)) == []
    for _ in range(2):
        broker.unfollow(KEY)
    assert list(broker.sessions()) == []


async def test_nobody_waits_for_news_that_cannot_come(broker: Broker) -> None:
    """No other process can be heard of: this one is alone, or its broker has not begun."""
    assert not broker.connected
    async with asyncio.timeout(5):
        await broker.joined(KEY)
        broker.subscribe(KEY, Listener())
        await broker.joined(KEY)


def test_who_subscribes_twice_hears_once(broker: Broker) -> None:
    listener = Listener()
    broker.subscribe(KEY, listener)
    broker.subscribe(KEY, listener)
    assert len(published(broker, 1)) == len(listener.heard)
    broker.unsubscribe(KEY, listener)
    published(broker, 1)
    assert len(listener.heard) == 1


def test_who_unsubscribed_hears_nothing(broker: Broker) -> None:
    leaving, staying = Listener(), Listener()
    broker.subscribe(KEY, leaving)
    broker.subscribe(KEY, staying)
    broker.unsubscribe(KEY, leaving)
    events = published(broker, 1)
    broker.publish_transient(KEY, Transient("status_update", {}))
    assert (leaving.heard, leaving.transient, staying.heard) == ([], [], events)


def test_unsubscribing_what_is_unknown_does_nothing(broker: Broker) -> None:
    listener = Listener()
    broker.unsubscribe(KEY, listener)
    broker.subscribe(KEY, listener)
    broker.unsubscribe(KEY, Listener())
    broker.unsubscribe(SessionKey("eve", "session"), listener)
    assert list(broker.subscribers(KEY)) == [listener]
    broker.unsubscribe(KEY, listener)
    assert list(broker.subscribers(KEY)) == []


def test_hearing_may_end_a_subscription(broker: Broker) -> None:
    """The others hear all the same; whether the one that was just ended still does is open: fan-out is a hint."""
    last = Listener()
    first, second = Leaver(broker), Leaver(broker, last)
    for listener in (first, second, last):
        broker.subscribe(KEY, listener)
    events = published(broker, 1)
    assert first.heard == second.heard == events
    assert list(broker.subscribers(KEY)) == [second]


def test_one_that_cannot_hear_costs_the_others_nothing(broker: Broker) -> None:
    listener = Listener()
    broker.subscribe(KEY, Breaker())
    broker.subscribe(KEY, listener)
    events = published(broker, 2)
    broker.publish_transient(KEY, Transient("status_update", {}))
    broker.tell_transient(KEY, Transient("status_update", {}))
    broker.tell_head(KEY, 2)
    assert listener.heard == events
    assert len(listener.transient) == 2
    assert listener.heads == [2]
