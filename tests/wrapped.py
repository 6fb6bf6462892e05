"""A store that fails on demand, around a real one; and a server in this process around such a store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import uvicorn

from server.app import create_app
from server.errors import StoreUnavailable
from server.settings import Settings
from server.store import Store
from server.store.records import Event, Loaded, Outcome, Summary, Write
from server.transport import BoundedWebSocketProtocol
from server.websocket import Gateway
from server.workflow import Workflow
from tests.process import free_port


class FailingStore:
    """Passes everything on, and counts it, unless the method's name stands in `broken`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.broken: set[str] = set()
        self.calls: dict[str, int] = {}
        self.committed: list[Write] = []
        self.woken: list[int] = []

    @property
    def durability(self) -> str:
        return self._store.durability

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        self._count("commit")
        outcomes = await self._store.commit(writes)
        self.committed += writes
        if "answer" in self.broken:
            raise StoreUnavailable("the answer was lost")
        return outcomes

    async def load(self, session_id: str, user_id: str, after: int, limit: int) -> Loaded | None:
        self._count("load")
        return await self._store.load(session_id, user_id, after, limit)

    async def read(self, session_id: str, user_id: str, after: int, limit: int) -> list[Event]:
        self._count("read")
        return await self._store.read(session_id, user_id, after, limit)

    async def find(self, session_id: str, user_id: str, client_id: str) -> Event | None:
        self._count("find")
        return await self._store.find(session_id, user_id, client_id)

    async def deck(self, message_id: str) -> Event | None:
        self._count("deck")
        return await self._store.deck(message_id)

    async def pending(self, before_ms: int, limit: int) -> list[tuple[str, str]]:
        self._count("pending")
        waiting = await self._store.pending(before_ms, limit)
        if waiting:
            self.woken.append(len(waiting))
        return waiting

    async def delete(self, session_id: str, user_id: str) -> bool:
        self._count("delete")
        return await self._store.delete(session_id, user_id)

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        self._count("list")
        return await self._store.list(user_id, limit)

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if name in self.broken:
            raise StoreUnavailable(f"{name} is broken")


class Served(int):
    """The port of a server, and its gateway."""

    gateway: Gateway

    def __new__(cls, port: int, gateway: Gateway) -> "Served":
        served = super().__new__(cls, port)
        served.gateway = gateway
        return served


@contextlib.asynccontextmanager
async def serve(
    store: Store, workflows: Mapping[str, Workflow], settings: Settings | None = None
) -> AsyncIterator["Served"]:
    """A server in this event loop."""
    settings = settings or Settings()
    app = create_app(settings, workflows=workflows, store=store)
    port = free_port()
    config = uvicorn.Config(
        app,
        port=port,
        ws=BoundedWebSocketProtocol,
        ws_max_size=settings.socket_max_bytes,
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    config.load()
    serving = asyncio.create_task(server._serve())  # without uvicorn's signals, which are pytest's here
    while not server.started:
        await asyncio.sleep(0.01)  # uvicorn has no event for this
    try:
        yield Served(port, app.state.gateway)
    finally:
        server.should_exit = True
        await serving
