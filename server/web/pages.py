"""HTTP: the page of the browser client, and the pages that workflows publish."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from server.errors import StoreError, WorkflowError
from server.store import Store
from server.web.problem import problem
from server.workflows.page import Page
from server.workflows.table import Workflow

STATIC: Final = Path(__file__).parent / "static"
#: Pages load what this server serves and nothing else.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: Paths that the server has for itself.
_TAKEN: Final = frozenset({"api", "health", "healthz", "metrics", "readyz", "static", "version", "ws"})


def pages(store: Store, workflows: Iterable[Workflow]) -> list[BaseRoute]:
    """The routes of `/` and of what the workflows publish. Raises WorkflowError when two pages cannot be told apart."""

    async def page(_request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})

    published = [workflow.page for workflow in workflows if workflow.page is not None]
    _check(published)
    return [Route("/", page), *(Route(f"/{one.path}/{{message_id}}", _serve(store, one)) for one in published)]


def _check(published: list[Page]) -> None:
    paths = [page.path for page in published]
    for path in paths:
        if path in _TAKEN or paths.count(path) > 1:
            raise WorkflowError(f"a page cannot be published at /{path}/: that path is taken")


def _serve(store: Store, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        """The event that the address names: its id is unguessable, and opens it to anyone who has it."""
        try:
            event = await store.published(request.path_params["message_id"], page.frame_type)
        except StoreError:
            return problem(503, "store_unavailable")
        if event is None:
            return problem(404, "not_found")
        return HTMLResponse(page.render(event.payload), headers={**SECURITY_HEADERS, "X-Robots-Tag": "noindex"})

    return serve
