"""An event loop whose clock jumps to the next timer when there is nothing else to do.

So a wait takes no time and is exact: what would have happened within it has happened when it is over, on the busiest
machine, too. For code that waits for timers alone: with a thread or a socket in it, time would run ahead of those.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Where the loop would sleep, its clock is moved on instead."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now. Raises AssertionError where the loop would wait for ever."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to happen"
            self.skipped_s += max(timeout, 0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.skipped_s


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in such a loop; `asyncio.get_running_loop().time()` is its clock, in seconds from 0.

    The server's own clock goes with it, from the present on.
    """
    began_ns = time.time_ns()
    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()

        def time_ns() -> int:
            return began_ns + round(loop.time() * 1e9)

        with mock.patch("server.clock.time.time_ns", time_ns):
            return runner.run(work)
