"""The endpoint `/ws`: connects an ASGI WebSocket with a subscriber.

The receive loop never waits for a turn, a store or a slow reader, so the server answers a ping at once, also while a
turn runs.
"""

import asyncio
import contextlib
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec
import structlog

from server.engine.engine import Engine
from server.engine.subscriber import Subscriber
from server.errors import CloseCode, ErrorCode, ProtocolError, describe_problem
from server.machines.connection import Cursor
from server.records import ID_MAX_CHARS, SessionKey, is_id
from server.settings import Settings
from server.web.access.identity import Principal, identify
from server.web.rate_limit import TokenBucket
from server.web.send_queue import WebSocketOutlet
from server.web.send_queue import Wire as Written
from server.web.uvicorn_socket import WIRE_EXTENSION
from server.wire import protocol
from server.wire.dialects import Dialect, choose
from server.wire.protocol import Transient

ASGIReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]
ASGISend = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = structlog.get_logger()

DEFAULT_WORKFLOW = "builder"
_UUID: Final = re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_JITTER = 0.2
#: At a drain, the time over which clients reconnect, so that a new process can accept all of them.
_SPREAD_MIN_MS = 500
_SPREAD_MS_EACH = 2
#: How long a drain waits for the sockets to close, in seconds.
_CLOSE_S = 3


class Request(msgspec.Struct, frozen=True):
    """The parameters of a connection. `dialect` is None when the client offers only versions that no dialect has."""

    principal: Principal
    session_id: str
    workflow: str
    cursor: Cursor
    dialect: Dialect | None

    @property
    def key(self) -> SessionKey:
        """The session's identity."""
        return self.principal.session(self.session_id)


class Refusal(msgspec.Struct, frozen=True):
    """Why a connection is refused before the upgrade."""

    status: int
    code: ErrorCode
    detail: str = ""
    retry_after_s: int | None = None


