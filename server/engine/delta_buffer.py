"""Joins the small pieces of a streamed answer: a model sends a few characters at a time, and each frame has a cost.

The text that a step yields within DELTA_MS is delivered as one piece. Another output is delivered at once, after the
text before it. Nothing here blocks; a timer delivers the text.
"""

import asyncio
from collections.abc import Callable

from server.machines.inputs import Input, Streamed


class DeltaBuffer:
    """Joins neighbouring pieces of text on their way to `deliver`.

    The first piece goes out at once, so that the reader sees the answer begin. A later piece waits at most `wait_ms`
    for the next, and goes out when it is `max_chars` long.
    """

    def __init__(self, deliver: Callable[[Input], None], *, wait_ms: int, max_chars: int) -> None:
        self._deliver = deliver
        self._wait_s = wait_ms / 1000
        self._max_chars = max_chars
        self._loop = asyncio.get_running_loop()
        self._held: Streamed | None = None
        self._goes_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, output: Input) -> None:
        """Take the step's next output."""
        if not isinstance(output, Streamed):
            self._let_go()
            self._deliver(output)
            return
        held = self._held
        self._held = Streamed(output.run, held.text + output.text, held.message_id) if held else output
        if len(self._held.text) >= self._max_chars or self._loop.time() >= self._goes_at:
            self._let_go()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._goes_at, self._let_go)

    def close(self) -> None:
        """Drop buffered text. Only a cancelled step still has some."""
        self._held = None
        self._stop_timer()

    def _let_go(self) -> None:
        self._stop_timer()
        if self._held is not None:
            held, self._held = self._held, None
            self._goes_at = self._loop.time() + self._wait_s
            self._deliver(held)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
