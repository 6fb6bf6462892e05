"""Fan-out between processes over Redis: each session is a channel, and each process hears the ones it serves.

Three kinds of message, as JSON: what was committed (without its events when they would make it longer than
HINT_MAX_BYTES: the head alone makes the others read the store), what is not in the log, and the wish to be shown what
the running turn has shown so far. One process publishes all that a turn shows, so who missed the beginning and asks
finds the answer in its place among the rest.
"""

import uuid
from collections.abc import Callable, Sequence

import msgspec
import structlog
from redis.asyncio import ConnectionPool, Redis

from server.broker import Listener, LocalBroker, Subscriber
from server.broker.redis.channels import Channels
from server.broker.redis.outbox import Outbox
from server.records import Event, SessionKey
from server.wire.protocol import Transient

log = structlog.get_logger()


class News(msgspec.Struct, frozen=True, tag="news", array_like=True):
    """What `node` committed: how far the log goes, and the events."""

    node: str
    head: int
    events: tuple[Event, ...]


class Shown(msgspec.Struct, frozen=True, tag="shown", array_like=True):
    """What `node` shows, and is not in the log."""

    node: str
    frame: Transient


class Wish(msgspec.Struct, frozen=True, tag="wish", array_like=True):
    """`node` lacks what the running turn has shown so far."""

    node: str


_decoder = msgspec.json.Decoder(News | Shown | Wish)


class RedisBroker(LocalBroker):
    """Tells the subscribers of this process at once, and those of others through Redis.

    `pool` gives the connections; it is the caller's to close.
    """

    def __init__(
        self, pool: ConnectionPool, *, prefix: str, timeout_ms: int, queue_limit: int, hint_max_bytes: int
    ) -> None:
        super().__init__()
        self.node = uuid.uuid4().hex
        self._own = f'"{self.node}"'.encode()
        self._listener: Listener | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._prefix = f"{prefix}news:"
        self._hint_max_bytes = hint_max_bytes
        self._outbox = Outbox(Redis(connection_pool=pool), queue_limit)
        self._channels = Channels(pool, timeout_ms, self._take, self._changed)

    def start(self, listener: Listener, changed: Callable[[], None]) -> None:
        """Begin to listen and to send. `changed` is called when news may have been lost."""
        self._listener, self._on_change = listener, changed
        self._outbox.start()
        self._channels.start()

    async def close(self) -> None:
        """Stop both; nothing waits for what was not sent."""
        await self._channels.close()
        await self._outbox.close()

    @property
    def connected(self) -> bool:
        """Whether the other processes can be heard just now."""
        return self._channels.connected

    @property
    def lost(self) -> int:
        """How many messages were not sent, for want of room or of a Redis."""
        return self._outbox.lost

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """As in one process, and hear of the session from others."""
        self._join(key)
        super().subscribe(key, subscriber)

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        """Unsubscribe. After the last subscriber, leave the Redis channel too."""
        super().unsubscribe(key, subscriber)
        self._leave(key)

    def follow(self, key: SessionKey) -> None:
        """Hear of the session from others."""
        self._join(key)
        super().follow(key)

    def unfollow(self, key: SessionKey) -> None:
        """Stop following. After the last follower, leave the Redis channel too."""
        super().unfollow(key)
        self._leave(key)

    async def joined(self, key: SessionKey) -> None:
        """Return when news of the session reach this process, or when waiting for that is of no use."""
        await self._channels.joined(self._channel(key))

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        """Tell the subscribers here, then the other processes."""
        super().publish(key, events)
        head = events[-1].seq
        message = msgspec.json.encode(News(self.node, head, tuple(events)))
        if len(message) > self._hint_max_bytes:
            message = msgspec.json.encode(News(self.node, head, ()))
        self._outbox.put(self._channel(key), message)

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        """Tell the subscribers here, then the other processes."""
        super().publish_transient(key, frame)
        self._outbox.put(self._channel(key), msgspec.json.encode(Shown(self.node, frame)))

    def ask(self, key: SessionKey) -> None:
        """Ask the process that runs the session's turn to show again what it has shown so far."""
        self._outbox.put(self._channel(key), msgspec.json.encode(Wish(self.node)))

    def _join(self, key: SessionKey) -> None:
        if not self._is_wanted(key):
            self._channels.join(self._channel(key))

    def _leave(self, key: SessionKey) -> None:
        if not self._is_wanted(key):
            self._channels.leave(self._channel(key))

    def _is_wanted(self, key: SessionKey) -> bool:
        return key in self._subscribers or key in self._followed

    def _channel(self, key: SessionKey) -> str:
        """The owner, in which `%` and `:` are escaped, and the id: the first `:` parts them, whatever they are."""
        return f"{self._prefix}{key.user_id.replace('%', '%25').replace(':', '%3A')}:{key.session_id}"

    def _key(self, channel: str) -> SessionKey:
        """The session of a channel's name."""
        owner, _, session_id = channel.removeprefix(self._prefix).partition(":")
        return SessionKey(user_id=owner.replace("%3A", ":").replace("%25", "%"), session_id=session_id)

    def _changed(self) -> None:
        self._on_change()

    def _take(self, channel: str, text: bytes) -> None:
        """A message from Redis; our own come back, too, and are known by their second field before they are read."""
        if text.startswith(self._own, text.find(b",") + 1):
            return
        key = self._key(channel)
        try:
            message = _decoder.decode(text)
        except msgspec.MsgspecError as error:  # of a version that says it otherwise: the store says the same
            log.warning("news_unreadable", session_id=key.session_id, error=str(error))
            self._changed()
            return
        if self._listener is None:
            return
        match message:
            case News(_, head, events):
                if events:
                    super().publish(key, events)
                else:
                    self.tell_head(key, head)
                self._listener.hear(key, head, events)
            case Shown(_, frame):
                self._listener.show(key, frame)
            case Wish():
                self._listener.wish(key)
