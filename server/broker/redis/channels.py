"""The Redis channels that this process subscribes to, over one connection that is renewed while the server runs.

Two tasks share the connection: one only reads, the other only writes (SUBSCRIBE, UNSUBSCRIBE, PING), so neither waits
for the other and no caller cancels a command half-way. Silence is not taken for peace: a ping that finds no answer cuts
the connection, and a new one subscribes anew. What was published meanwhile is lost; `connected` tells of it.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import structlog
from redis.asyncio import Connection, ConnectionPool

from server.broker.redis.pool import FAULTS
from server.tasks import Tasks

log = structlog.get_logger()

#: How many channels one command names.
_PAGE: Final = 1_000
#: The waits between two tries to connect, in seconds.
_RETRY_S: Final = 0.1
_RETRY_MAX_S: Final = 2.0


class Channels:
    """`heard` is called with each message; `changed` when the connection was lost, or hears all channels again."""

    def __init__(
        self, pool: ConnectionPool, timeout_ms: int, heard: Callable[[str, bytes], None], changed: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout_ms / 1000
        self._heard = heard
        self._changed = changed
        self._wanted: dict[str, asyncio.Event] = {}
        self._orders: deque[tuple[str, str]] = deque()  # ("SUBSCRIBE" or "UNSUBSCRIBE", channel), in their order
        self._ordered = asyncio.Event()
        self._read_at = 0.0
        self._awaited = 0  # channels that a new connection does not hear yet
        self._tasks = Tasks()
        self.connected = False

    def start(self) -> None:
        """Begin to listen."""
        self._tasks.spawn(self._run(), "redis-channels")

    async def close(self) -> None:
        """Stop listening."""
        await self._tasks.close()

    def join(self, channel: str) -> None:
        """Subscribe to this channel; it takes effect soon."""
        self._wanted[channel] = asyncio.Event()
        self._order("SUBSCRIBE", channel)

    def leave(self, channel: str) -> None:
        """Unsubscribe from this channel."""
        if (joined := self._wanted.pop(channel, None)) is not None:
            joined.set()
            self._order("UNSUBSCRIBE", channel)

    async def joined(self, channel: str) -> None:
        """Return when the channel is subscribed; at once without a connection, else at the timeout at the latest."""
        joined = self._wanted.get(channel)
        if joined is not None and self.connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await joined.wait()

    def _order(self, command: str, channel: str) -> None:
        if self.connected:  # else the next connection begins with all wanted channels
            self._orders.append((command, channel))
            self._ordered.set()

    # ------------------------------------------------------------ one connection after the other

    async def _run(self) -> None:
        failures = 0
        while True:
            connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no type
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                failures = 0
                await self._listen(connection)
            except FAULTS as error:
                if failures == 0:
                    log.warning("broker_lost", error=str(error))
                failures += 1
            finally:
                self._disconnected()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(min(_RETRY_S * 2 ** min(failures, 10), _RETRY_MAX_S))

    async def _listen(self, connection: Connection) -> None:
        self._orders.clear()
        self._ordered.clear()
        self._read_at = time.monotonic()
        self.connected = True
        self._orders.extend(("SUBSCRIBE", channel) for channel in self._wanted)
        self._ordered.set()
        self._awaited = len(self._wanted)
        writing = asyncio.create_task(self._write(connection), name="redis-channels-writer")
        log.info("broker_connected", channels=len(self._wanted))
        try:
            while True:
                # The writer, not a timeout, finds a silent peer: a read that is given up loses its place in the stream.
                self._take(await connection.read_response(timeout=math.inf))
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _disconnected(self) -> None:
        was, self.connected = self.connected, False
        for channel, joined in self._wanted.items():
            joined.set()  # the connection is gone: stop waiting
            self._wanted[channel] = asyncio.Event()
        if was:
            self._changed()

    async def _write(self, connection: Connection) -> None:
        """Send orders as they come, and pings between them; cut a connection on which nothing arrives."""
        try:
            while True:
                if not self._orders:
                    await self._wait_for_orders()
                silent_s = time.monotonic() - self._read_at
                if silent_s > 2 * self._timeout_s:
                    log.warning("broker_silent", seconds=round(silent_s, 1))
                    break
                await connection.send_command(*(self._next_order() or ("PING",)))
        except FAULTS as error:
            log.warning("broker_write_failed", error=str(error))
        await connection.disconnect(nowait=True)  # and the reader finds its connection closed

    async def _wait_for_orders(self) -> None:
        self._ordered.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s / 2):
                await self._ordered.wait()

    def _next_order(self) -> list[str]:
        """Take the next orders of one kind, as one command."""
        if not self._orders:
            return []
        kind = self._orders[0][0]
        same = 0
        for command, _ in islice(self._orders, _PAGE):
            if command != kind:
                break
            same += 1
        return [kind, *(self._orders.popleft()[1] for _ in range(same))]

    def _take(self, response: Any) -> None:
        self._read_at = time.monotonic()
        match response:
            case [b"message", bytes() as channel, bytes() as message]:
                self._heard(channel.decode(), message)
            case [b"subscribe", bytes() as channel, int()]:
                if (joined := self._wanted.get(channel.decode())) is not None:
                    joined.set()
                self._awaited -= 1
                if self._awaited == 0:  # no message is missed from now on; compare heads for those missed before
                    self._changed()
            case _:  # an unsubscription, a pong
                pass
