"""One connection of the client program, and the clock of its turns."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, cast

from tests.bench.frames import CLOSE, PING, PONG, TEXT, Inbound, NotAFrame, mask, upgrade
from tests.bench.speech import Speech

HOST: Final = "127.0.0.1"
_BRACE: Final = ord("}")
#: What a step says again and again in a streamed answer.
DELTA: Final = b"words"
_now = time.perf_counter


class Times:
    """Seconds from a line to its ack and to its answer, and how many turns ended, while `running`.

    `acked_at` has the moment of each ack.
    """

    __slots__ = ("acked_at", "acks", "ended", "replies", "running")

    def __init__(self) -> None:
        self.running = False
        self.acks: list[float] = []
        self.acked_at: list[float] = []
        self.replies: list[float] = []
        self.ended = 0


class Tab(asyncio.Protocol):
    """One conversation's client. Its callbacks are plain calls: a task per tab would cost more than the frames.

    `on_open` and `on_end` are told when the server has taken the connection in, and when a turn has ended.
    """

    __slots__ = ("_inbound", "_transport", "_waiting_ack", "_waiting_end", "_waiting_reply", "began", "deltas",
                 "durable", "error", "is_open", "number", "on_end", "on_fault", "on_open",
                 "pieces", "speech", "times")  # fmt: skip

    def __init__(self, speech: Speech, times: Times, on_fault: Callable[[Exception], None]) -> None:
        self.speech = speech
        self.times = times
        self.number = 0  # of the last line
        self.is_open = False
        self.pieces = 0  # frames of a streamed answer
        self.deltas = 0  # what its step said piece by piece; the server may put several into one frame
        self.durable = 0  # frames of the log that came before it was open
        self.began = 0.0
        self.error: Exception | None = None
        self.on_open: Callable[[Tab], None] | None = None
        self.on_end: Callable[[Tab], None] | None = None
        self.on_fault = on_fault
        self._inbound = Inbound()
        self._transport: asyncio.Transport | None = None
        self._waiting_ack: deque[float] = deque()
        self._waiting_reply: deque[tuple[bytes, float]] = deque()
        self._waiting_end = 0

    # ------------------------------------------------------------ what the client does

    async def connect(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        """Ask for the upgrade. Whether it was granted shows when `on_open` is told. Raises OSError."""
        self.began = _now()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, HOST, port)
        assert self._transport is not None
        self._transport.write(upgrade(port, path, headers))

    def say(self) -> None:
        """Send the next line."""
        self.number += 1
        self._wait_for(b"%08d" % self.number)
        self.write(self.speech.line(self.number))

    def expect(self) -> None:
        """Wait for the end of a turn that may be another tab's; any answer is the right one."""
        self._wait_for(b"")

    @property
    def is_waiting(self) -> bool:
        """Whether a turn has not ended."""
        return self._waiting_end > 0

    def close(self) -> None:
        """Leave, without a word."""
        self.on_open = self.on_end = None
        self.on_fault = _forget
        if self._transport is not None:
            self._transport.abort()

    def _wait_for(self, mark: bytes) -> None:
        now = _now()
        self._waiting_ack.append(now)
        self._waiting_reply.append((mark, now))
        self._waiting_end += 1

    # ------------------------------------------------------------ what the speech tells (`Listener`)

    def write(self, text: bytes) -> None:
        assert self._transport is not None
        self._transport.write(mask(text))

    def opened(self) -> None:
        if not self.is_open:
            self.is_open = True
            if self.on_open is not None:
                self.on_open(self)

    def acked(self) -> None:
        began = self._waiting_ack.popleft()
        if self.times.running:
            now = _now()
            self.times.acks.append(now - began)
            self.times.acked_at.append(now)

    def replied(self, frame: bytes) -> None:
        if not self._waiting_reply:
            return  # a greeting, or a replay
        mark, began = self._waiting_reply.popleft()
        if mark not in frame:
            self._fail(f"the answer is not to line {mark.decode()}: {frame[:300]!r}")
        if self.times.running:
            self.times.replies.append(_now() - began)

    def ended(self) -> None:
        if not self._waiting_end:
            return  # as in `replied`
        self._waiting_end -= 1
        if self.times.running:
            self.times.ended += 1
        if self.on_end is not None:
            self.on_end(self)

    def refused(self, frame: bytes) -> None:
        self._fail(f"refused: {frame[:300]!r}")

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._inbound.feed(data)
        except NotAFrame as error:
            self._fail(str(error))
            return
        for kind, payload in frames:
            if kind == TEXT:
                if b'"type":"stream_delta"' in payload[:30]:
                    self.pieces += 1
                    self.deltas += payload.count(DELTA)
                    continue
                if not self.is_open:  # a durable frame ends with its seq; an ack has one, too, further in
                    self.durable += payload[-2] != _BRACE and b',"seq":' in payload[-30:]
                self.speech.heard(self, payload)
            elif kind == PING:
                assert self._transport is not None
                self._transport.write(mask(payload, PONG))
            elif kind == CLOSE:
                self._fail(f"closed with {int.from_bytes(payload[:2], 'big')}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc}")

    def _fail(self, reason: str) -> None:
        self.error = RuntimeError(reason)
        self.on_fault(self.error)


def _forget(_error: Exception) -> None:
    """A tab that left is told nothing more."""
