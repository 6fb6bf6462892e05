"""HTTP routes of the browser client's page and of the pages that workflows publish."""

import uuid
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from server.engine.containment import brief, describe
from server.errors import ERROR_CODES, ErrorCode, StoreError, WorkflowError, describe_problem
from server.records import Event
from server.store.library import Library
from server.web.problem import problem
from server.web.unknown_workflow import render_unknown
from server.workflows.page import Page
from server.workflows.table import Workflow

log = structlog.get_logger()

STATIC: Final = Path(__file__).parent / "static"
#: Browsers load only resources of this server into a page.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: Paths of the server's own routes.
_TAKEN: Final = frozenset({"api", "health", "healthz", "metrics", "readyz", "static", "version", "ws"})


def pages(library: Library, workflows: Collection[Workflow]) -> list[BaseRoute]:
    """The routes of `/` and of the published pages. Raises WorkflowError when a page's path is already taken."""

    names = {workflow.name for workflow in workflows}

    async def page(request: Request) -> Response:
        """The browser client, whose script reads the workflow from the address; 404 for an unknown workflow."""
        name = request.query_params.get("workflow")
        if name is not None and name not in names:
            return HTMLResponse(render_unknown(name, names), 404, headers=SECURITY_HEADERS)
        return FileResponse(STATIC / "index.html", headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})

    published = [workflow.page for workflow in workflows if workflow.page is not None]
    _check(published)
    return [Route("/", page), *(Route(f"/{one.path}/{{message_id}}", _serve(library, one)) for one in published)]


def _check(published: list[Page]) -> None:
    paths = [page.path for page in published]
    for path in paths:
        if path in _TAKEN or paths.count(path) > 1:
            raise WorkflowError(
                None, [f"a page cannot be published at /{path}/: that path is taken, so name another one"]
            )


def _serve(library: Library, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        """The page of the event in the address. Its id cannot be guessed, so knowing it is the permission."""
        try:
            event = await library.published(request.path_params["message_id"], page.frame_type)
        except StoreError:
            return problem(503, ErrorCode.STORE_UNAVAILABLE)
        if event is None:
            return problem(404, ErrorCode.NOT_FOUND)
        try:
            shown = page.render(event.payload)
            body = shown.encode(errors="replace")
        except BaseException as error:  # noqa: BLE001  a stored payload may hold anything, and the page is a workflow's
            return page_broken(event, error)
        return HTMLResponse(body, headers={**SECURITY_HEADERS, "X-Robots-Tag": "noindex"})

    return serve


def page_broken(event: Event, error: BaseException) -> JSONResponse:
    """The HTTP 500 response for a page whose `render` raised. Logs the reason.

    - `page_broken` (error): session_id, message_id, reason, correlation_id, and the traceback.
    """
    correlation_id = uuid.uuid4().hex
    log.error(
        "page_broken",
        session_id=event.session_id,
        message_id=event.message_id,
        reason=describe(error),
        correlation_id=correlation_id,
        exc_info=brief(error),
    )
    words = f"{ERROR_CODES[ErrorCode.PAGE_BROKEN].message} (Reference {correlation_id[:8]}.)"
    said = describe_problem(500, ErrorCode.PAGE_BROKEN, words)
    return JSONResponse(said, 500, media_type="application/problem+json")
