"""Protects the event loop, which all sessions share, from steps, which are foreign code.

A step may not stop the loop: `loop.stop` raises inside a step, and the step's turn fails. (`loop.close` raises by
itself while the loop runs.) A step that blocks the loop cannot be stopped; each time it is logged:

- `loop_blocked` (warning): session_id, user_id, workflow, held_ms. The code of a step ran that long without waiting,
  and all other sessions of the process waited for it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

import structlog

from server.records import SessionKey

log = structlog.get_logger()

#: A step that blocks the loop for so long is logged.
BLOCKED_MS: Final = 500
#: Whether the running code belongs to a step, or to a task that a step began.
IS_STEP: ContextVar[bool] = ContextVar("is_step", default=False)


def guard_loop(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Make `loop.stop` raise RuntimeError in steps. Returns a function that removes this guard."""
    stop = loop.stop

    def stop_unless_step() -> None:
        if IS_STEP.get():
            raise RuntimeError("a step may not stop the server's event loop")
        stop()

    def restore() -> None:
        if loop.stop is stop_unless_step:
            del loop.stop

    # A step runs on the server's loop and can reach it; only replacing the method keeps a step from ending the process.
    loop.stop = stop_unless_step  # type: ignore[method-assign]
    return restore


def tell_blocked(key: SessionKey, workflow: str, held_ms: int) -> None:
    """Log that a step has blocked the loop for `held_ms`."""
    log.warning("loop_blocked", session_id=key.session_id, user_id=key.user_id, workflow=workflow, held_ms=held_ms)


class Timed(Coroutine[Any, Any, None]):
    """A step's coroutine that measures how long it runs between two waits."""

    __slots__ = ("_coroutine", "_key", "_workflow")

    def __init__(self, coroutine: Coroutine[Any, Any, None], key: SessionKey, workflow: str) -> None:
        self._coroutine = coroutine
        self._key = key
        self._workflow = workflow

    def send(self, value: Any) -> Any:
        """Run the coroutine to its next wait."""
        began_ns = time.monotonic_ns()
        try:
            return self._coroutine.send(value)
        finally:
            self._ran(began_ns)

    def throw(  # type: ignore[override]  # one signature for the two overloads of Coroutine.throw
        self, kind: Any, value: BaseException | None = None, trace: TracebackType | None = None
    ) -> Any:
        """Raise an exception in the coroutine, usually a cancellation, and run it to its next wait."""
        began_ns = time.monotonic_ns()
        try:
            return self._coroutine.throw(kind)
        finally:
            self._ran(began_ns)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()

    def _ran(self, began_ns: int) -> None:
        held_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        if held_ms >= BLOCKED_MS:
            tell_blocked(self._key, self._workflow, held_ms)
