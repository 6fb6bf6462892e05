"""HTTP: the page, decks, health, figures."""

from pathlib import Path
from typing import Protocol

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from server import __version__
from server.errors import StoreError, describe_problem
from server.ops.metrics import MEDIA_TYPE, Exposed
from server.records import SessionKey
from server.store import Store
from server.workflows.builder.deck_page import render_deck

STATIC = Path(__file__).parent / "static"
#: Pages load what this server serves and nothing else.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: A session that cannot exist, for no id is empty: reading it asks the store whether it answers.
_NO_SESSION = SessionKey(user_id="", session_id="")


class Draining(Protocol):
    """Whoever knows that the server is going away."""

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
        """The store answers and nobody is being sent away. Without its broker a process is slower, and ready."""
        if self._gateway.draining:
            return problem(503, "draining")
        try:
            await self._store.load(_NO_SESSION, 0, 0)
        except StoreError:
            return problem(503, "store_unavailable")
        if self._broker is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "ready", "broker": "connected" if self._broker.connected else "away"})

    async def version(self, _request: Request) -> Response:
        """Which version runs."""
        return JSONResponse({"version": __version__})


def pages(store: Store, health: Health, exposed: Exposed) -> list[BaseRoute]:
    """The routes of everything but `/ws` and `/static`."""

    async def page(_request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})

    async def deck(request: Request) -> Response:
        """A deck is the slide_update that it was made from; its id is unguessable and opens it to anyone who has it."""
        try:
            event = await store.deck(request.path_params["presentation_id"])
        except StoreError:
            return problem(503, "store_unavailable")
        if event is None:
            return problem(404, "not_found")
        return HTMLResponse(render_deck(event.payload), headers={**SECURITY_HEADERS, "X-Robots-Tag": "noindex"})

    async def metrics(_request: Request) -> Response:
        return Response(exposed.text(), media_type=MEDIA_TYPE)

    return [
        Route("/", page),
        Route("/decks/{presentation_id}", deck),
        Route("/health", health.alive),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/version", health.version),
        Route("/metrics", metrics),
    ]


def problem(status: int, code: str) -> JSONResponse:
    """An error as `application/problem+json`, with the wire's code."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(describe_problem(status, code), status, headers=headers, media_type="application/problem+json")
