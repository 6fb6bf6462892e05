"""The send queue of one WebSocket: one writer, bounded in bytes, with the pauses that the existing builder needs."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

from server.errors import CloseCode
from server.settings import Settings

ASGISend = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Frames that wait together go out with one write, up to about this many characters.
_WRITE_CHARS: Final = 65_536


class Wire(Protocol):
    """What frames are written to."""

    @property
    def is_writable(self) -> bool:
        """Whether the peer has taken enough of what was written for the next write to go out at once."""
        ...

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Send text frames, when the peer takes them. Raises OSError when it is gone."""
        ...

    def abort(self) -> None:
        """End the connection without a word."""
        ...


class WebSocketOutlet:
    """Where the frames of one connection go.

    One task writes, because two that wait for the same paused transport can overtake each other. A reader that takes
    nothing for SEND_STALL_MS is cut with `abort`: closing politely would wait for it.
    """

    def __init__(self, send: ASGISend, wire: Wire, settings: Settings) -> None:
        self._send = send
        self._wire = wire
        self._soft_bytes = settings.send_queue_soft_bytes
        self._hard_bytes = settings.send_queue_hard_bytes
        self._stall_s = settings.send_stall_ms / 1000
        self._queue: list[tuple[str, float]] = []
        self._urgent: list[str] = []
        self._bytes = 0
        self._was_full = False
        self._paced_until = 0.0
        self._waiter: asyncio.Future[None] | None = None  # an Event and a deque would cost an idle connection 1.5 KB
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
            self._wake()

    @property
    def has_room(self) -> bool:
        """Whether the queue is short enough for the next page; if not, `on_drained` tells when it is."""
        self._was_full = self._was_full or self._bytes > self._soft_bytes
        return self._bytes <= self._soft_bytes

    def close(self, code: CloseCode) -> None:
        """Close the socket once the queue has gone out."""
        if self.close_code is None:
            self.close_code = code
            self._wake()

    async def run(self) -> None:
        """Write until the socket is closed. Raises OSError when the peer is gone."""
        while True:
            if texts := [*self._urgent, *self._due()]:
                await self._write(texts)
            elif self._queue:
                await self._sleep(self._paced_until - asyncio.get_running_loop().time())
            elif self.close_code is not None:
                close = {"type": "websocket.close", "code": int(self.close_code)}
                await self._within_stall(self._send(close))
                return
            else:
                await self._sleep()

    def _due(self) -> list[str]:
        """The frames in front of the queue that may go out now; a pause that is to pass before one ends them."""
        due: list[str] = []
        chars = 0
        for text, gap_s in self._queue:
            if gap_s and self.close_code is None:
                now = asyncio.get_running_loop().time()
                if now < self._paced_until:
                    break
                self._paced_until = now + gap_s
            due.append(text)
            chars += len(text)
            if chars >= _WRITE_CHARS:
                break
        return due

    async def _write(self, texts: Sequence[str]) -> None:
        """Send the urgent frames, and then those in front of the queue, which stay in it until they are out."""
        urgent, self._urgent = len(self._urgent), []
        if self._wire.is_writable:
            await self._wire.send_texts(texts)
        else:
            await self._within_stall(self._wire.send_texts(texts))
        sent = len(texts) - urgent
        self._bytes -= sum(len(text) for text, _ in self._queue[:sent])
        del self._queue[:sent]
        self.sent += sent
        if self._was_full and self._bytes <= self._soft_bytes:
            self._was_full = False
            self.on_drained()

    async def _sleep(self, wait_s: float | None = None) -> None:
        """Wait for the next frame or the close, `wait_s` at most."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            if wait_s is None:
                await self._waiter
            else:
                await asyncio.wait([self._waiter], timeout=wait_s)
        finally:
            self._waiter = None

    async def _within_stall(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await writing
        except TimeoutError:
            self.close_code = self.close_code or CloseCode.SLOW_CONSUMER
            self._wire.abort()
            raise OSError("the peer takes nothing") from None

    def _append(self, text: str, gap_s: float) -> None:
        self._queue.append((text, gap_s))
        self._bytes += len(text)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
