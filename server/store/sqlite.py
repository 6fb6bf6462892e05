"""The embedded default: one SQLite file.

One writer thread owns the only connection that writes; a batch is one `BEGIN IMMEDIATE` transaction of a few
statements, whatever its size. Readers are apart, each thread with a connection of its own, and see the last commit
(WAL). `synchronous=FULL` syncs the write-ahead log at every commit, so what `commit` returned survives power loss;
NORMAL would be faster and lose the last commits.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from server.errors import InvalidWrite, StoreClosed, StoreUnavailable
from server.store.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    Loaded,
    Missing,
    Outcome,
    Snapshot,
    Summary,
    Write,
    count_visible,
    is_line,
    place,
)

MEMORY: Final = ":memory:"
_READERS: Final = 2
_SCHEMA_VERSION: Final = 1
_EVENT_COLUMNS: Final = "session_id, seq, type, role, message_id, client_id, turn, payload, created_at"
_JOINED_COLUMNS: Final = ", ".join(f"events.{column}" for column in _EVENT_COLUMNS.split(", "))
_SESSION_COLUMNS: Final = (
    "session_id, user_id, workflow, state, memory, version, seq, cursor, lined, visible, card, created_at, updated_at"
)
_OWNED: Final = "exists (select 1 from sessions s where s.session_id = events.session_id and s.user_id = ?)"
_UPSERT: Final = (
    f"insert into sessions ({_SESSION_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " on conflict (session_id) do update set workflow = excluded.workflow, state = excluded.state,"
    " memory = excluded.memory, version = excluded.version, seq = excluded.seq, cursor = excluded.cursor,"
    " lined = excluded.lined, visible = excluded.visible, card = excluded.card, updated_at = excluded.updated_at"
    " where user_id = excluded.user_id"
)

P = ParamSpec("P")
T = TypeVar("T")


class _Head:
    """A session's row while a batch is worked out: what the writes before left behind."""

    __slots__ = ("card", "created_at", "cursor", "lined", "memory", "seq", "state", "updated_at", "user_id",
                 "version", "visible", "workflow")  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        (self.user_id, self.workflow, self.state, self.memory, self.version, self.seq, self.cursor, self.lined,
         self.visible, self.card, self.created_at, self.updated_at) = row  # fmt: skip


class SqliteStore:
    """Sessions in one SQLite file, or in memory.

    `busy_ms` is how long another process may hold the lock before a write is given up.
    """

    def __init__(self, path: str, *, synchronous: str = "FULL", busy_ms: int = 10_000) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_ms = busy_ms
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        # A database in memory belongs to its one connection, so there its writer reads, too.
        self._readers = self._writer if path == MEMORY else ThreadPoolExecutor(_READERS, "sqlite-reader")
        self._write: sqlite3.Connection | None = None
        self._reads: asyncio.Queue[sqlite3.Connection] = asyncio.Queue()
        self._open: set[sqlite3.Connection] = set()
        self._closed = False

    @property
    def durability(self) -> str:
        """What a commit survives."""
        if self._path == MEMORY:
            return "none (in memory)"
        survives = "process and system crash" if self._synchronous in ("FULL", "EXTRA") else "process crash only"
        return f"{survives} (WAL, synchronous={self._synchronous})"

    async def open(self) -> None:
        """Create the file and its tables where they are not there. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        try:
            self._write = await loop.run_in_executor(self._writer, self._connect_writer)
            for _ in range(_READERS):
                read = self._write if self._readers is self._writer else self._connect(read_only=True)
                self._reads.put_nowait(read)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open {self._path}: {error}") from error

    async def close(self) -> None:
        """Finish what runs, then close every connection."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._open:
            connection.close()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """One transaction for the batch, one outcome a write. Raises StoreUnavailable: then nothing was written."""
        if self._closed or self._write is None:
            raise StoreClosed("the store is closed")
        work = asyncio.get_running_loop().run_in_executor(self._writer, _commit, self._write, writes)
        try:
            # A commit that has begun is finished, whoever stops waiting for it.
            return await asyncio.shield(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"commit: {error}") from error
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidWrite(f"commit: {error}") from error

    async def load(self, session_id: str, user_id: str, after: int, limit: int) -> Loaded | None:
        """Snapshot, page and inbox of one moment."""
        return await self._run(_load, session_id, user_id, after, limit)

    async def read(self, session_id: str, user_id: str, after: int, limit: int) -> list[Event]:
        """A page of the log."""
        return await self._run(_read, session_id, user_id, after, limit)

    async def find(self, session_id: str, user_id: str, client_id: str) -> Event | None:
        """What took effect under a client's id."""
        return await self._run(_find, session_id, user_id, client_id)

    async def deck(self, message_id: str) -> Event | None:
        """The slide_update behind a deck's link."""
        return await self._run(_deck, message_id)

    async def pending(self, before_ms: int, limit: int) -> list[tuple[str, str]]:
        """Sessions that wait for an answer since `before_ms`, oldest first."""
        return await self._run(_pending, before_ms, limit)

    async def delete(self, session_id: str, user_id: str) -> bool:
        """Remove a session and its log."""
        if self._closed or self._write is None:
            raise StoreClosed("the store is closed")
        work = asyncio.get_running_loop().run_in_executor(self._writer, _delete, self._write, session_id, user_id)
        try:
            return await asyncio.shield(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"delete: {error}") from error

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        return await self._run(_list, user_id, limit)

    async def _run(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query on a reader's thread with a connection that nobody else uses meanwhile."""
        if self._closed:
            raise StoreClosed("the store is closed")
        connection = await self._reads.get()
        work = asyncio.get_running_loop().run_in_executor(self._readers, lambda: query(connection, *args, **kwargs))
        # The connection goes back when its thread is through with it, not when the waiter gives up.
        work.add_done_callback(lambda _: self._reads.put_nowait(connection))
        try:
            return await asyncio.shield(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"read: {error}") from error

    def _connect_writer(self) -> sqlite3.Connection:
        if self._path != MEMORY:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect(read_only=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {self._synchronous}")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its schema {version} is newer than this server's {_SCHEMA_VERSION}")
        if version < _SCHEMA_VERSION:
            connection.executescript(resources.files("server.store").joinpath("sqlite.sql").read_text())
        return connection

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=self._busy_ms / 1000
        )
        self._open.add(connection)
        if read_only:
            connection.execute("pragma query_only = on")
        return connection


