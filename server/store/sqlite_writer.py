"""What the writer's thread makes of a batch: one transaction, one outcome a write.

*The short way*, for sessions that this process wrote last: their heads are known, so the outcomes are worked out before
anything is asked, and the batch is one statement (`sqlite_write.sql`). It looks whether the sessions are still so, and
writes nothing where another process was there, or where a client's id took effect before. *The long way*, for all
else: read what the batch touches, work out the outcomes, write what is new.

Why one statement: each lets go of the interpreter several times and waits to get it back, and a busy event loop keeps
it for SWITCH_INTERVAL each time. In the short way the loop and the file work at the same time.
"""

import sqlite3
from collections.abc import Sequence
from importlib import resources
from itertools import chain
from typing import Any, Final

import msgspec

from server.store.batch import Batch, Head
from server.store.records import Committed, Outcome, Write, check_write
from server.store.rows import EVENT_COLUMNS, HEAD_COLUMNS, SESSION_COLUMNS, encode, event_of, event_row
from server.store.sqlite_migrate import statements, transaction

_SIZES: Final = (64, 16, 4, 1)  # rows of one insert; 64 of 13 columns are well below SQLite's 32,766 values
_SHORT: Final = resources.files("server.store").joinpath("sqlite_write.sql").read_text(encoding="utf-8")
_BATCH: Final = "insert into batch values (?, ?)"
# All heads are one row of JSON, as are all used ids: each row of a result lets go of the interpreter, too.
_HEADS: Final = (
    f"select json_group_array(json_array({HEAD_COLUMNS})) from sessions"
    " where session_id in (select value from json_each(?))"
)
_USED: Final = (
    f"select json_group_array(json_array({EVENT_COLUMNS})) from (select json_extract(value, '$[0]') as s,"
    " json_extract(value, '$[1]') as c from json_each(?)) cross join events where session_id = s and client_id = c"
)
_INSERT: Final = f"insert into events ({EVENT_COLUMNS})"
_UPSERT: Final = f"insert into sessions ({SESSION_COLUMNS})"
_CHANGE: Final = (
    " on conflict (session_id) do update set workflow = excluded.workflow, state = excluded.state,"
    " memory = iif(excluded.memory = '', memory, excluded.memory), version = excluded.version, seq = excluded.seq,"
    " cursor = excluded.cursor, lined = excluded.lined, visible = excluded.visible, card = excluded.card,"
    " updated_at = excluded.updated_at where user_id = excluded.user_id"
)


class Writer:
    """Writes batches on the one connection that writes; for its thread alone. `known_limit` bounds the known heads."""

    def __init__(self, connection: sqlite3.Connection, known_limit: int) -> None:
        self._connection = connection
        self._known_limit = known_limit
        self._known: dict[str, Head] = {}  # as this process left them, the latest last
        connection.execute("pragma temp_store = memory")
        for statement in statements(_SHORT):
            connection.execute(statement)

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """One outcome a write. Raises InvalidWrite, sqlite3.Error: then nothing was written."""
        for write in writes:
            check_write(write)
        heads = self._take_known(writes)
        return (heads and self._write_known(heads, writes)) or self._write(writes)

    def forget(self, session_id: str) -> None:
        """A session is written past this."""
        self._known.pop(session_id, None)

    def _take_known(self, writes: Sequence[Write]) -> dict[str, Head] | None:
        """The heads of all sessions that the batch names, if all are known: they are known again once it is written."""
        heads: dict[str, Head] = {}
        for session_id in {write.session_id for write in writes}:
            if (head := self._known.pop(session_id, None)) is None:
                return None  # the others of the batch are read with it
            heads[session_id] = head
        return heads

    def _write_known(self, heads: dict[str, Head], writes: Sequence[Write]) -> list[Outcome] | None:
        """The short way; None where it is not sure that every write takes effect. Then nothing was written."""
        before = {
            session_id: (session_id, head.user_id, head.version, head.seq, head.updated_at)
            for session_id, head in heads.items()
        }
        batch = Batch(heads, ())
        outcomes = [batch.apply(write) for write in writes]
        if not all(isinstance(outcome, Committed) for outcome in outcomes):
            return None  # the heads may be old: only the file knows
        changes = [before[session_id] + _changed_columns(head) for session_id, head in heads.items()]
        try:
            self._connection.execute(_BATCH, (encode(changes), encode([event_row(event) for event in batch.events])))
        except sqlite3.IntegrityError:
            return None
        self._keep(heads)
        return outcomes

    def _write(self, writes: Sequence[Write]) -> list[Outcome]:
        """The long way: a few statements, whatever the size of the batch."""
        with transaction(self._connection):
            heads = self._rows(_HEADS, list({write.session_id for write in writes}))
            keys = {(write.session_id, write.client_id) for write in writes if write.client_id is not None}
            used = self._rows(_USED, list(keys)) if keys else []
            batch = Batch({row[0]: Head(row[1:]) for row in heads}, map(event_of, used))
            outcomes = [batch.apply(write) for write in writes]
            self._insert(_INSERT, [event_row(event) for event in batch.events])
            changed = [_session_row(session_id, batch.heads[session_id]) for session_id in batch.changed]
            self._insert(_UPSERT, changed, _CHANGE)
        self._keep(batch.heads)
        return outcomes

    def _keep(self, heads: dict[str, Head]) -> None:
        for session_id, head in heads.items():
            head.memory = None  # until a write changes it
            self._known.pop(session_id, None)
            self._known[session_id] = head
        while len(self._known) > self._known_limit:
            del self._known[next(iter(self._known))]

    def _rows(self, query: str, asked: Sequence[Any]) -> list[list[Any]]:
        """The rows that a query gives as one text of JSON, for what it is asked as another."""
        (text,) = self._connection.execute(query, (encode(asked),)).fetchone()
        rows: list[list[Any]] = msgspec.json.decode(text)
        return rows

    def _insert(self, into: str, rows: Sequence[tuple[Any, ...]], rest: str = "") -> None:
        """Insert rows with few statements, each of a size that comes again, so that it is prepared once."""
        start = 0
        for size in _SIZES:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                row = f"({', '.join('?' * len(chunk[0]))})"
                values = ", ".join([row] * size)
                self._connection.execute(f"{into} values {values}{rest}", list(chain.from_iterable(chunk)))
                start += size


def _changed_columns(head: Head) -> tuple[Any, ...]:
    """What may change of a session, in the order of `sqlite_write.sql`; a memory that did not change is None."""
    return (
        head.workflow,
        head.state,
        None if head.memory is None else encode(head.memory),
        head.version,
        head.seq,
        head.cursor,
        head.lined,
        head.visible,
        head.card,
        head.updated_at,
    )


def _session_row(session_id: str, head: Head) -> tuple[Any, ...]:
    """SESSION_COLUMNS of a session; a memory that did not change is the empty text."""
    workflow, state, memory, *rest, updated_at = _changed_columns(head)
    return (session_id, head.user_id, workflow, state, memory or "", *rest, head.created_at, updated_at)