class Gateway:
    """The WebSocket endpoint, and its open connections."""

    def __init__(self, engine: Engine, settings: Settings, dialects: Sequence[Dialect]) -> None:
        self._engine = engine
        self._settings = settings
        self._dialects = dialects
        self.connections: set[WebSocketConnection] = set()
        self.draining = False
        self._left = asyncio.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one connection, as an ASGI application."""
        await receive()  # websocket.connect
        request = self._refuse_or_read(scope)
        if isinstance(request, Refusal):
            await _refuse(send, request)
            return
        with contextlib.suppress(OSError):  # the peer is gone: it knows its cursor, and the log has every event
            if request.dialect is None:
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.close", "code": int(CloseCode.VERSION)})
                return
            wire = scope["extensions"][WIRE_EXTENSION]["wire"]
            connection = WebSocketConnection(self._engine, request, receive, send, wire)
            await send({"type": "websocket.accept", "subprotocol": request.dialect.subprotocol})
            self.connections.add(connection)
            del request  # so that an idle connection does not keep it in memory
            try:
                await connection.run()
            finally:
                self.connections.discard(connection)
                self._left.set()

    async def drain(self) -> None:
        """Move all clients to another process: send them `drain`, wait for the running turns, close the connections."""
        self.draining = True
        spread_ms = _SPREAD_MIN_MS + len(self.connections) * _SPREAD_MS_EACH
        for connection in self.connections:
            connection.tell_drain(spread_ms)
        await self._engine.drain()
        for connection in self.connections:
            connection.close(CloseCode.DRAIN)
        with contextlib.suppress(TimeoutError):  # uvicorn closes the remaining connections with a code of its own
            async with asyncio.timeout(_CLOSE_S):
                while self.connections:
                    self._left.clear()
                    await self._left.wait()

    def _refuse_or_read(self, scope: MutableMapping[str, Any]) -> Request | Refusal:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin, allowed = headers.get(b"origin"), self._settings.allowed_origins
        if origin is not None and "*" not in allowed and origin.lower() not in allowed:
            return Refusal(403, ErrorCode.ORIGIN_REFUSED, retry_after_s=None)
        if self.draining:
            return Refusal(503, ErrorCode.DRAINING, retry_after_s=1)
        if len(self.connections) >= self._settings.connection_limit:
            return Refusal(503, ErrorCode.OVERLOADED, retry_after_s=5)
        dialect = choose(self._dialects, scope["subprotocols"])
        request = read_request(scope["query_string"], dialect, self._engine.workflows.keys())
        if isinstance(request, Request):
            others = self._engine.broker.subscribers(request.key)
            if len(others) >= self._settings.connections_per_session_limit:
                return Refusal(429, ErrorCode.OVERLOADED, "too many connections to this session", retry_after_s=5)
        return request


class Wire(Written, Protocol):
    """The transport of a WebSocket: frames are written to it, and it calls `on_text` for each text received."""

    on_text: Callable[[str], None] | None
    on_writable: Callable[[], None] | None


class WebSocketConnection:
    """One WebSocket. The transport calls `on_text` with texts; `receive` gives only binary messages and the end."""

    def __init__(self, engine: Engine, request: Request, receive: ASGIReceive, send: ASGISend, wire: Wire) -> None:
        assert request.dialect is not None
        self._settings = settings = engine.settings
        self._receive = receive
        self._send = send
        self._wire = wire
        self._outlet = WebSocketOutlet(wire, settings, self._say_goodbye)
        self._goodbye: asyncio.Task[None] | None = None
        key = request.key
        self._subscriber = Subscriber(
            engine, self._outlet, key, request.cursor, workflow=request.workflow, dialect=request.dialect
        )
        self._outlet.on_drained = self._subscriber.drained
        dialect = self._subscriber.dialect
        self._dialect = dialect
        self._lines = TokenBucket(settings.line_rate_per_s, settings.line_burst)
        self._frames = TokenBucket(settings.frame_rate_per_s, settings.frame_burst)
        self._heard = self._opened = time.monotonic()
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0
        self._frame_max_bytes, self._text_max_chars = settings.frame_max_bytes, settings.text_max_chars
        self._log = log.bind(
            session_id=key.session_id,
            user_id=key.user_id,
            connection_id=self._subscriber.number,
            dialect=dialect.name,
        )
        wire.on_text, wire.on_writable = self._take, self._outlet.flush

    async def run(self) -> None:
        """Serve until the client or the server closes."""
        self._log.info("connection_opened")
        if self._dialect.pings:
            self._schedule_beat()
        self._subscriber.open()
        try:
            code = await self._receive_loop()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._wire.on_text, self._wire.on_writable = _ignore_text, None
            self._outlet.closed()
            self._subscriber.closed()
            if self._goodbye is not None:
                self._goodbye.cancel()
        self._log.info(
            "connection_closed",
            code=int(self._outlet.close_code or code),
            seconds=round(time.monotonic() - self._opened, 1),
            received=self._received,
            sent=self._outlet.sent,
            replayed=self._subscriber.replayed,
        )

    def close(self, code: CloseCode) -> None:
        """Close with this code once the queue has gone out."""
        self._outlet.close(code)

    def tell_drain(self, spread_ms: int) -> None:
        """Send `drain`: the client reconnects after a random time below `spread_ms`, so that not all come at once."""
        self._subscriber.show(Transient("drain", {"after_ms": random.randrange(spread_ms)}))

    def _say_goodbye(self, code: CloseCode) -> None:
        self._goodbye = asyncio.create_task(self._close(code), name=f"close {self._subscriber.number}")

    async def _close(self, code: CloseCode) -> None:
        with contextlib.suppress(OSError):
            await self._send({"type": "websocket.close", "code": int(code)})

    async def _receive_loop(self) -> int:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            self._take(message.get("text"))

    def _take(self, text: str | None) -> None:
        """Handle one message of the client; `text` is None for a binary one."""
        self._heard = now = time.monotonic()
        self._received += 1
        if self._outlet.close_code is not None:
            return  # closing: this message gets no ack, so the client sends it again to another process
        if self._frames.wait_ms(now):
            self._outlet.close(CloseCode.RATE_LIMITED)
            return
        if text is None:
            self._subscriber.refuse(ErrorCode.BINARY_FRAME)
            return
        try:
            frame = self._dialect.parse(
                text, frame_max_bytes=self._frame_max_bytes, text_max_chars=self._text_max_chars
            )
        except ProtocolError as error:
            self._subscriber.refuse(error.code, error.client_id)
            return
        match frame:
            case protocol.Say() | protocol.Cancel():
                if wait_ms := self._lines.wait_ms(now):
                    self._subscriber.refuse(ErrorCode.RATE_LIMITED, frame.client_id, wait_ms)
                else:
                    self._subscriber.receive(frame)
            case protocol.Resume():
                self._subscriber.receive(frame)
            case protocol.Ping(bare=True):
                self._outlet.put_urgent(b"pong")
            case protocol.Ping(n):
                for answer in self._subscriber.encode(Transient("pong", {"n": n})):
                    self._outlet.put_urgent(answer)
            case protocol.Authenticate():
                self._subscriber.refuse(ErrorCode.AUTH_NOT_ENABLED)
            case protocol.Pong():
                pass

    def _schedule_beat(self) -> None:
        wait_ms = self._settings.heartbeat_ms * random.uniform(1 - _JITTER, 1 + _JITTER)
        left_ms = self._settings.heartbeat_lost_ms - (time.monotonic() - self._heard) * 1000
        self._timer = asyncio.get_running_loop().call_later(max(0.0, min(wait_ms, left_ms)) / 1000, self._beat)

    def _beat(self) -> None:
        """Send a ping with the log's last `seq`, or abort the connection of a client that was silent for too long."""
        silent_ms = (time.monotonic() - self._heard) * 1000
        if silent_ms >= self._settings.heartbeat_lost_ms:
            self._outlet.close_code = CloseCode.HEARTBEAT_LOST
            self._wire.abort()
            return
        self._beats += 1
        self._subscriber.show(Transient("ping", {"n": self._beats, "head": self._subscriber.head}))
        self._schedule_beat()