def _commit(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Outcome]:
    connection.execute("begin immediate")
    try:
        outcomes = _write_batch(connection, writes)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return outcomes


def _write_batch(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Outcome]:
    """Read what the batch touches, work out every outcome in memory, write what is new."""
    heads = _heads(connection, {write.session_id for write in writes})
    keys = {(write.session_id, write.client_id) for write in writes if write.client_id is not None}
    used = _used(connection, keys)
    events: list[Event] = []
    outcomes: list[Outcome] = []
    changed: set[str] = set()
    for write in writes:
        outcome = _decide(write, heads, used)
        if isinstance(outcome, Committed):
            events += outcome.events
            changed.add(write.session_id)
        outcomes.append(outcome)
    connection.executemany(
        f"insert into events ({_EVENT_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_event_row, events)
    )
    connection.executemany(
        _UPSERT,
        (_session_row(session_id, heads[session_id]) for session_id in changed),
    )
    return outcomes


def _decide(write: Write, heads: dict[str, _Head], used: dict[tuple[str, str], Event]) -> Outcome:
    """The outcome of one write, and in `heads` and `used` what it leaves to the next."""
    head = heads.get(write.session_id)
    if head is not None and head.user_id != write.user_id:
        return Missing()
    if write.client_id is not None and (before := used.get((write.session_id, write.client_id))) is not None:
        return Duplicate(before) if head is not None else Missing()
    version = head.version if head is not None else 0
    if head is None and write.expected_version != 0:
        return Missing()
    if write.expected_version is not None and write.expected_version != version:
        return Conflict(version)
    if head is None:
        head = _Head((write.user_id, "", "", "{}", 0, 0, 0, 0, 0, None, 0, 0))
        heads[write.session_id] = head
    events = place(write.events, head.seq, head.updated_at)
    head.seq, head.updated_at = events[-1].seq, events[-1].created_at
    head.created_at = head.created_at or events[0].created_at
    head.visible += count_visible(events)
    head.lined = max([head.lined, *(event.seq for event in events if is_line(event))])
    if (update := write.update) is not None:
        head.version = version + 1
        head.workflow, head.state, head.cursor, head.card = update.workflow, update.state, update.cursor, update.card
        if update.memory is not None:
            head.memory = _encode(update.memory)
    for event in events:
        if event.client_id is not None:
            used[event.session_id, event.client_id] = event
    return Committed(events, head.version)


def _heads(connection: sqlite3.Connection, session_ids: Iterable[str]) -> dict[str, _Head]:
    rows = connection.execute(
        "select session_id, user_id, workflow, state, memory, version, seq, cursor, lined, visible, card, created_at,"
        " updated_at from sessions where session_id in (select value from json_each(?))",
        (_encode(list(session_ids)),),
    )
    return {row[0]: _Head(row[1:]) for row in rows}


