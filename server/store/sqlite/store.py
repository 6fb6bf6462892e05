"""The embedded default: one SQLite file.

One writer thread owns the only connection that writes; a batch is one transaction (`writer.py`). Reader threads each
have a connection of their own and see the last commit (WAL). `synchronous=FULL` syncs the write-ahead log at every
commit, so a committed batch survives power loss; NORMAL would be faster and could lose the last commits.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog

from server.errors import InvalidWrite, SessionUnreadable, StoreClosed, StoreError, StoreUnavailable
from server.records import INTEGER_MAX, Event, Loaded, Outcome, SessionKey, Summary, Write
from server.store.rows import EVENT_COLUMNS, SESSION_COLUMNS, encode, event_of, snapshot_of
from server.store.sqlite.migrate import MIGRATIONS, Migration, check, migrate, transaction
from server.store.sqlite.threads import Threads
from server.store.sqlite.writer import Known, Planned, prepare_writer, write, write_planned

log = structlog.get_logger()

MEMORY: Final = ":memory:"
_READERS: Final = 2
_LOG_PAGES: Final = 1_000  # pages of the log between two checkpoints; a commit waits while so many are copied
_LOG_BYTES: Final = _LOG_PAGES * (4_096 + 24)
# SQLite evaluates it once for a statement, not for each row, because it uses no column of `events`.
_NUMBER: Final = "(select number from sessions where session_id = :session_id and user_id = :user_id)"
_EVENT: Final = EVENT_COLUMNS.replace("session_id", ":session_id")
_PAGE: Final = f"select {_EVENT} from events where session = {_NUMBER} and seq > :after order by seq limit :limit"
_INBOX: Final = (
    f"select {_EVENT} from events where session = {_NUMBER} and seq > :cursor and role = 'user' order by seq"
)
_FIND: Final = f"select {_EVENT} from events where session = {_NUMBER} and client_id = :client_id"
# `is_own_frame` as SQL: the same condition as that of the index events_own, or SQLite would not use the index.
_PUBLISHED: Final = (
    f"select {EVENT_COLUMNS.replace('session_id', '(select session_id from sessions where number = session)')}"
    " from events where message_id = ? and type = ?"
    " and role = 'assistant' and type not in ('action_request', 'chat_message')"
)
_LAST: Final = (
    "select coalesce(max(sessions.seq), 0) from (select key, json_extract(value, '$[1]') as s,"
    " json_extract(value, '$[0]') as u from json_each(?)) left join sessions on session_id = s and user_id = u"
    " group by key order by key"
)
_LEASE: Final = (
    "insert into leases (user_id, session_id, holder, until) values (?, ?, ?, ?)"
    " on conflict (session_id, user_id) do update set until = excluded.until where holder = excluded.holder"
)
_HOLDER: Final = "select holder from leases where user_id = ? and session_id = ?"
#: A retry cannot help after these errors: they come from the values, not from the file.
_INVALID: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError)

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore:
    """Sessions in one SQLite file, or in memory.

    `busy_ms` is how long a write waits for another process's lock, `timeout_ms` how long any call may take,
    `known_limit` the number of sessions whose heads stay in memory. The last of `migrations` makes the schema that the
    store works with.
    """

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "FULL",
        busy_ms: int = 10_000,
        timeout_ms: int = 10_000,
        known_limit: int = 10_000,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_ms = busy_ms
        self._timeout_ms = timeout_ms
        self._known = Known(known_limit)
        self._migrations = migrations
        self.migrated: list[str] = []  # the steps that `open` took on the schema, as text
        self._writer = Threads(1, "sqlite-writer")
        # A database in memory has a single connection, so the writer thread reads it, too.
        self._readers = self._writer if path == MEMORY else Threads(_READERS, "sqlite-reader")
        self._own = threading.local()  # `connection`: the one that only this thread uses
        self._connections: list[sqlite3.Connection] = []
        self._opened = False
        self._closing: asyncio.Future[None] | None = None

    @property
    def durability(self) -> str:
        """Which failures a commit survives, in a few words."""
        if self._path == MEMORY:
            return "none (in memory)"
        survives = "process and system crash" if self._synchronous in ("FULL", "EXTRA") else "process crash only"
        return f"{survives} (WAL, synchronous={self._synchronous})"

    async def open(self) -> None:
        """Create the file or migrate it, after a copy. Raises StoreUnavailable, also for a schema that is too new."""
        if self._closing is not None:
            raise StoreClosed("the store is closed")
        try:
            await self._writer.call(self._connect_writer)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open {self._path}: {error}") from error
        for threads in (self._writer, self._readers):  # only now: a migration may take longer
            threads.bound(self._timeout_ms)
        self._opened = True

    async def close(self) -> None:
        """Finish the calls that were made, then close every connection. A second call waits for the first."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(asyncio.to_thread(self._disconnect))
        await asyncio.shield(self._closing)

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, list[Outcome]]:
        """Commit the batch as one transaction; returns one outcome per write.

        Raises StoreUnavailable when nothing was written, and also when `timeout_ms` has passed: then the batch may
        still be written later. Raises InvalidWrite. A batch of the short way begins with the call, not when the
        coroutine is awaited: a burst of lines may keep the event loop busy for long.
        """
        planned = self._known.plan(writes) if self._is_open else None
        if planned is None:
            return self._commit(writes)
        begun = self._writer.call(self._write_planned, planned.statement, planned.values)
        return self._commit_planned(writes, planned, begun)

    def _write_planned(self, statement: str, values: Sequence[Any]) -> bool:
        return write_planned(self._connection(), statement, values)

    async def _commit_planned(
        self, writes: Sequence[Write], planned: Planned, begun: "asyncio.Future[bool]"
    ) -> list[Outcome]:
        try:
            is_written = await self._end(begun)
        finally:
            del begun  # as in `_end`
        if not is_written:
            return await self._commit(writes)
        self._known.keep(planned.heads)
        return planned.outcomes

    async def _commit(self, writes: Sequence[Write]) -> list[Outcome]:
        outcomes, heads = await self._run(self._writer, write, writes)
        self._known.keep(heads)
        return outcomes

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """Snapshot, page and inbox in one read transaction."""
        return await self._run(self._readers, _load, key, after, limit)

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        """A page of the log."""
        return await self._run(self._readers, _read, key, after, limit)

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        """The last `seq` of each session, 0 where there is none."""
        return await self._run(self._readers, _last, sessions)

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        """Take or renew leases; returns for each whether `holder` has it now."""
        return await self._run(self._writer, _hold, sessions, holder, ttl_ms)

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End leases of the holder."""
        await self._run(self._writer, _release, sessions, holder)

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """The event that was stored with this client id, or None."""
        return await self._run(self._readers, _find, key, client_id)

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event of a published page, or None."""
        return await self._run(self._readers, _published, message_id, type)

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """Sessions that have waited for an answer since `before_ms` (UTC ms) or longer, oldest first."""
        return await self._run(self._readers, _pending, before_ms, limit)

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session and its log; returns whether it existed."""
        self._known.forget(key)
        return await self._run(self._writer, _delete, key)

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        return await self._run(self._readers, _list, user_id, limit)

    @property
    def _is_open(self) -> bool:
        return self._opened and self._closing is None

    async def _run(
        self, threads: Threads, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` on one of the threads, with its connection. Cancelling the caller does not stop the work."""
        if not self._is_open:
            raise StoreClosed("the store is not open")
        return await self._end(threads.call(lambda: work(self._connection(), *args, **kwargs)))

    async def _end(self, begun: "asyncio.Future[T]") -> T:
        try:
            return await begun
        except (sqlite3.Error, OverflowError) as error:
            raise _store_error(error) from error
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._timeout_ms} ms") from error
        finally:
            del begun  # the future holds the error, and the error this frame: break the reference cycle

    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread. A reader thread opens its own at its first call."""
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("pragma query_only = on")
            self._own.connection = connection
        return connection

    def _connect_writer(self) -> None:
        if self._path != MEMORY:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            if Path(self._path).exists() and not os.access(self._path, os.W_OK):
                # SQLite would open it, refuse every write, and leave a read-only log beside it.
                raise PermissionError("it may not be written")
        connection = self._connect()
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()  # this also releases its locks
            raise
        self._own.connection = connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        check(connection, self._migrations[-1].version)
        (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
        if mode != ("memory" if self._path == MEMORY else "wal"):
            raise sqlite3.OperationalError(f"its file system has no write-ahead log, only journal_mode={mode}")
        connection.execute(f"pragma synchronous = {self._synchronous}")
        connection.execute("pragma fullfsync = on")  # macOS: fsync alone does not reach the disk
        connection.execute("pragma checkpoint_fullfsync = on")
        connection.execute(f"pragma wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"pragma journal_size_limit = {_LOG_BYTES}")  # shrinks a log that a long read made grow
        self.migrated = migrate(connection, None if self._path == MEMORY else Path(self._path), self._migrations)
        for line in self.migrated:
            log.info("migrated", step=line)
        prepare_writer(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=self._busy_ms / 1000
        )
        self._connections.append(connection)
        return connection

    def _disconnect(self) -> None:
        self._writer.close()
        self._readers.close()
        for connection in self._connections:
            connection.close()


def _store_error(error: Exception) -> StoreError:
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, _INVALID):
        return InvalidWrite(words)
    # SQLite has no code for it: a text column holds bytes that are no UTF-8, and they will be so next time.
    return SessionUnreadable(words) if "decode to UTF-8" in words else StoreUnavailable(words)


def _load(connection: sqlite3.Connection, key: SessionKey, after: int, limit: int) -> Loaded | None:
    connection.execute("begin")
    try:
        row = connection.execute(
            f"select {SESSION_COLUMNS} from sessions where session_id = ? and user_id = ?",
            (key.session_id, key.user_id),
        ).fetchone()
        if row is None:
            return None
        snapshot = snapshot_of(row)
        page = _read(connection, key, after, limit) if limit > 0 else []
        inbox: list[Event] = []
        if snapshot.lined > snapshot.cursor:
            waiting = {**key._asdict(), "cursor": snapshot.cursor}
            inbox = [event_of(line) for line in connection.execute(_INBOX, waiting).fetchall()]
        return Loaded(snapshot, tuple(page), tuple(inbox))
    finally:
        connection.execute("rollback")


def _read(connection: sqlite3.Connection, key: SessionKey, after: int, limit: int) -> list[Event]:
    asked = {**key._asdict(), "after": min(after, INTEGER_MAX), "limit": max(limit, 0)}
    # Fetch all rows first: if decoding one raises, no statement stays open and keeps the connection on an old commit.
    return [event_of(row) for row in connection.execute(_PAGE, asked).fetchall()]


def _last(connection: sqlite3.Connection, sessions: Sequence[SessionKey]) -> list[int]:
    return [seq for (seq,) in connection.execute(_LAST, (encode(list(sessions)),)).fetchall()]


def _hold(connection: sqlite3.Connection, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> list[bool]:
    now_ms = time.time_ns() // 1_000_000  # all processes that share a file share this machine's clock
    with transaction(connection):
        connection.execute("delete from leases where until <= ?", (now_ms,))
        rows = [(*session, holder, now_ms + ttl_ms) for session in sessions]
        connection.executemany(_LEASE, rows)
        return [connection.execute(_HOLDER, session).fetchone()[0] == holder for session in sessions]


def _release(connection: sqlite3.Connection, sessions: Sequence[SessionKey], holder: str) -> None:
    with transaction(connection):
        rows = [(*session, holder) for session in sessions]
        connection.executemany("delete from leases where user_id = ? and session_id = ? and holder = ?", rows)


def _find(connection: sqlite3.Connection, key: SessionKey, client_id: str) -> Event | None:
    row = connection.execute(_FIND, {**key._asdict(), "client_id": client_id}).fetchone()
    return event_of(row) if row else None


def _published(connection: sqlite3.Connection, message_id: str, type: str) -> Event | None:
    row = connection.execute(_PUBLISHED, (message_id, type)).fetchone()
    return event_of(row) if row else None


def _pending(connection: sqlite3.Connection, before_ms: int, limit: int) -> list[SessionKey]:
    rows = connection.execute(
        "select cast(user_id as blob), cast(session_id as blob) from sessions"
        " where lined > cursor and updated_at <= ? order by updated_at limit ?",
        (before_ms, limit),
    )
    # As bytes: an id that is damaged must not hide the sessions beside it. Nothing is found under the text it becomes.
    return [
        SessionKey(user_id=user.decode(errors="replace"), session_id=id.decode(errors="replace")) for user, id in rows
    ]


def _list(connection: sqlite3.Connection, user_id: str, limit: int) -> list[Summary]:
    rows = connection.execute(
        "select session_id, user_id, workflow, state, seq, created_at, updated_at from sessions"
        " where user_id = ? order by updated_at desc limit ?",
        (user_id, limit),
    )
    return [Summary(*row) for row in rows]


def _delete(connection: sqlite3.Connection, key: SessionKey) -> bool:
    with transaction(connection):
        connection.execute(f"delete from events where session = {_NUMBER}", key._asdict())
        cursor = connection.execute(f"delete from sessions where number = {_NUMBER}", key._asdict())
    return cursor.rowcount > 0
