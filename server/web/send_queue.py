"""The send queue of one WebSocket: bounded in bytes, with the pauses that a dialect wants."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from server.errors import CloseCode
from server.settings import Settings
from server.wire.dialects import Encoded, EncodedEvents

#: Frames that wait together go out with one write, up to about this many bytes.
_WRITE_BYTES: Final = 65_536


class Wire(Protocol):
    """The transport that frames are written to."""

    #: Whether the peer has taken enough of what was written; if not, the outlet's `flush` is called when it has.
    is_writable: bool

    def write_texts(self, texts: Sequence[bytes]) -> None:
        """Send text frames. Raises OSError when the peer is gone."""
        ...

    def abort(self) -> None:
        """End the connection without a closing handshake."""
        ...


class WebSocketOutlet:
    """The queue of the frames of one connection.

    Queued frames go out at the end of the present iteration of the event loop, all with one write. No task waits for
    them: an idle connection would have to keep it. A reader that takes nothing for SEND_STALL_MS is cut with
    `abort`: closing politely would wait for it. `say_goodbye` closes the socket, and is called once.
    """

    def __init__(self, wire: Wire, settings: Settings, say_goodbye: Callable[[CloseCode], None]) -> None:
        self._wire = wire
        self._say_goodbye = say_goodbye
        self._soft_bytes = settings.send_queue_soft_bytes
        self._hard_bytes = settings.send_queue_hard_bytes
        self._stall_s = settings.send_stall_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._queue: list[bytes] = []
        # Pauses (s) before frames, by the frame's number; None until there is one, since a deque takes half a kilobyte.
        self._gaps: deque[tuple[int, float]] | None = None
        self._urgent: list[bytes] = []
        self._bytes = 0
        self._was_full = False
        self._is_due = False  # `flush` is called soon
        self._is_over = False
        self._paced_until = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.on_drained: Callable[[], None] = lambda: None
        self.close_code: CloseCode | None = None
        self.sent = 0

    def put(self, events: EncodedEvents, *, gap_ms: int) -> int:
        """Queue events, as many as fit. One always fits into an empty queue. See `subscriber.Outlet`."""
        if self._is_over:
            return len(events.frames)
        if gap_ms or self._bytes + events.size > self._hard_bytes:
            return self._put_each(events.frames, gap_ms / 1000)
        self._queue += events.texts
        self._bytes += events.size
        self._soon()
        return len(events.frames)

    def _put_each(self, frames: Sequence[Encoded], gap_s: float) -> int:
        for place, frame in enumerate(frames):
            if self._queue and self._bytes + sum(map(len, frame.texts)) > self._hard_bytes:
                self._was_full = True
                return place
            for text in frame.texts:
                if gap_s and frame.visible:
                    if self._gaps is None:
                        self._gaps = deque()
                    self._gaps.append((self.sent + len(self._queue), gap_s))
                self._append(text)
        return len(frames)

    def put_transient(self, texts: Sequence[bytes], *, droppable: bool) -> None:
        """Queue the texts of a transient frame; of a droppable one only where there is room for all."""
        if not self._is_over and (not droppable or self._bytes + sum(map(len, texts)) <= self._hard_bytes):
            for text in texts:
                self._append(text)

    def put_urgent(self, text: bytes) -> None:
        """Queue a frame ahead of all others: a heartbeat's answer. Only one waits at a time."""
        if text not in self._urgent:
            self._urgent.append(text)
            self._soon()

    @property
    def has_room(self) -> bool:
        """Whether the queue is short enough for the next page; if not, `on_drained` tells when it is."""
        self._was_full = self._was_full or self._bytes > self._soft_bytes
        return self._bytes <= self._soft_bytes

    def close(self, code: CloseCode) -> None:
        """Close the socket once the queue has gone out."""
        if self.close_code is None:
            self.close_code = code
            self._soon()

    def closed(self) -> None:
        """The socket is gone: drop the queue."""
        self._is_over = True
        self._queue.clear()
        self._urgent.clear()
        self._stop_timers()

    def flush(self) -> None:
        """Write what may go out now."""
        self._is_due = False
        while not self._is_over and (self._queue or self._urgent or self.close_code is not None):
            if not self._wire.is_writable:
                if self._stall is None:  # more frames to write give the peer no more time
                    self._stall = self._loop.call_later(self._stall_s, self._cut)
                return
            self._stop_timers()
            if texts := self._due():
                self._write(texts)
            elif self._queue:
                self._pause = self._loop.call_at(self._paced_until, self.flush)
                return
            else:
                self._is_over = True
                assert self.close_code is not None
                self._say_goodbye(self.close_code)

    def _due(self) -> list[bytes]:
        """The urgent frames and those at the front of the queue, up to the first one whose pause has not passed."""
        if not self._gaps and self._bytes <= _WRITE_BYTES:
            return [*self._urgent, *self._queue]
        due = self._urgent.copy()
        size = 0
        for number, text in enumerate(self._queue, self.sent):
            if self._gaps and self._gaps[0][0] == number:
                if self.close_code is None:
                    now = self._loop.time()
                    if now < self._paced_until:
                        break
                    self._paced_until = now + self._gaps[0][1]
                self._gaps.popleft()
            due.append(text)
            size += len(text)
            if size >= _WRITE_BYTES:
                break
        return due

    def _write(self, texts: Sequence[bytes]) -> None:
        sent = len(texts) - len(self._urgent)
        self._urgent.clear()
        try:
            self._wire.write_texts(texts)
        except OSError:  # the peer is gone: its cursor is its own, and the log has everything
            self.closed()
            return
        if sent == len(self._queue):
            self._queue.clear()
            self._bytes = 0
        else:
            self._bytes -= sum(map(len, self._queue[:sent]))
            del self._queue[:sent]
        self.sent += sent
        if self._was_full and self._bytes <= self._soft_bytes:
            self._was_full = False
            self.on_drained()

    def _stop_timers(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cut(self) -> None:
        """The peer has taken nothing for too long."""
        self.close_code = self.close_code or CloseCode.SLOW_CONSUMER
        self.closed()
        self._wire.abort()

    def _append(self, text: bytes) -> None:
        self._queue.append(text)
        self._bytes += len(text)
        self._soon()

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)
