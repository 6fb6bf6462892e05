"""Messages on their way to Redis: in order, many at a time; no caller waits for them.

They are hints (L5), so they may be lost: while Redis is away nothing is kept, and what would make the queue longer than
its bound is not sent. What goes together is one script, which has one answer to read: a pipeline reads one for each
message, and that was a sixth of a process's work.
"""

import asyncio
from collections import deque
from importlib import resources
from itertools import chain
from typing import Final

import structlog
from redis.asyncio import Redis

from server.broker.redis.pool import FAULTS
from server.tasks import Tasks

log = structlog.get_logger()

#: How many messages go in one round trip.
_PAGE: Final = 256
#: The pause after each round trip (s), in which the next messages gather. A message after a pause goes at once.
_PAUSE_S: Final = 0.002
_PUBLISH: Final = resources.files("server.broker.redis").joinpath("publish.lua")


class Outbox:
    """`limit` is how many messages may wait."""

    def __init__(self, client: Redis, limit: int) -> None:
        self._publish = client.register_script(_PUBLISH.read_text(encoding="utf-8"))
        self._limit = limit
        self._queue: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()
        self._failing = False
        self._tasks = Tasks()
        self.lost = 0

    def start(self) -> None:
        """Begin to send."""
        self._tasks.spawn(self._run(), "redis-outbox")

    async def close(self) -> None:
        """Stop. Queued messages are dropped; other processes find their events in the store."""
        await self._tasks.close()

    def put(self, channel: str, message: bytes) -> None:
        """Send `message` soon, if there is room for it."""
        if len(self._queue) >= self._limit:
            self.lost += 1
            return
        self._queue.append((channel, message))
        self._filled.set()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                await self._send([self._queue.popleft() for _ in range(min(len(self._queue), _PAGE))])
                await asyncio.sleep(_PAUSE_S)

    async def _send(self, messages: list[tuple[str, bytes]]) -> None:
        try:
            await self._publish(args=tuple(chain.from_iterable(messages)))
        except FAULTS as error:
            self.lost += len(messages) + len(self._queue)
            self._queue.clear()  # outdated: other processes compare heads
            if not self._failing:
                log.warning("publish_failed", error=str(error))
            self._failing = True
        else:
            self._failing = False