def _used(connection: sqlite3.Connection, keys: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str], Event]:
    """The events that took effect under these (session, client id) keys: one probe of the unique index a key."""
    rows = connection.execute(
        f"select {_JOINED_COLUMNS} from json_each(?) as key cross join events"
        " where session_id = json_extract(key.value, '$[0]') and client_id = json_extract(key.value, '$[1]')",
        (_encode(list(keys)),),
    )
    found = [_event(row) for row in rows]
    return {(event.session_id, event.client_id): event for event in found if event.client_id is not None}


def _load(connection: sqlite3.Connection, session_id: str, user_id: str, after: int, limit: int) -> Loaded | None:
    connection.execute("begin")
    try:
        row = connection.execute(
            f"select {_SESSION_COLUMNS} from sessions where session_id = ? and user_id = ?", (session_id, user_id)
        ).fetchone()
        if row is None:
            return None
        snapshot = _snapshot(row)
        page = _read(connection, session_id, user_id, after, limit) if limit else []
        inbox: list[Event] = []
        if snapshot.lined > snapshot.cursor:
            inbox = [
                _event(line)
                for line in connection.execute(
                    f"select {_EVENT_COLUMNS} from events where session_id = ? and seq > ? and role = 'user'"
                    f" and {_OWNED} order by seq",
                    (session_id, snapshot.cursor, user_id),
                )
            ]
        return Loaded(snapshot, tuple(page), tuple(inbox))
    finally:
        connection.execute("rollback")


def _read(connection: sqlite3.Connection, session_id: str, user_id: str, after: int, limit: int) -> list[Event]:
    rows = connection.execute(
        f"select {_EVENT_COLUMNS} from events where session_id = ? and seq > ? and {_OWNED} order by seq limit ?",
        (session_id, after, user_id, limit),
    )
    return [_event(row) for row in rows]


def _find(connection: sqlite3.Connection, session_id: str, user_id: str, client_id: str) -> Event | None:
    row = connection.execute(
        f"select {_EVENT_COLUMNS} from events where session_id = ? and client_id = ? and {_OWNED}",
        (session_id, client_id, user_id),
    ).fetchone()
    return _event(row) if row else None


def _deck(connection: sqlite3.Connection, message_id: str) -> Event | None:
    row = connection.execute(
        f"select {_EVENT_COLUMNS} from events where message_id = ? and type = 'slide_update'", (message_id,)
    ).fetchone()
    return _event(row) if row else None


def _pending(connection: sqlite3.Connection, before_ms: int, limit: int) -> list[tuple[str, str]]:
    return connection.execute(
        "select session_id, user_id from sessions where lined > cursor and updated_at <= ? order by updated_at limit ?",
        (before_ms, limit),
    ).fetchall()


def _list(connection: sqlite3.Connection, user_id: str, limit: int) -> list[Summary]:
    rows = connection.execute(
        "select session_id, user_id, workflow, state, seq, created_at, updated_at from sessions"
        " where user_id = ? order by updated_at desc limit ?",
        (user_id, limit),
    )
    return [Summary(*row) for row in rows]


def _delete(connection: sqlite3.Connection, session_id: str, user_id: str) -> bool:
    connection.execute("begin immediate")
    try:
        gone = connection.execute(
            "delete from sessions where session_id = ? and user_id = ?", (session_id, user_id)
        ).rowcount
        if gone:
            connection.execute("delete from events where session_id = ?", (session_id,))
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return gone > 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()


def _event_row(event: Event) -> tuple[Any, ...]:
    return (
        event.session_id,
        event.seq,
        event.type,
        event.role,
        event.message_id,
        event.client_id,
        event.turn,
        _encode(event.payload),
        event.created_at,
    )


def _event(row: Sequence[Any]) -> Event:
    session_id, seq, kind, role, message_id, client_id, turn, payload, created_at = row
    return Event(
        session_id=session_id,
        seq=seq,
        type=kind,
        role=role,
        message_id=message_id,
        client_id=client_id,
        turn=turn,
        payload=_decoder.decode(payload),
        created_at=created_at,
    )


def _session_row(session_id: str, head: _Head) -> tuple[Any, ...]:
    return (
        session_id,
        head.user_id,
        head.workflow,
        head.state,
        head.memory,
        head.version,
        head.seq,
        head.cursor,
        head.lined,
        head.visible,
        head.card,
        head.created_at,
        head.updated_at,
    )


def _snapshot(row: Sequence[Any]) -> Snapshot:
    session_id, user_id, workflow, state, memory, *rest = row
    version, seq, cursor, lined, visible, card, created_at, updated_at = rest
    return Snapshot(
        session_id=session_id,
        user_id=user_id,
        workflow=workflow,
        state=state,
        memory=_decoder.decode(memory),
        version=version,
        seq=seq,
        cursor=cursor,
        lined=lined,
        visible=visible,
        card=card,
        created_at=created_at,
        updated_at=updated_at,
    )
