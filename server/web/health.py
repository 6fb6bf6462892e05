"""HTTP endpoints for the operator: liveness, readiness, version and metrics."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from server import __version__
from server.errors import ErrorCode, StoreError
from server.ops.metrics import MEDIA_TYPE, Exposed
from server.records import SessionKey
from server.store import Store
from server.web.problem import problem

#: A session that cannot exist, for no id is empty: reading it asks the store whether it answers.
_NO_SESSION = SessionKey(user_id="", session_id="")


class Draining(Protocol):
    """Knows whether the server is shutting down."""

    draining: bool


class Connected(Protocol):
    """Whatever stands between this process and the others."""

    @property
    def connected(self) -> bool: ...  # noqa: D102


class Health:
    """Whether this process is alive, and whether it can serve. `broker` is None where there is nothing to ask."""

    def __init__(self, store: Store, gateway: Draining, broker: Connected | None = None) -> None:
        self._store = store
        self._gateway = gateway
        self._broker = broker

    async def alive(self, _request: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": "ok", "service": "rejoinder", "version": __version__})

    async def ready(self, _request: Request) -> Response:
        """Ready: the store answers and the server is not draining. Without its broker it is slower, but ready."""
        if self._gateway.draining:
            return problem(503, ErrorCode.DRAINING)
        try:
            await self._store.load(_NO_SESSION, 0, 0)
        except StoreError:
            return problem(503, ErrorCode.STORE_UNAVAILABLE)
        if self._broker is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "ready", "broker": "connected" if self._broker.connected else "away"})

    async def version(self, _request: Request) -> Response:
        """Which version runs."""
        return JSONResponse({"version": __version__})


def health_routes(health: Health, exposed: Exposed) -> list[BaseRoute]:
    """`/healthz` (and `/health`), `/readyz`, `/version`, `/metrics`."""

    async def metrics(_request: Request) -> Response:
        return Response(exposed.text(), media_type=MEDIA_TYPE)

    return [
        Route("/health", health.alive),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/version", health.version),
        Route("/metrics", metrics),
    ]
