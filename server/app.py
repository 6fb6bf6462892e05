"""The composition root: settings → store, broker, engine, routes. The only file that knows every part."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from server.assistant.vendors import open_model
from server.broker.open import open_fanout
from server.engine.engine import Engine
from server.engine.leases import LocalLeases, StoreLeases
from server.engine.upkeep import Upkeep
from server.ops.metrics import Exposed
from server.ops.migrate import at_start
from server.settings import Settings, mask_url
from server.store.library import FullStore
from server.store.open import is_shared, open_store
from server.web.health import Health, health_routes
from server.web.pages import STATIC, pages
from server.web.websocket import Gateway
from server.wire.dialects import Dialect
from server.wire.dialects.builder import Builder
from server.wire.dialects.native import Native
from server.workflows.registry import find_workflows
from server.workflows.table import Workflow

log = structlog.get_logger()

#: How long a store that has had no time to disconnect may still take for it, in seconds.
_LAST_S: Final = 0.5


class Application(Starlette):
    """Routes, and before all of them the WebSocket: what wraps a route would wrap every frame, and stay for as long."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        if scope["type"] == "websocket" and scope["path"] == "/ws":
            await self.state.gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    workflows: Mapping[str, Workflow] | None = None,
    store: FullStore | None = None,
    dialects: Sequence[Dialect] = (),
) -> Starlette:
    """The ASGI application. `workflows` and `store` replace those of the settings.

    `dialects` are spoken besides the native one and the builder's, and come first in the choice.

    Raises ConfigError, and WorkflowError for a wrong table.
    """
    kept = store or open_store(settings)
    fanout = open_fanout(settings)
    shared = is_shared(settings)
    model = None
    if (spec := settings.spec) is not None:
        api_key, base_url = settings.vendor(spec.vendor)
        model = open_model(spec, api_key=api_key, base_url=base_url, connection_limit=settings.assistant_connections)
    # In a single process no other process can run a line, so a takeover need not wait.
    engine = Engine(
        kept,
        fanout.broker,
        find_workflows() if workflows is None else workflows,
        settings,
        leases=StoreLeases(kept, settings.takeover_ms) if shared else LocalLeases(),
        takeover_ms=settings.takeover_ms if shared else 0,
        assistant=model,
    )
    rounds = Upkeep(engine, settings, shared=shared)
    builder = Builder(gap_ms=settings.builder_frame_gap_ms, replay_gap_ms=settings.builder_replay_gap_ms)
    gateway = Gateway(engine, settings, (*dialects, Native(), builder))
    health = Health(kept, gateway, fanout.broker if settings.redis_url else None)
    exposed = Exposed(engine.figures, lambda: len(gateway.connections), engine.count_awake)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await at_start(settings)
        await kept.open()
        fanout.start(engine, rounds.look)
        engine.start()
        rounds.start()
        log.info(
            "started",
            store=mask_url(settings.store_url),
            durability=kept.durability,
            shared=shared,
            assistant=settings.assistant,
        )
        yield
        try:
            async with asyncio.timeout(settings.store_timeout_ms / 1000):
                for part in (rounds, engine, fanout, kept):
                    await part.close()
                if model is not None:
                    await model.aclose()
            log.info("stopped")
        except TimeoutError:  # the store stands still: what it has not confirmed was not acknowledged
            log.warning("stopped_in_haste")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await kept.close()

    app = Application(
        routes=[
            *pages(kept, engine.workflows.values()),
            *health_routes(health, exposed),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    app.state.engine = engine
    return app
