"""A store in front of another one that stalls and fails when it is told to."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from server.errors import StoreUnavailable
from server.store import Store
from server.store.records import Event, Loaded, Outcome, Summary, Write


class FaultyStore:
    """`batches` has every batch that came, `gate` lets commits pass while it is set.

    `before` and `after` are called with each batch before and after it is committed, and may raise. `lookups` is what
    the next reads raise.
    """

    durability = "none (for tests)"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.batches: list[list[Write]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.before: Callable[[Sequence[Write]], None] = lambda _: None
        self.after: Callable[[Sequence[Write]], None] = lambda _: None
        self.lookups: deque[Exception] = deque()

    async def open(self) -> None:
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        self.batches.append(list(writes))
        self.arrived.set()
        await self.gate.wait()
        self.before(writes)
        outcomes = await self.store.commit(writes)
        self.after(writes)
        return outcomes

    async def load(self, session_id: str, user_id: str, after: int, limit: int) -> Loaded | None:
        self._look()
        return await self.store.load(session_id, user_id, after, limit)

    async def read(self, session_id: str, user_id: str, after: int, limit: int) -> list[Event]:
        self._look()
        return await self.store.read(session_id, user_id, after, limit)

    async def find(self, session_id: str, user_id: str, client_id: str) -> Event | None:
        self._look()
        return await self.store.find(session_id, user_id, client_id)

    async def deck(self, message_id: str) -> Event | None:
        return await self.store.deck(message_id)

    async def pending(self, before_ms: int, limit: int) -> list[tuple[str, str]]:
        return await self.store.pending(before_ms, limit)

    async def delete(self, session_id: str, user_id: str) -> bool:
        return await self.store.delete(session_id, user_id)

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        return await self.store.list(user_id, limit)

    def _look(self) -> None:
        if self.lookups:
            raise self.lookups.popleft()


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
