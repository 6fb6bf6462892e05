"""A store that passes everything on to another one: what stands in front of a store in a test is one of these."""

from collections.abc import Sequence

from server.records import Event, Loaded, Outcome, SessionKey, Summary, Write
from server.store.library import FullStore


class PassingStore:
    """`store` is the one behind. Each call but `open` and `close` passes `reached`, which may count, wait or raise."""

    def __init__(self, store: FullStore) -> None:
        self.store = store

    async def reached(self, name: str) -> None:
        """A call of the method `name` is on its way."""

    @property
    def durability(self) -> str:
        return self.store.durability

    async def open(self) -> None:
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        await self.reached("commit")
        return await self.store.commit(writes)

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        await self.reached("load")
        return await self.store.load(key, after, limit)

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        await self.reached("read")
        return await self.store.read(key, after, limit)

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        await self.reached("heads")
        return await self.store.heads(sessions)

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        await self.reached("hold")
        return await self.store.hold(sessions, holder, ttl_ms)

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        await self.reached("release")
        await self.store.release(sessions, holder)

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        await self.reached("find")
        return await self.store.find(key, client_id)

    async def published(self, message_id: str, type: str) -> Event | None:
        await self.reached("published")
        return await self.store.published(message_id, type)

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        await self.reached("pending")
        return await self.store.pending(before_ms, limit)

    async def delete(self, key: SessionKey) -> bool:
        await self.reached("delete")
        return await self.store.delete(key)

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        await self.reached("list")
        return await self.store.list(user_id, limit)
