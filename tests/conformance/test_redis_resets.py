"""A Redis that resets each connection, under the loop that servers run on: there it raises what redis-py lets through.

A task that such an error ended would never be there again: no lease renewed, no news sent or heard.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final

import uvloop

from server.broker.redis.broker import RedisBroker
from server.broker.redis.pool import open_pool
from server.errors import StoreUnavailable
from server.records import SessionKey
from server.store.redis.store import RedisStore

TIMES: Final = 20
WAIT_S: Final = 20
KEY: Final = SessionKey("ann", "00000000-0000-0000-0000-000000000001")
#: So a close is a reset, and what is in the queue is lost.
AT_ONCE: Final = struct.pack("ii", 1, 0)


@contextlib.asynccontextmanager
async def resetting() -> AsyncIterator[tuple[int, list[int]]]:
    """The port of such a server, and one entry for each connection that it reset."""
    resets: list[int] = []

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)  # the first command may still be sent
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        writer.transport.abort()
        resets.append(1)

    serving = await asyncio.start_server(reset, "127.0.0.1", 0)
    try:
        yield serving.sockets[0].getsockname()[1], resets
    finally:
        serving.close()


def test_to_the_store_a_reset_is_an_unknown_outcome() -> None:
    async def play() -> list[BaseException | None]:
        async with resetting() as (port, resets):
            store = RedisStore(f"redis://127.0.0.1:{port}/0", timeout_ms=1_000)
            raised = [(await asyncio.gather(store.open(), return_exceptions=True))[0] for _ in range(TIMES)]
            await store.close()
            assert len(resets) >= TIMES
            return raised

    assert {type(error) for error in uvloop.run(play())} == {StoreUnavailable}


def test_the_broker_tries_again_after_every_reset() -> None:
    async def play() -> set[str]:
        async with resetting() as (port, resets):
            pool = open_pool(f"redis://127.0.0.1:{port}/0", 1_000)
            broker = RedisBroker(pool, prefix="t:", timeout_ms=1_000, queue_limit=10, hint_max_bytes=1_000)
            broker.start(_Nobody(), lambda: None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    while len(resets) < TIMES:
                        broker.ask(KEY)
                        await asyncio.sleep(0.01)
            running = {task.get_name() for task in asyncio.all_tasks()}
            await broker.close()
            await pool.aclose()
            return running

    assert {"redis-channels", "redis-outbox"} <= uvloop.run(play())


class _Nobody:
    """Hears of nothing: no news can come."""

    def hear(self, *_: object) -> None:
        raise AssertionError

    def show(self, *_: object) -> None:
        raise AssertionError

    def wish(self, *_: object) -> None:
        raise AssertionError
