"""Connections to Redis for the broker."""

from typing import Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: What a broken connection may raise; RuntimeError is uvloop's for writing to one that was closed meanwhile.
FAULTS: Final = (RedisError, OSError, RuntimeError)
#: Enough for one publisher and the takeovers of a busy moment; further callers wait.
_CONNECTIONS = 8


def open_pool(url: str, timeout_ms: int) -> BlockingConnectionPool:
    """A bounded pool; nothing is connected yet. `timeout_ms` bounds each step of a command, which is tried once."""
    timeout_s = timeout_ms / 1000
    return BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        protocol=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
