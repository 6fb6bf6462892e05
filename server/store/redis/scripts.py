"""Calls Redis scripts so that each answer reaches its own caller, within a timeout.

A command is never cancelled: a cancelled one once left its answer in redis-py's connection, where the next caller read
it. When a caller is cancelled, its command runs on until its own timeouts. A command is never repeated either:
redis-py's retries are off, and the caller looks up an unknown outcome. Only a script that Redis does not know is sent
again, as its whole text: Redis has not run it.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from server.errors import ConfigError, InvalidWrite, StoreClosed, StoreUnavailable
from server.store.redis.durability import PROMISE, fields_of, refusal, weaknesses

_SCHEMES: Final = ("redis", "rediss", "unix")
#: The exceptions of a broken connection; uvloop raises RuntimeError for a write to one that was closed.
_FAULTS: Final = (RedisError, OSError, RuntimeError)

T = TypeVar("T")


class Script(NamedTuple):
    """A script and its SHA-1, by which Redis names it."""

    text: str
    sha: str


def script(name: str) -> Script:
    """Load the script from the file `name` of this package."""
    text = resources.files("server.store.redis").joinpath(name).read_text(encoding="utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisScripts:
    """The connections to one server, at most `connections`; further callers wait for a free one.

    Every new connection checks the server's durability, so changed settings are noticed after a restart.
    Raises ConfigError for a wrong URL.
    """

    def __init__(self, url: str, *, timeout_ms: int, connections: int) -> None:
        self.durability = "unknown until it is open"
        self._timeout_ms = timeout_ms
        url, self._weak = _read_url(url)
        self._pool = _make_pool(url, timeout_ms / 1000, connections, self._greet)
        self._redis = Redis(connection_pool=self._pool)
        self._running: set[asyncio.Task[bytes]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing is not None

    async def call(self, script: Script, answer: type[T], *request: object) -> T:
        """Run the script with `request` and decode its answer as type `answer`.

        Raises StoreUnavailable, also after the timeout; InvalidWrite for a lone surrogate; StoreClosed after `close`.
        """
        if self.is_closed:
            raise StoreClosed("the store is closed")
        try:
            packed = msgspec.msgpack.encode(request)
        except UnicodeEncodeError as error:
            raise InvalidWrite("an id holds a lone surrogate") from error
        running = asyncio.create_task(self._evaluate(script, packed), name="redis script")
        self._running.add(running)
        running.add_done_callback(self._ended)
        # `wait` does not cancel the task, neither after the timeout nor when this caller is cancelled.
        await asyncio.wait([running], timeout=self._timeout_ms / 1000)
        if not running.done():
            raise StoreUnavailable(f"Redis did not answer within {self._timeout_ms} ms")
        try:
            return msgspec.msgpack.decode(running.result(), type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StoreUnavailable(f"what is stored is damaged: {error}") from error

    async def close(self) -> None:
        """Wait for the running scripts, then disconnect. A second call waits for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._finish())
        await asyncio.shield(self._closing)

    async def disconnect(self) -> None:
        """Drop every connection; the next call makes a new one."""
        with contextlib.suppress(*_FAULTS):  # it was broken already
            await self._pool.disconnect()

    async def _finish(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        await self.disconnect()

    def _ended(self, running: asyncio.Task[bytes]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # mark it as retrieved: the caller may have been cancelled

    async def _evaluate(self, script: Script, request: bytes) -> bytes:
        """The raw answer. redis-py bounds each of its steps (pool, connect, send, read) by the timeout."""
        try:
            try:
                answer = await self._send("EVALSHA", script.sha, request)
            except NoScriptError:  # Redis was restarted, or its scripts were flushed
                answer = await self._send("EVAL", script.text, request)
        except _FAULTS as error:
            raise StoreUnavailable(_said(error)) from None  # the error may quote the command's arguments
        if not isinstance(answer, bytes):
            raise StoreUnavailable("Redis answered something else than the script does")
        return answer

    async def _send(self, command: str, script: str, request: bytes) -> object:
        return await self._redis.execute_command(command, script, 0, request)  # type: ignore[no-untyped-call]

    async def _greet(self, connection: AbstractConnection) -> None:
        """Set up a new connection and check the server. Raises RedisError when it is unsuitable or may lose data."""
        await connection.on_connect()
        info = fields_of(await _ask(connection, "INFO"))
        try:
            answer = await _ask(connection, "CONFIG", "GET", "*appendfsync*")
        except ResponseError:  # forbidden or renamed, as at many Redis hosting services
            config = None
        else:
            texts = [word.decode() for word in answer]
            config = dict(zip(texts[::2], texts[1::2], strict=True))
        if (reason := refusal(info)) is not None:
            raise RedisError(reason)
        self._judge(info, config)

    def _judge(self, info: Mapping[str, str], config: Mapping[str, str] | None) -> None:
        found = weaknesses(info, config)
        if found and not self._weak:
            raise RedisError(
                f"this Redis may lose what was acknowledged: {'; '.join(found)}. Set appendonly yes, appendfsync always"
                " and maxmemory-policy noeviction, or accept the loss with ?durability=weak in the URL"
            )
        self.durability = f"weak: {'; '.join(found)}" if found else PROMISE


async def _ask(connection: AbstractConnection, *words: str) -> Any:
    await connection.send_command(*words, check_health=False)
    return await connection.read_response()


def _said(error: Exception) -> str:
    """The error as text for the log, without the command's arguments: Redis quotes them for an unknown command."""
    text = str(error).partition(", with args")[0]
    return text if type(error) is RedisError else f"{type(error).__name__}: {text}"  # RedisError: `_greet` said it


def _read_url(url: str) -> tuple[str, bool]:
    """The URL for redis-py, and whether it accepts weak durability. Raises ConfigError.

    In redis-py the query overrides every argument, timeouts and retries included, so only the options `db` and `ssl_…`
    are passed on.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigError([f"STORE_URL: {parts.scheme}:// is no address of a Redis (redis://, rediss://, unix://)"])
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    durability = options.pop("durability", None)
    complaints = [
        f"STORE_URL: there is no option {name} for Redis"
        for name in options
        if name != "db" and not name.startswith("ssl_")
    ]
    if durability not in (None, "weak"):
        complaints.append("STORE_URL: durability can only be weak; left out, Redis must keep every commit")
    if complaints:
        raise ConfigError(complaints)
    return parts._replace(query=urlencode(options)).geturl(), durability is not None


def _make_pool(url: str, timeout_s: float, connections: int, greet: Any) -> BlockingConnectionPool:
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            socket_keepalive=True,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=greet,
            protocol=2,
            decode_responses=False,
        )
        pool.make_connection()  # type: ignore[no-untyped-call]  # connects to nothing, but reads every option
    except (ValueError, TypeError) as error:
        raise ConfigError(["STORE_URL: that is no address of a Redis (redis://host:port/db)"]) from error
    return pool
