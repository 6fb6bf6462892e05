"""The send queue of one WebSocket: one writer, bounded in bytes, with the pauses that the existing builder needs."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from server.errors import CloseCode
from server.settings import Settings

ASGISend = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class WebSocketOutlet:
    """Where the frames of one connection go.

    One task writes, because two that wait for the same paused transport can overtake each other. A reader that takes
    nothing for SEND_STALL_MS is cut with `abort`: closing politely would wait for it.
    """

    def __init__(self, send: ASGISend, abort: Callable[[], None], settings: Settings) -> None:
        self._send = send
        self._abort = abort
        self._soft_bytes = settings.send_queue_soft_bytes
        self._hard_bytes = settings.send_queue_hard_bytes
        self._stall_s = settings.send_stall_ms / 1000
        self._queue: deque[tuple[str, float]] = deque()
        self._urgent: deque[str] = deque()
        self._bytes = 0
        self._was_full = False
        self._paced_until = 0.0
        self._wake = asyncio.Event()
        self.on_drained: Callable[[], None] = lambda: None
        self.close_code: CloseCode | None = None
        self.sent = 0

    def put(self, text: str, *, gap_ms: int) -> bool:
        """Queue a durable frame; False when it does not fit. One frame always fits into an empty queue."""
        if self._queue and self._bytes + len(text) > self._hard_bytes:
            self._was_full = True
            return False
        self._append(text, gap_ms / 1000)
        return True

    def put_transient(self, text: str, *, droppable: bool) -> None:
        """Queue a transient frame; a droppable one only where there is room."""
        if not droppable or self._bytes + len(text) <= self._hard_bytes:
            self._append(text, 0.0)

    def put_urgent(self, text: str) -> None:
        """Queue a frame ahead of all others: a heartbeat's answer. Only one waits at a time."""
        if text not in self._urgent:
            self._urgent.append(text)
            self._wake.set()

    @property
    def has_room(self) -> bool:
        """Whether the queue is short enough for the next page; if not, `on_drained` tells when it is."""
        self._was_full = self._was_full or self._bytes > self._soft_bytes
        return self._bytes <= self._soft_bytes

    def close(self, code: CloseCode) -> None:
        """Close the socket once the queue has gone out."""
        if self.close_code is None:
            self.close_code = code
            self._wake.set()

    async def run(self) -> None:
        """Write until the socket is closed. Raises OSError when the peer is gone."""
        while True:
            if self._urgent:
                await self._write({"type": "websocket.send", "text": self._urgent.popleft()})
            elif self._queue:
                await self._write_next()
            elif self.close_code is not None:
                await self._write({"type": "websocket.close", "code": int(self.close_code)})
                return
            else:
                await self._wake.wait()
            self._wake.clear()

    async def _write_next(self) -> None:
        text, gap_s = self._queue[0]
        now = asyncio.get_running_loop().time()
        if gap_s and now < self._paced_until and self.close_code is None:
            await self._wait(self._paced_until - now)
            return
        self._queue.popleft()
        await self._write({"type": "websocket.send", "text": text})
        self.sent += 1
        self._bytes -= len(text)
        if gap_s:
            self._paced_until = asyncio.get_running_loop().time() + gap_s
        if self._was_full and self._bytes <= self._soft_bytes:
            self._was_full = False
            self.on_drained()

    async def _wait(self, wait_s: float) -> None:
        """Wait for the pause to pass, or for an urgent frame."""
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _write(self, message: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await self._send(message)
        except TimeoutError:
            self.close_code = self.close_code or CloseCode.SLOW_CONSUMER
            self._abort()
            raise OSError("the peer takes nothing") from None

    def _append(self, text: str, gap_s: float) -> None:
        self._queue.append((text, gap_s))
        self._bytes += len(text)
        self._wake.set()
