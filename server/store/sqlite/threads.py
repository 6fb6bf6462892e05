"""Threads that run calls for the event loop, in order.

What `run_in_executor` does, at a third of its cost: a commit is handed over and back for every batch, and between two
lines that come alone the standard library's futures took longer than the commit.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

A = TypeVarTuple("A")
T = TypeVar("T")

_Call = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]
#: Into so many parts the deadline of a call is divided: the error of its measure is one of them.
_PARTS: Final = 4


class Threads:
    """At most `count` threads, which begin with the first call. The end of the process does not wait for them.

    A deadline (`bound`) is measured by one slow clock for all calls, which ticks while any is unanswered: a timer for
    each would cost more than the handing over. It counts ticks and not time, so a process that was stopped for a while
    finds no call late that the thread had no chance to answer.
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
        """From now on a call raises TimeoutError that has no answer after `timeout_ms` to 1.25 times as long.

        One that has begun goes on all the same, and may still take effect; one that has not begun never does.
        """
        self._tick_s = timeout_ms / 1000 / _PARTS

    def call(self, work: Callable[[Unpack[A]], T], *args: *A) -> "asyncio.Future[T]":
        """Run `work` in one of the threads, in the order of the calls. Cancelling the caller does not stop it."""
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
        """Finish what was asked for, and return when the threads have ended."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _look(self, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        """One tick has passed: give up what is too old."""
        self._tick += 1
        for future in [one for one, tick in self._unanswered.items() if self._tick - tick > _PARTS]:
            del self._unanswered[future]
            if not future.done():
                future.set_exception(TimeoutError("no answer in time"))
        self._timer = loop.call_later(tick_s, self._look, loop, tick_s) if self._unanswered else None

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work, args = call
            if not future.done() or future.cancelled():  # else it was given up before it began
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
