"""Redis stores for tests that look behind the contract."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from server.store.redis.store import RedisStore
from tests.services.redis import RedisServer


@contextlib.asynccontextmanager
async def opened(
    server: RedisServer, query: str = "", *, timeout_ms: int = 20_000, connections: int = 8, prefix: str = "rejoinder:"
) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url + query, timeout_ms=timeout_ms, connections=connections, prefix=prefix)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def calls(server: RedisServer, command: str) -> int:
    """How often the server ran a command since it started."""
    row: dict[str, int] = server.command("INFO", "commandstats").get(f"cmdstat_{command}", {})
    return row.get("calls", 0)


async def restarted(server: RedisServer, options: dict[str, str] | None = None) -> None:
    """Kill and start it, off the loop, which meanwhile notices that its connections are gone."""
    await asyncio.to_thread(server.restart, options)
