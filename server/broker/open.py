"""Chooses the broker by REDIS_URL: one over Redis, or one for this process alone."""

from collections.abc import Callable
from typing import Final, Protocol

from server.broker import Broker, Listener, LocalBroker
from server.settings import Settings

#: The prefix of every key and channel of this server.
PREFIX: Final = "rejoinder:"


class Fanout(Protocol):
    """Carries news between processes, in both directions."""

    broker: Broker

    def start(self, listener: Listener, changed: Callable[[], None]) -> None:
        """Pass news of other processes to `listener` from now on; call `changed` when news may have been lost."""
        ...

    async def close(self) -> None:
        """Stop listening, and disconnect."""
        ...


class LocalFanout:
    """No connection between processes: each process finds the events of others in the store."""

    def __init__(self) -> None:
        self.broker: Broker = LocalBroker()

    def start(self, listener: Listener, changed: Callable[[], None]) -> None:
        """Do nothing: no other process sends news."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class RedisFanout:
    """Carries news between processes through Redis."""

    def __init__(self, settings: Settings) -> None:
        # Imported here, because a process without Redis starts sooner and needs less memory without it.
        from server.broker.redis.broker import RedisBroker
        from server.broker.redis.pool import open_pool

        self._pool = open_pool(settings.redis_url, settings.broker_timeout_ms)
        self._broker = RedisBroker(
            self._pool,
            prefix=PREFIX,
            timeout_ms=settings.broker_timeout_ms,
            queue_limit=settings.broker_queue_limit,
            hint_max_bytes=settings.hint_max_bytes,
        )
        self.broker: Broker = self._broker

    def start(self, listener: Listener, changed: Callable[[], None]) -> None:
        """Begin to listen and to send. Redis need not be reachable yet."""
        self._broker.start(listener, changed)

    async def close(self) -> None:
        """Stop listening and sending, and disconnect."""
        await self._broker.close()
        await self._pool.aclose()


def open_fanout(settings: Settings) -> Fanout:
    """The fan-out over REDIS_URL, or the local one if it is not set. It is not connected yet."""
    return RedisFanout(settings) if settings.redis_url else LocalFanout()
