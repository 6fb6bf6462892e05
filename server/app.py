"""The composition root: settings → store, broker, engine, routes. The only file that knows every part."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from server.api import STATIC, Health, pages
from server.broker import LocalBroker
from server.engine import Engine
from server.errors import ConfigError
from server.settings import Settings, mask_url
from server.store import Store
from server.store.sqlite import MEMORY, SqliteStore
from server.websocket import Gateway
from server.workflow import Workflow
from server.workflows import WORKFLOWS

log = structlog.get_logger()


def open_store(settings: Settings) -> Store:
    """The store that STORE_URL names. Raises ConfigError for a kind that this version does not know."""
    url = settings.store_url
    if settings.redis_url:
        raise ConfigError(["REDIS_URL: this version runs as one process and knows no Redis; leave it unset"])
    if not url.startswith("sqlite:"):
        raise ConfigError([f"STORE_URL: this version keeps conversations in SQLite only (sqlite:///path), not {url}"])
    path = url.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if url.startswith("sqlite:////"):
        path = "/" + path.lstrip("/")
    return SqliteStore(path or MEMORY, synchronous=settings.sqlite_synchronous, busy_ms=settings.store_timeout_ms)


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
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await kept.open()
        engine.start()
        log.info("started", store=mask_url(settings.store_url), durability=kept.durability)
        yield {"gateway": gateway}
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