def read_request(query_string: bytes, dialect: Dialect | None, workflows: Collection[str]) -> Request | Refusal:
    """Parse the query of a connection. Returns a Refusal for a wrong parameter or an unknown workflow."""
    try:
        pairs = parse_qs(query_string.decode("ascii"), errors="strict")
        query = {name: values[-1] for name, values in pairs.items()}
        after = _count(query.get("after"))
    except ValueError:
        return Refusal(400, ErrorCode.BAD_REQUEST, "the query is UTF-8, percent-encoded, and after is a whole number")
    session_id = _session_id(query.get("session_id"))
    if session_id is None:
        return Refusal(400, ErrorCode.BAD_REQUEST, f"session_id has 1 to {ID_MAX_CHARS} printable characters")
    principal = identify(query)
    if principal is None:
        return Refusal(400, ErrorCode.BAD_REQUEST, f"user_id has 1 to {ID_MAX_CHARS} printable characters")
    workflow = query.get("workflow", DEFAULT_WORKFLOW)
    if workflow not in workflows:
        return Refusal(400, ErrorCode.BAD_REQUEST, "there is no such workflow")
    skip = query.get("skip_history") == "true"
    shown = query.get("message_count", "")
    cursor = Cursor(
        after=after,
        last_message_id=query.get("last_message_id") or None,
        skip_history=skip,
        message_count=int(shown) if skip and shown.isascii() and shown.isdigit() and len(shown) < 10 else None,
    )
    return Request(principal, session_id, workflow, cursor, dialect)


def _ignore_text(_text: str) -> None:
    """Ignore a text that arrives after the connection has ended."""


def _session_id(text: str | None) -> str | None:
    """The id that the client gave, or a new one; None for a text that cannot be an id.

    A UUID is returned in lower case, because sessions of clients that send capitals are stored so. Any other id is
    returned unchanged.
    """
    if text is None:
        return str(uuid.uuid4())
    if _UUID.fullmatch(text):
        return text.lower()
    return text if is_id(text) else None


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError
    return int(text)


async def _refuse(send: ASGISend, refusal: Refusal) -> None:
    """Answer the upgrade with an HTTP status, as `application/problem+json`."""
    problem = msgspec.json.encode(describe_problem(refusal.status, refusal.code, refusal.detail))
    headers = [(b"content-type", b"application/problem+json")]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": problem})
