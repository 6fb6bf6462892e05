"""The composition root: settings → store, broker, engine, routes. The only file that knows every part."""

import contextlib
from collections.abc import AsyncIterator, Mapping

import structlog
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from server.api import STATIC, Health, pages
from server.broker import LocalBroker
from server.engine import Engine
from server.settings import Settings, mask_url
from server.store import Store
from server.store.url import open_store
from server.websocket import Gateway
from server.workflow import Workflow
from server.workflows import WORKFLOWS

log = structlog.get_logger()


def create_app(
    settings: Settings, *, workflows: Mapping[str, Workflow] | None = None, store: Store | None = None
) -> Starlette:
    """The ASGI application. `workflows` and `store` replace those of the settings."""
    kept = store or open_store(settings)
    broker = LocalBroker()
    # One process is all there is: a line that nobody runs here is run by nobody, so nothing is waited for.
    engine = Engine(kept, broker, workflows or WORKFLOWS, settings, takeover_ms=0)
    gateway = Gateway(engine, settings)
    health = Health(kept, gateway)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await kept.open()
        engine.start()
        log.info("started", store=mask_url(settings.store_url), durability=kept.durability)
        yield
        await engine.close()
        await kept.close()
        log.info("stopped")

    app = Starlette(
        routes=[
            WebSocketRoute("/ws", gateway),
            *pages(kept, health),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    app.state.engine = engine
    return app
