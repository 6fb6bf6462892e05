"""A store in front of another one that stalls and fails when it is told to."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from server.errors import StoreUnavailable
from server.records import Outcome, Write
from server.store.library import FullStore
from tests.support.passing_store import PassingStore


class FaultyStore(PassingStore):
    """`batches` has every batch that came, `gate` lets commits pass while it is set.

    `before` and `after` are called with each batch before and after it is committed, and may raise; `change` makes of
    the outcomes what is answered. `lookups` is what the next reads raise.
    """

    def __init__(self, store: FullStore) -> None:
        super().__init__(store)
        self.batches: list[list[Write]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.before: Callable[[Sequence[Write]], None] = lambda _: None
        self.after: Callable[[Sequence[Write]], None] = lambda _: None
        self.change: Callable[[list[Outcome]], list[Outcome]] = lambda outcomes: outcomes
        self.lookups: deque[Exception] = deque()

    async def reached(self, name: str) -> None:
        if name in ("load", "read", "find") and self.lookups:
            raise self.lookups.popleft()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        self.batches.append(list(writes))
        self.arrived.set()
        await self.gate.wait()
        self.before(writes)
        outcomes = await self.store.commit(writes)
        self.after(writes)
        return self.change(outcomes)


def failing(times: int, error: Exception | None = None) -> Callable[[Sequence[Write]], None]:
    """Raises at the first `times` calls."""
    left = [error or StoreUnavailable("on purpose")] * times

    def fail(_: Sequence[Write]) -> None:
        if left:
            raise left.pop()

    return fail


def failing_at(call: int) -> Callable[[Sequence[Write]], None]:
    """Raises at that call only, the first being 1."""
    calls = itertools.count(1)

    def fail(_: Sequence[Write]) -> None:
        if next(calls) == call:
            raise StoreUnavailable("on purpose")

    return fail


def poisoned(session_id: str, error: Exception | None = None) -> Callable[[Sequence[Write]], None]:
    """Raises whenever a write of this session is in the batch."""

    def fail(writes: Sequence[Write]) -> None:
        if any(write.session_id == session_id for write in writes):
            raise error or StoreUnavailable("on purpose")

    return fail
