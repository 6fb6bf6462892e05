"""Threads that run calls for the event loop, in the order of the calls.

They replace `run_in_executor` at a third of its cost. Every commit is a call; for a batch of a single line the futures
of the standard library took longer than the commit.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

A = TypeVarTuple("A")
T = TypeVar("T")

_Call = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]
#: Ticks in a call's deadline. The deadline is exact to one tick.
_PARTS: Final = 4


class Threads:
    """`count` threads that start with the first call. The process can end without waiting for them.

    One timer measures the deadlines (`bound`) of all calls and ticks while a call is unanswered: one timer for each
    call would cost more than the call itself. It counts ticks, not time: after a pause of the whole process (SIGSTOP, a
    sleeping laptop) a call is not late before its thread had time to answer.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unanswered: dict[asyncio.Future[Any], int] = {}  # with the tick in which each was asked, oldest first
        self._tick = 0
        self._tick_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def bound(self, timeout_ms: int) -> None:
        """Give later calls a deadline: after `timeout_ms`, or up to 1.25 times as long, a call raises TimeoutError.

        If its work has begun it continues and may still take effect; if not, it never begins.
        """
        self._tick_s = timeout_ms / 1000 / _PARTS

    def call(self, work: Callable[[Unpack[A]], T], *args: *A) -> "asyncio.Future[T]":
        """Run `work(*args)` in one of the threads; the future has its result or its exception.

        Cancelling the future does not cancel the work.
        """
        if not self._threads:
            for number in range(self._count):
                thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._tick_s is not None:
            self._unanswered[future] = self._tick
            if self._timer is None:
                self._timer = loop.call_later(self._tick_s, self._look, loop, self._tick_s)
        self._calls.put((future, work, args))
        return future

    def close(self) -> None:
        """Finish the calls that were made and end the threads. Blocks until they have ended."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _look(self, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        """Count one tick, and fail the calls that are past their deadline."""
        self._tick += 1
        for future in [one for one, tick in self._unanswered.items() if self._tick - tick > _PARTS]:
            del self._unanswered[future]
            if not future.done():
                future.set_exception(TimeoutError("no answer in time"))
        self._timer = loop.call_later(tick_s, self._look, loop, tick_s) if self._unanswered else None

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work, args = call
            if not future.done() or future.cancelled():  # else its deadline passed before it began
                try:
                    outcome: Any = work(*args)
                except BaseException as error:  # noqa: BLE001  any error goes to the caller
                    _tell(future, self._fail, error)
                else:
                    _tell(future, self._end, outcome)
                    del outcome
            del call, future, work, args  # hold no reference while the thread waits

    def _end(self, future: "asyncio.Future[Any]", outcome: Any) -> None:
        self._unanswered.pop(future, None)
        if not future.done():
            future.set_result(outcome)

    def _fail(self, future: "asyncio.Future[Any]", error: BaseException) -> None:
        self._unanswered.pop(future, None)
        if not future.done():
            future.set_exception(error)


def _tell(future: "asyncio.Future[Any]", how: Callable[["asyncio.Future[Any]", Any], None], outcome: Any) -> None:
    try:
        future.get_loop().call_soon_threadsafe(how, future, outcome)
    except RuntimeError:
        return  # the loop is closed: no caller waits
