"""How a batch is written: one transaction, one outcome a write.

*The short way*, for sessions that this process wrote last: their heads are known, so the outcomes are worked out before
anything is asked, and the batch is one statement (`batch_statement.py`). It looks whether the sessions are still so,
and writes nothing where another process was there, or where a client's id took effect before. *The long way*, for all
else: read what the batch touches, work out the outcomes, write what is new.

Why the values of that statement are made in the event loop: whatever two threads look at in turns goes from one core's
cache to the other's. So the thread gets a text and its values and gives back nothing, and the file and the loop work at
the same time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from server.records import Committed, Outcome, Write, check_write
from server.store.batch import Batch, Head
from server.store.rows import EVENT_COLUMNS, HEAD_COLUMNS, SESSION_COLUMNS, encode, event_of, event_rows
from server.store.sqlite import batch_statement
from server.store.sqlite.migrate import transaction

_SIZES: Final = (64, 16, 4, 1)  # rows of one insert; 64 of 13 columns are well below SQLite's 32,766 values
_OLDEST: Final = (3, 33)  # an update that reads another table
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


class Planned(NamedTuple):
    """A batch whose outcomes are worked out: its statement with the values, and the heads that it leaves behind."""

    outcomes: list[Outcome]
    statement: str
    values: list[Any]
    heads: dict[str, Head]


class Known:
    """The heads of the sessions that were written last, at most `limit`; for the event loop's thread alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heads: dict[str, Head] = {}  # the latest last

    def plan(self, writes: Sequence[Write]) -> Planned | None:
        """The batch by the short way, or None. Its heads are known again when they are kept. Raises InvalidWrite."""
        for write in writes:
            check_write(write)
        heads: dict[str, Head] = {}
        for session_id in {write.session_id for write in writes}:
            if (head := self._heads.pop(session_id, None)) is None:
                return None  # the others of the batch are read with it
            heads[session_id] = head
        before = {
            session_id: (session_id, head.user_id, head.version, head.seq, head.updated_at)
            for session_id, head in heads.items()
        }
        batch = Batch(heads, ())
        outcomes = [batch.apply(write) for write in writes]
        if not all(isinstance(outcome, Committed) for outcome in outcomes):
            return None  # the heads may be old: only the file knows
        changes = [before[session_id] + _changed_columns(head) for session_id, head in heads.items()]
        made = batch_statement.statement(changes, event_rows(batch.events, batch_statement.NOTHING))
        return Planned(outcomes, *made, heads) if made is not None else None

    def keep(self, heads: dict[str, Head]) -> None:
        """The heads that a batch has left in the file."""
        for session_id, head in heads.items():
            head.memory = None  # until a write changes it
            self._heads.pop(session_id, None)
            self._heads[session_id] = head
        while len(self._heads) > self._limit:
            del self._heads[next(iter(self._heads))]

    def forget(self, session_id: str) -> None:
        """A session is written past this."""
        self._heads.pop(session_id, None)


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Make what the short way needs, in memory, for this connection. Raises sqlite3.Error, for an old SQLite, too."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise sqlite3.NotSupportedError(f"SQLite {sqlite3.sqlite_version} is too old, 3.33 is wanted")
    batch_statement.prepare(connection)


def write_planned(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> bool:
    """The short way; False where a session is not as it was known, or an id was used: then nothing was written."""
    try:
        connection.execute(statement, values)
    except sqlite3.IntegrityError:
        return False
    return True


def write(connection: sqlite3.Connection, writes: Sequence[Write]) -> tuple[list[Outcome], dict[str, Head]]:
    """The long way: a few statements, whatever the size of the batch. Returns the outcomes and the heads."""
    with transaction(connection):
        heads = _rows(connection, _HEADS, list({one.session_id for one in writes}))
        keys = {(one.session_id, one.client_id) for one in writes if one.client_id is not None}
        used = _rows(connection, _USED, list(keys)) if keys else []
        batch = Batch({row[0]: Head(row[1:]) for row in heads}, map(event_of, used))
        outcomes = [batch.apply(one) for one in writes]
        _insert(connection, _INSERT, event_rows(batch.events))
        changed = (_session_row(session_id, batch.heads[session_id]) for session_id in batch.changed)
        _insert(connection, _UPSERT, changed, _CHANGE)
    return outcomes, batch.heads


def _rows(connection: sqlite3.Connection, query: str, asked: Sequence[Any]) -> list[list[Any]]:
    """The rows that a query gives as one text of JSON, for what it is asked as another."""
    (text,) = connection.execute(query, (encode(asked),)).fetchone()
    rows: list[list[Any]] = msgspec.json.decode(text)
    return rows


def _insert(connection: sqlite3.Connection, into: str, made: Iterable[tuple[Any, ...]], rest: str = "") -> None:
    """Insert rows with few statements, each of a size that comes again, so that it is prepared once."""
    rows, start = list(made), 0
    for size in _SIZES:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            row = f"({', '.join('?' * len(chunk[0]))})"
            values = ", ".join([row] * size)
            connection.execute(f"{into} values {values}{rest}", list(chain.from_iterable(chunk)))
            start += size


def _changed_columns(head: Head) -> tuple[Any, ...]:
    """What may change of a session, the end of CHANGE_COLUMNS; NOTHING is no card, or a memory that did not change."""
    return (
        head.workflow,
        head.state,
        batch_statement.NOTHING if head.memory is None else encode(head.memory),
        head.version,
        head.seq,
        head.cursor,
        head.lined,
        head.visible,
        batch_statement.NOTHING if head.card is None else head.card,
        head.updated_at,
    )


def _session_row(session_id: str, head: Head) -> tuple[Any, ...]:
    """SESSION_COLUMNS of a session; a memory that did not change is the empty text."""
    workflow, state, memory, *rest, _, updated_at = _changed_columns(head)
    return (session_id, head.user_id, workflow, state, memory or "", *rest, head.card, head.created_at, updated_at)
