"""Supabase's front door: checks the key, swaps it for a role's token, passes the request on to PostgREST.

Answers as far as they were seen: a request without a known `apikey` is 401 with a JSON body that has no `code`; a key
that is no token (`sb_…`) becomes a short-lived token of its role, unless the request brings a user's token. And it
fails when it is told to, in the ways of a gateway.
"""

import asyncio
import contextlib
import enum
import ssl
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from tests.services.loop_thread import LoopThread
from tests.support.process import free_port

PREFIX: Final = "/rest/v1"
#: Of one connection only, or made anew by whoever sends the next message.
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
PAGE: Final = "<html><head><title>Bad gateway</title></head><body>cloudflare</body></html>"


class Fault(enum.Enum):
    """What happens to a request instead of its answer; `executed` says whether PostgREST has it."""

    REFUSED = "the connection ends before the request went on"
    LOST = "PostgREST executed it, and the connection ends without an answer"
    CUT = "PostgREST executed it, and the connection ends in the middle of the answer"
    STALLED = "nothing comes for as long as the client waits"
    LATE = "PostgREST executed it, and nothing comes for as long as the client waits"
    BROKEN = "400 with an error that has no code: PostgREST 12, when it loses its database; it had executed it"
    UNAVAILABLE = "503 with JSON"
    BAD_GATEWAY = "502 with a page"
    UNKNOWN = "520 with a page"
    PAGE = "200 with a page"
    EMPTY = "200 with nothing"
    GARBLED = "200 with what was to be JSON"

    @property
    def executed(self) -> bool:
        return self in (Fault.LOST, Fault.CUT, Fault.LATE, Fault.BROKEN)


class Gateway:
    """Serves on a loopback port of its own until `stop`, and again on the same port after `start`.

    `keys` are the API keys, each with the token that PostgREST gets for it. `calls` counts requests by their paths,
    `versions` and `protocols` have what was spoken: HTTP version, TLS's ALPN. `tls` makes it https.
    """

    def __init__(self, upstream: Path, keys: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.calls: Counter[str] = Counter()
        self.versions: set[tuple[int, int]] = set()
        self.protocols: set[str | None] = set()
        self.in_flight = 0
        self.most_in_flight = 0
        self._upstream = upstream
        self.keys = dict(keys)
        self._tls = tls
        self._faults: list[tuple[str, Fault]] = []
        self._thread: LoopThread | None = None
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._thread is not None

    def fail(self, fault: Fault, *, times: int = 1, function: str = "") -> None:
        """The next `times` requests fare so; with `function`, the next calls of that function."""
        self._faults += [(function, fault)] * times

    def heal(self) -> None:
        """Forget the faults that were not used up."""
        self._faults.clear()

    def start(self) -> None:
        """Listen."""
        assert self._thread is None
        self._thread = LoopThread("gateway")
        self._thread.run(self._open())

    def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._thread is not None:
            self._thread.run(self._close())
            self._thread.close()
            self._thread = None

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(self._upstream), limit=0),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()

    async def _close(self) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.calls[request.path] += 1
        self.versions.add((request.version.major, request.version.minor))
        tls = request.get_extra_info("ssl_object")
        self.protocols.add(tls.selected_alpn_protocol() if tls is not None else None)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._take(request.path)
        if fault is not None and not fault.executed:
            return await _fail(request, fault)
        if not request.path.startswith(PREFIX + "/"):
            return web.json_response({"message": "no Route matched with those values"}, status=404)
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        response = await self._forward(request, self._headers(request), body)
        return response if fault is None else await _fail(request, fault, response)

    def _take(self, path: str) -> Fault | None:
        for place, (function, fault) in enumerate(self._faults):
            if path.endswith(function):
                del self._faults[place]
                return fault
        return None

    def _refuse(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("apikey")
        is_browser = request.headers.get("user-agent", "").startswith("Mozilla/")
        if key is None:
            message = "No API key found in request"
        elif key not in self.keys or (key.startswith("sb_secret_") and is_browser):
            message = "Invalid API key"
        else:
            return None
        return web.json_response({"message": message, "hint": "Double check your API key."}, status=401)

    def _headers(self, request: web.Request) -> dict[str, str]:
        """What goes on to PostgREST: without the key, with a token."""
        headers = {name.lower(): value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        key = headers.pop("apikey")
        if headers.get("authorization", "Bearer sb_").startswith("Bearer sb_"):
            headers["authorization"] = f"Bearer {self.keys[key]}"
        return headers

    async def _forward(self, request: web.Request, headers: dict[str, str], body: bytes) -> web.Response:
        assert self._session is not None
        path = request.raw_path.removeprefix(PREFIX)
        try:
            async with self._session.request(
                request.method, f"http://localhost{path}", data=body or None, headers=headers
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError:  # PostgREST is away, or went away
            return web.Response(status=502, text=PAGE, content_type="text/html")


async def _fail(request: web.Request, fault: Fault, response: web.Response | None = None) -> web.StreamResponse:
    match fault:
        case Fault.BROKEN:
            return web.json_response(dict.fromkeys(("code", "message"), ""), status=400)
        case Fault.UNAVAILABLE:
            return web.json_response({"message": "no healthy upstream"}, status=503)
        case Fault.BAD_GATEWAY | Fault.UNKNOWN | Fault.PAGE:
            status = {Fault.BAD_GATEWAY: 502, Fault.UNKNOWN: 520, Fault.PAGE: 200}[fault]
            return web.Response(status=status, text=PAGE, content_type="text/html")
        case Fault.EMPTY:
            return web.Response(status=200, content_type="application/json")
        case Fault.GARBLED:
            return web.Response(status=200, text='[["committed", 1', content_type="application/json")
        case Fault.CUT:
            assert response is not None
            assert isinstance(response.body, bytes)
            begun = web.StreamResponse(status=response.status, headers=response.headers)
            begun.content_length = len(response.body)
            await begun.prepare(request)
            await begun.write(response.body[: len(response.body) // 2])
        case Fault.STALLED | Fault.LATE:
            with contextlib.suppress(ConnectionError):
                while request.transport is not None and not request.transport.is_closing():
                    await asyncio.sleep(0.01)
        case Fault.REFUSED | Fault.LOST:
            pass
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
