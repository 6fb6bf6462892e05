"""Sessions in PostgreSQL: a direct connection, or one through a pooler.

A pooler may give each transaction another server connection, so the store keeps no state in a database session. Each
call is one unnamed statement and its own transaction. The store uses no named prepared statements, session settings,
session locks or listeners.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg  # type: ignore[import-untyped]
import msgspec
from asyncpg.prepared_stmt import PreparedStatement  # type: ignore[import-untyped]

from server.errors import InvalidWrite, StoreError, StoreUnavailable
from server.store.postgres.functions import FunctionStore
from server.store.rows import encode

#: A connection that was idle for longer is not used again: a firewall or proxy may have dropped it.
_REST_S: Final = 120.0
#: How long closing a connection may take.
_FAREWELL_S: Final = 1.0
#: Classes of SQLSTATE for wrong values in a write; all others concern the database.
_INVALID: Final = ("22", "23", "44", "54", "P0")
#: The exceptions of the driver, its sockets and timeouts.
_FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_FACTS: Final = """
select json_build_object(
    'is_ready', to_regprocedure('public.rejoinder_schema_v1()') is not null,
    'is_read_only', pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
    'isolation', current_setting('transaction_isolation'),
    'encoding', current_setting('server_encoding'),
    'synchronous_commit', current_setting('synchronous_commit'),
    'fsync', current_setting('fsync')
)
"""

T = TypeVar("T")


class Facts(msgspec.Struct, frozen=True):
    """The settings of a database that the store checks at open."""

    is_ready: bool
    is_read_only: bool
    isolation: str
    encoding: str
    synchronous_commit: str
    fsync: str


class Link(NamedTuple):
    """A connection, its statements by function, and when it was last used (monotonic seconds)."""

    connection: asyncpg.Connection
    statements: dict[str, PreparedStatement]
    used_at: float


class PostgresStore(FunctionStore):
    """Sessions in the PostgreSQL database of a `postgresql://` URL.

    `timeout_ms` is how long a call may take, including the wait for one of the `connections`.
    """

    def __init__(self, dsn: str, *, timeout_ms: int = 10_000, connections: int = 8) -> None:
        super().__init__()
        self._dsn = dsn
        self._timeout_s = timeout_ms / 1000
        self._free = asyncio.Semaphore(connections)
        self._resting: list[Link] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._facts: Facts | None = None

    @property
    def durability(self) -> str:
        """Which failures a commit survives, by the server's settings."""
        if self._facts is None:
            return "unknown (PostgreSQL, not connected yet)"
        synced = self._facts.synchronous_commit != "off" and self._facts.fsync == "on"
        survives = "process and system crash" if synced else "process crash only"
        settings = f"synchronous_commit={self._facts.synchronous_commit}, fsync={self._facts.fsync}"
        return f"{survives} (PostgreSQL, {settings})"

    async def _connect(self) -> None:
        said = await self._ask_for("facts", _FACTS, ())
        self._facts = facts = msgspec.json.decode(said, type=Facts)
        if (refusal := _refusal(facts)) is not None:
            raise StoreUnavailable(refusal)

    async def _disconnect(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        while self._resting:
            self._part(self._resting.pop())
        while self._running:
            await asyncio.wait(self._running)

    async def _call(self, function: str, arguments: Mapping[str, object]) -> Any:
        names = ", ".join(f"{name} => ${place}" for place, name in enumerate(arguments, 1))
        values = [value if isinstance(value, str | int) else encode(value) for value in arguments.values()]
        said = await self._ask_for(function, f"select public.{function}({names})", values)
        return None if said is None else msgspec.json.decode(said)

    async def _ask_for(self, function: str, query: str, values: Any) -> Any:
        """Like `_run`, but goes on when the caller is cancelled: a cancelled call makes its connection unusable."""
        return await asyncio.shield(self._begin(self._run(function, query, values)))

    async def _run(self, function: str, query: str, values: Any) -> Any:
        """Run a query and return its single value. Raises StoreError."""
        try:
            async with asyncio.timeout(self._timeout_s), self._lent() as link:
                statement = link.statements.get(function)
                if statement is None:
                    statement = link.statements[function] = await link.connection.prepare(query, name="")
                return await statement.fetchval(*values)
        except _FAULTS as error:
            raise _store_error(error) from error

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncIterator[Link]:
        """Lend a connection for one call. If the call fails, the connection is closed; it counts until then."""
        await self._free.acquire()
        try:
            link = await self._take()
        except BaseException:  # a cancellation, too: release the semaphore
            self._free.release()
            raise
        try:
            yield link
        except BaseException:  # as above
            self._part(link).add_done_callback(lambda _: self._free.release())
            raise
        self._resting.append(link._replace(used_at=time.monotonic()))
        self._free.release()

    async def _take(self) -> Link:
        """The connection that was used last, or a new one. Closes those that were idle for too long."""
        oldest = time.monotonic() - _REST_S
        while self._resting and self._resting[0].used_at < oldest:
            self._part(self._resting.pop(0))
        while self._resting:
            link = self._resting.pop()
            if not link.connection.is_closed():
                return link
        try:
            connection = await asyncpg.connect(self._dsn, statement_cache_size=0, timeout=self._timeout_s)
        except (ValueError, OverflowError):  # its text may quote a part of the URL, even the password
            raise StoreUnavailable("that is no URL of a database: postgresql://user:password@host:port/name") from None
        return Link(connection, {}, time.monotonic())

    def _part(self, link: Link) -> asyncio.Task[None]:
        """Close a connection in a task; this cancels a query that still runs on it."""
        return self._begin(_close(link.connection))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller may have been cancelled


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=_FAREWELL_S)
    except _FAULTS:
        connection.terminate()


def _refusal(facts: Facts) -> str | None:
    """Why a server must not start on this database, and what to do; None when it may."""
    if facts.is_read_only:
        return "the database takes no writes: it is a standby, or default_transaction_read_only is on"
    if facts.encoding != "UTF8":
        return f"the database keeps texts in {facts.encoding}: create one with encoding 'UTF8'"
    if facts.isolation != "read committed":
        return (
            f"the database begins transactions as '{facts.isolation}', and Rejoinder counts on 'read committed':"
            " set default_transaction_isolation for its role"
        )
    if not facts.is_ready:
        return "the database has no tables of Rejoinder yet: apply the migrations (python -m server migrate)"
    return None


def _store_error(error: Exception) -> StoreError:
    """Translate an error for the caller. Where its message may quote values of the write, only its code is kept."""
    name = type(error).__name__
    if isinstance(error, TimeoutError):
        return StoreUnavailable("PostgreSQL did not answer in time")
    if not isinstance(error, asyncpg.PostgresError):
        return StoreUnavailable(f"{name}: {error}")
    code = error.sqlstate or ""
    if code[:2] in _INVALID:
        return InvalidWrite(f"{name} ({code})")
    return StoreUnavailable(f"{name} ({code}): {error.args[0]}")
