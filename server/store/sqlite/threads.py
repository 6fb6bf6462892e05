"""Threads that run calls for the event loop, in order.

What `run_in_executor` does, at a third of its cost: a commit is handed over and back for every batch, and between two
lines that come alone the standard library's futures took longer than the commit.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple, Unpack

A = TypeVarTuple("A")
T = TypeVar("T")

_Call = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Threads:
    """At most `count` threads, which begin with the first call. The end of the process does not wait for them."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def call(self, work: Callable[[Unpack[A]], T], *args: *A) -> "asyncio.Future[T]":
        """Run `work` in one of the threads, in the order of the calls. Cancelling the caller does not stop it."""
        if not self._threads:
            for number in range(self._count):
                thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((future, work, args))
        return future

    def close(self) -> None:
        """Finish what was asked for, and return when the threads have ended."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work, args = call
            try:
                outcome: Any = work(*args)
            except BaseException as error:  # noqa: BLE001  any error goes to the waiting caller, and the thread goes on
                _tell(future, _fail, error)
            else:
                _tell(future, _end, outcome)
            del call, future, work, args  # hold no reference while the thread waits


def _tell(future: "asyncio.Future[Any]", how: Callable[["asyncio.Future[Any]", Any], None], outcome: Any) -> None:
    try:
        future.get_loop().call_soon_threadsafe(how, future, outcome)
    except RuntimeError:
        return  # the loop is closed: no caller waits


def _end(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
