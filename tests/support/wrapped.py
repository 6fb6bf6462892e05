"""A store that fails on demand, around a real one; and a server in this process around such a store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import uvicorn

from server.app import create_app
from server.errors import StoreUnavailable
from server.records import Outcome, SessionKey, Write
from server.settings import Settings
from server.store.library import FullStore
from server.web.uvicorn_socket import BoundedWebSocketProtocol
from server.web.websocket import Gateway
from server.wire.dialects import Dialect
from server.workflows.table import Workflow
from tests.support.passing_store import PassingStore
from tests.support.process import free_port


class FailingStore(PassingStore):
    """Passes everything on, and counts it, unless the method's name stands in `broken`."""

    def __init__(self, store: FullStore) -> None:
        super().__init__(store)
        self.broken: set[str] = set()
        self.calls: dict[str, int] = {}
        self.committed: list[Write] = []
        self.woken: list[int] = []

    async def reached(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if name in self.broken:
            raise StoreUnavailable(f"{name} is broken")

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        outcomes = await super().commit(writes)
        self.committed += writes
        if "answer" in self.broken:
            raise StoreUnavailable("the answer was lost")
        return outcomes

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        waiting = await super().pending(before_ms, limit)
        if waiting:
            self.woken.append(len(waiting))
        return waiting


class Served(int):
    """The port of a server, and its gateway."""

    gateway: Gateway

    def __new__(cls, port: int, gateway: Gateway) -> "Served":
        served = super().__new__(cls, port)
        served.gateway = gateway
        return served


@contextlib.asynccontextmanager
async def serve(
    store: FullStore,
    workflows: Mapping[str, Workflow],
    settings: Settings | None = None,
    *,
    dialects: Sequence[Dialect] = (),
) -> AsyncIterator["Served"]:
    """A server in this event loop."""
    settings = settings or Settings()
    app = create_app(settings, workflows=workflows, store=store, dialects=dialects)
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
