"""PostgreSQL stores, and a group commit over them, for tests that look behind the contract."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, NamedTuple

import asyncpg  # type: ignore[import-untyped]

from server.engine.group_commit import GroupCommit
from server.records import SessionKey, Settled, Write
from server.store.library import FullStore
from server.store.postgres.store import PostgresStore
from tests.services.postgres import PostgresServer, running_server
from tests.support.writes import T0_MS, USER, accept, new_session

_WAITING: Final = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


class Database(NamedTuple):
    """A database of a test's own, with our tables and functions, on the server of this process."""

    server: PostgresServer
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def sql(self, text: str, *, user: str = "postgres") -> str:
        """Run statements; what they return, a row a line."""
        return self.server.sql(self.name, text, user=user)

    def orphans(self) -> int:
        """Events whose session is not there: there must be none."""
        return int(
            self.sql(
                "select count(*) from rejoinder_events e"
                " where not exists (select from rejoinder_sessions s where s.session_id = e.session_id)"
            )
        )


@contextlib.contextmanager
def new_database() -> Iterator[Database]:
    """A database with the tables and functions and nothing in them, for a while."""
    server = running_server()
    name = server.create_database()
    try:
        yield Database(server, name)
    finally:
        if not server.running:
            server.start()
        server.drop_database(name)


@contextlib.asynccontextmanager
async def opened(dsn: str, *, timeout_ms: int = 20_000, connections: int = 8) -> AsyncIterator[PostgresStore]:
    """An open store; long waits by default, so that a slow machine is no fault."""
    store = PostgresStore(dsn, timeout_ms=timeout_ms, connections=connections)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def hurried(store: PostgresStore, timeout_ms: int = 200) -> Iterator[None]:
    """The store waits no longer than this, while it can only wait in vain: what has to succeed may be slow."""
    patience_s, store._timeout_s = store._timeout_s, timeout_ms / 1000
    try:
        yield
    finally:
        store._timeout_s = patience_s


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """A connection beside the store's own."""
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def locked(dsn: str, session_id: str) -> AsyncIterator[None]:
    """Somebody else holds the session's row until the end."""
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute("select from rejoinder_sessions where session_id = $1 for update", session_id)
        yield


async def waiting(dsn: str, count: int = 1) -> None:
    """Return when so many sessions of the database wait for a lock."""
    async with connected(dsn) as connection, asyncio.timeout(20):
        while await connection.fetchval(_WAITING) != count:
            await asyncio.sleep(0.005)  # the server tells nobody


@contextlib.asynccontextmanager
async def grouped(store: FullStore) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(store, batch_limit=10, queue_limit=100)
    group.start()
    yield group
    await group.close()


async def submit(group: GroupCommit, write: Write, *, again: bool = False) -> Settled:
    """The outcome of a write that waits in the queue of a group commit."""
    outcome: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    assert group.submit(write, outcome.set_result, again=again)
    async with asyncio.timeout(60):
        return await outcome


def calls(store: FullStore, session_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that a store can be asked."""
    return {
        "commit": lambda: store.commit([accept(session_id)]),
        "load": lambda: store.load(SessionKey(USER, session_id), 0, 1),
        "read": lambda: store.read(SessionKey(USER, session_id), 0, 1),
        "heads": lambda: store.heads([SessionKey(USER, session_id)]),
        "hold": lambda: store.hold([SessionKey(USER, session_id)], "me", 1000),
        "release": lambda: store.release([SessionKey(USER, session_id)], "me"),
        "find": lambda: store.find(SessionKey(USER, session_id), "c1"),
        "published": lambda: store.published("m1", "slide_update"),
        "pending": lambda: store.pending(T0_MS, 1),
        "delete": lambda: store.delete(SessionKey(USER, new_session())),
        "list": lambda: store.list(USER, 1),
    }
