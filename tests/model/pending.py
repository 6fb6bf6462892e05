"""A store whose calls happen, and return, when a schedule says so."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from server.errors import StoreUnavailable
from server.records import Event, Loaded, Outcome, SessionKey, Summary, Write
from server.store.library import FullStore

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]
Reply = Callable[[T | Exception], None]


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that waits for nobody; one that merely lets others go first is gone on with."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result


class Call(Generic[T]):
    """One call: it happens, or fails, or happens and seems to fail; and later it returns."""

    def __init__(self, name: str, work: Work[T], reply: Reply[T]) -> None:
        self.name = name
        self.is_read = name != "commit"
        self._work = work
        self._reply = reply
        self._result: T | Exception | None = None
        self.happened = False

    def happen(self, fate: str = "well") -> None:
        """`fate`: well, failed (nothing was done), cut (it was done, but the answer is lost)."""
        self.happened = True
        if fate == "failed":
            self._result = StoreUnavailable("on purpose")
            return
        try:
            self._result = at_once(self._work())
        except Exception as error:  # noqa: BLE001  whatever the store raises is the caller's answer
            self._result = error
        if fate == "cut":
            self._result = StoreUnavailable("the answer was lost")

    def come_back(self) -> None:
        assert self.happened
        self._reply(self._result)  # type: ignore[arg-type]


class PendingStore:
    """The store as one process sees it. `calls` are those that have not returned, oldest first."""

    durability = "none (for tests)"

    def __init__(self, store: FullStore) -> None:
        self._store = store
        self.calls: list[Call[Any]] = []

    def ask(self, name: str, work: Work[T], reply: Reply[T]) -> None:
        """Call, and be told the result or the error later."""
        self.calls.append(Call(name, work, reply))

    async def _wait(self, name: str, work: Work[T]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def reply(result: T | Exception) -> None:
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.ask(name, work, reply)
        return await answer

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        return await self._wait("commit", lambda: self._store.commit(writes))

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        return await self._wait("load", lambda: self._store.load(key, after, limit))

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        return await self._wait("read", lambda: self._store.read(key, after, limit))

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        return await self._wait("heads", lambda: self._store.heads(sessions))

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        return await self._wait("hold", lambda: self._store.hold(sessions, holder, ttl_ms))

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        await self._wait("release", lambda: self._store.release(sessions, holder))

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        return await self._wait("find", lambda: self._store.find(key, client_id))

    async def published(self, message_id: str, type: str) -> Event | None:
        return await self._wait("published", lambda: self._store.published(message_id, type))

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        return await self._wait("pending", lambda: self._store.pending(before_ms, limit))

    async def delete(self, key: SessionKey) -> bool:
        return await self._wait("delete", lambda: self._store.delete(key))

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        return await self._wait("list", lambda: self._store.list(user_id, limit))
