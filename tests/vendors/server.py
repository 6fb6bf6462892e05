"""The vendors' server: a plain ASGI application on uvicorn, in a thread of its own.

The thread keeps the pace of a slow stream apart from the test's event loop, and lets a test of whatever kind (async,
sync, another process) use it.
"""

import asyncio
import re
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, cast

import msgspec
import uvicorn

from tests.vendors import anthropic, google, openai_chat, openai_responses
from tests.vendors.asked import said
from tests.vendors.plays import Play, say
from tests.vendors.wire import Format, Reply, sse

FORMATS: Final[dict[str, Format]] = {
    "openai": cast(Format, openai_chat),
    "openai-responses": cast(Format, openai_responses),
    "anthropic": cast(Format, anthropic),
    "google": cast(Format, google),
}
WAIT_S: Final = 30.0
GREETING: Final = "Hello there, this is an answer."
_HTML: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Call:
    """One request, and what became of it. Times are monotonic seconds."""

    vendor: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    began: float
    sent: list[str] = field(default_factory=list)
    #: `answered`: all was sent. `cut`: we broke off. `left`: the client went away before the end.
    outcome: Literal["running", "answered", "cut", "left"] = "running"
    ended: float | None = None

    @property
    def said(self) -> list[tuple[str, str]]:
        """The messages as (role, text), the system prompt first."""
        return said(self.vendor, self.body)


class Vendors:
    """All vendors on one port. Requests meet the plays given to `next`, then for ever the one given here."""

    def __init__(self, play: "Play | Callable[[Call], Play] | None" = None) -> None:
        #: What requests meet; a function makes it of what was asked.
        self.play = play or say(GREETING)
        self.calls: list[Call] = []
        self._next: deque[Play] = deque()
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(WAIT_S)
        self._socket.close()

    def url(self, vendor: str) -> str:
        """The base URL of a vendor, as one configures it."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{FORMATS[vendor].ROOT}"

    def reset(self) -> None:
        """As at the start: for a server that several tests use."""
        self.play = say(GREETING)
        self.calls.clear()
        self._next.clear()

    def next(self, *plays: Play) -> None:
        """What the next requests meet, in this order."""
        self._next.extend(plays)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds that happens in the server's thread."""
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain: {what}"
            await asyncio.sleep(0.002)  # polling another thread

    # ------------------------------------------------------------ the application

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path, whole, more = scope["path"], b"", True
        while more:
            message = await receive()
            whole, more = whole + message.get("body", b""), message.get("more_body", False)
        vendor = next((name for name, form in FORMATS.items() if re.fullmatch(form.PATH, path)), None)
        if vendor is None:
            await _reply(send, Reply(404, {"error": {"message": f"no route {path}"}}))
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = msgspec.json.decode(whole, type=dict[str, Any])
        call = Call(vendor, path, headers, body, time.monotonic())
        self.calls.append(call)
        play = self._next.popleft() if self._next else self.play(call) if callable(self.play) else self.play
        form = FORMATS[vendor]
        if not headers.keys() & set(form.HAS_KEY.split("|")):
            play = Play(fault="unauthorised")
        gone = asyncio.ensure_future(_gone(receive))
        answer = asyncio.ensure_future(_answer(form, call, play, send))
        await asyncio.wait({gone, answer}, return_when=asyncio.FIRST_COMPLETED)
        call.ended = time.monotonic()
        if not answer.done():
            call.outcome = "left"
            answer.cancel()
        gone.cancel()
        await asyncio.gather(gone, answer, return_exceptions=True)


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(form: Format, call: Call, play: Play, send: Any) -> None:
    if play.fault == "html":
        await _reply_raw(send, 502, _HTML, {"content-type": "text/html"})
    elif play.fault is not None:
        reply = form.fault(play.fault, play.retry_after)
        if reply.status == 200:
            await _reply_raw(send, 200, sse(reply.body), {"content-type": "text/event-stream"})
        else:
            await _reply(send, reply)
    else:
        if play.ending == "mute":
            await asyncio.Event().wait()
        await _start(send, 200, {"content-type": "text/event-stream; charset=utf-8"})
        async for chunk in _stream(form, call, play):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if play.ending == "cut":
            call.outcome = "cut"
            return  # without the end of the body, uvicorn drops the connection
        await send({"type": "http.response.body", "body": b""})
    call.outcome = "answered"


async def _stream(form: Format, call: Call, play: Play) -> AsyncIterator[bytes]:
    body = call.body
    as_object = form.wants_object(body) and not play.in_words
    pieces = ("".join(play.pieces),) if form.WHOLE_OBJECTS and as_object and play.pieces else play.pieces
    start = time.monotonic()
    for chunk in form.start(body, as_object=as_object):
        yield chunk
    for number, text in enumerate(pieces):
        if play.per_s:
            await asyncio.sleep(max(0.0, start + (number + 1) / play.per_s - time.monotonic()))
        for chunk in form.piece(body, text, as_object=as_object):
            yield chunk
        call.sent.append(text)
    tokens = (len(form.input_text(body)) // 4, len(pieces))
    match play.ending:
        case "finish" | "length":
            last = form.finish(body, play, tokens, as_object=as_object)
        case "refusal":
            last = form.refusal(body, tokens)
        case "overload":
            last = form.overload(body)
        case "garbage":
            last = iter((form.garbage(),))
        case "hang":
            await asyncio.Event().wait()
            return
        case _:
            return
    for chunk in last:
        yield chunk


async def _reply(send: Any, reply: Reply) -> None:
    headers = {"content-type": "application/json", **reply.headers}
    await _reply_raw(send, reply.status, msgspec.json.encode(reply.body), headers)


async def _reply_raw(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})


async def _start(send: Any, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
