"""Reads the SQLite file of a running, stopped or killed server without changing it.

`mode=ro` neither creates nor migrates the file. Under WAL a reader and a writer do not block each other. One
transaction makes all reads consistent. A file that was closed cleanly has no `-wal`, and SQLite would create an empty
one even for a reader. Such a file is read as `immutable`; after every read the inspector checks that it did not change.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from server.errors import StoreUnavailable
from server.records import Event, SessionKey, Snapshot
from server.store.inspect.contract import BEFORE_ALL, OWNERS_LIMIT, PAGE_LIMIT, Damaged, Look, read_event, read_snapshot
from server.store.sqlite.migrate import MIGRATIONS, schema_of
from server.store.sqlite.store import MEMORY

_SCHEMA: Final = MIGRATIONS[-1].version
_SESSION_FIELDS: Final = Snapshot.__struct_fields__
_EVENT_FIELDS: Final = Event.__struct_fields__
_OWNERS: Final = f"select user_id from sessions where session_id = ? order by user_id limit {OWNERS_LIMIT}"
_SESSION: Final = (
    f"select {', '.join(_SESSION_FIELDS)} from sessions where session_id = :session_id and user_id = :user_id"
)
_EVENTS: Final = (
    f"select {', '.join(_EVENT_FIELDS).replace('session_id', ':session_id')} from events"
    " where {of} and seq > :after order by seq limit :limit"
)
#: The condition that selects a session's events: by its number; before schema 5, by its id.
_BY_NUMBER: Final = "session = (select number from sessions where session_id = :session_id and user_id = :user_id)"
_BY_ID: Final = "session_id = :session_id"
_NUMBERED: Final = 5
_LEASES: Final = "select 1 from sqlite_master where name = 'leases'"
_LEASE: Final = "select until from leases where session_id = :session_id and user_id = :user_id"
_REASONS: Final = {
    "SQLITE_NOTADB": "it is not an SQLite database",
    "SQLITE_BUSY": "another process has locked it",
}

T = TypeVar("T")


class SqliteInspector:
    """One SQLite file, read in one transaction. `busy_ms` is how long a read waits for a lock."""

    def __init__(self, path: str, *, busy_ms: int = 10_000) -> None:
        self._path = Path(path).absolute()
        self._is_memory = path == MEMORY
        self._busy_ms = busy_ms
        self._connection: sqlite3.Connection | None = None
        self._quiet: tuple[object, ...] | None = None
        self._events = ""

    def __enter__(self) -> Self:
        """Open the file and begin the transaction. Raises StoreUnavailable."""
        if self._is_memory:
            raise StoreUnavailable(
                "conversations are in the server's memory (STORE_URL): no other process can see them"
            )
        if not self._path.is_file():
            raise StoreUnavailable(f"there is no file {self._path}")
        is_quiet = not any(beside.exists() for beside in self._beside("-wal", "-journal"))
        self._quiet = self._state() if is_quiet else None
        uri = f"{self._path.as_uri()}?mode=ro{'&immutable=1' if is_quiet else ''}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self._busy_ms / 1000)
        except sqlite3.Error as error:
            raise StoreUnavailable(self._explain(error)) from error
        try:
            self._begin()
        except StoreUnavailable:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def owners(self, session_id: str) -> Sequence[str]:
        """The users who own a session with this id, at most OWNERS_LIMIT. Raises StoreUnavailable."""
        return [user_id for (user_id,) in self._rows(_OWNERS, (session_id,))]

    def look(self, key: SessionKey) -> Look:
        """The session's row and lease, and its log, which is read while the caller iterates over it.

        Raises StoreUnavailable, also during the iteration.
        """
        rows = self._rows(_SESSION, key._asdict())
        if not rows:
            return Look(None, iter(()), None)
        snapshot = read_snapshot(dict(zip(_SESSION_FIELDS, rows[0], strict=True)))
        return Look(snapshot, self._log(key), self._lease_ms(key))

    def _log(self, key: SessionKey) -> Iterator[Event | Damaged]:
        after = BEFORE_ALL
        while page := self._rows(self._events, {**key._asdict(), "after": after, "limit": PAGE_LIMIT}):
            events = [read_event(dict(zip(_EVENT_FIELDS, row, strict=True))) for row in page]
            yield from events
            after = events[-1].seq

    def _lease_ms(self, key: SessionKey) -> int | None:
        if not self._rows(_LEASES):  # a copy with a schema older than leases
            return None
        now_ms = time.time_ns() // 1_000_000
        ends = [until - now_ms for (until,) in self._rows(_LEASE, key._asdict()) if isinstance(until, int)]
        return next((ms for ms in ends if ms > 0), None)

    def _begin(self) -> None:
        self._rows("begin")
        schema = self._read(schema_of)
        if schema.version == 0:
            raise StoreUnavailable(f"{self._path} has no conversations: the tables of this server are not in it")
        if schema.refusal(_SCHEMA) is not None:  # older schemas, also of copies, have all columns read here
            raise StoreUnavailable(
                f"{self._path} has schema {schema.version}, and this program reads {_SCHEMA}: use the server's own"
            )
        self._events = _EVENTS.format(of=_BY_NUMBER if schema.version >= _NUMBERED else _BY_ID)

    def _rows(self, statement: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Sequence[Any]]:
        return self._read(lambda connection: connection.execute(statement, values).fetchall())

    def _read(self, reading: Callable[[sqlite3.Connection], T]) -> T:
        assert self._connection is not None, "an inspector is used in a `with` block"
        try:
            seen = reading(self._connection)
        except sqlite3.Error as error:
            self._check_quiet()
            raise StoreUnavailable(self._explain(error)) from error
        self._check_quiet()
        return seen

    def _check_quiet(self) -> None:
        """Raise StoreUnavailable if an immutable file has changed: it is read without locks, so data may be wrong."""
        if self._quiet is not None and self._quiet != self._state():
            raise StoreUnavailable(f"{self._path} changed while it was read: a server has just started; try again")

    def _state(self) -> tuple[object, ...]:
        try:
            file = self._path.stat()
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self._path}: {error.strerror}") from error
        return file.st_ino, file.st_size, file.st_mtime_ns, *(beside.exists() for beside in self._beside("-wal"))

    def _explain(self, error: sqlite3.Error) -> str:
        (wal,) = self._beside("-wal")
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_CANTOPEN") and wal.exists():
            return (
                f"cannot read {self._path}: a server has left changes in {wal.name}, and to read them {self._path.name}"
                "-shm must be written: run this as the server's user, or on a copy of the files in a folder of yours"
            )
        return f"cannot read {self._path}: {_REASONS.get(name, error)}"

    def _beside(self, *suffixes: str) -> list[Path]:
        return [self._path.with_name(self._path.name + suffix) for suffix in suffixes]
