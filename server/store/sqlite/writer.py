"""Writes a batch: one transaction, one outcome for each write.

*The short way* is for sessions whose heads this process remembers. It works out the outcomes without reading the file
and writes the batch with one statement (`batch_statement.py`). The statement compares the sessions in the file with the
remembered heads; it writes nothing when another process changed one, or when a client id was used before.

*The long way* is for every other batch: read its sessions, work out the outcomes, write the changes.

The event loop makes the values of the short way's statement, not the writer's thread: data that two threads use in
turns moves between the caches of two cores. So the thread receives a text and its values and returns only a bool, and
file and loop work at the same time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from server.records import Committed, Event, Outcome, SessionKey, Write, check_write
from server.store.batch import Batch, Head
from server.store.rows import HEAD_COLUMNS, SESSION_COLUMNS, encode, event_of, event_rows
from server.store.sqlite import batch_statement
from server.store.sqlite.batch_statement import LOG_COLUMNS
from server.store.sqlite.migrate import transaction

_SIZES: Final = (64, 16, 4, 1)  # rows of one insert; 64 of 13 columns are well below SQLite's 32,766 values
_OLDEST: Final = (3, 33)  # an update that reads another table
_HEAD_COLUMNS: Final = HEAD_COLUMNS.replace("user_id, ", "user_id, number, ")
# All heads are one row of JSON, as are all used ids: fetching a row releases the interpreter lock each time.
_HEADS: Final = (
    f"select json_group_array(json_array({_HEAD_COLUMNS})), (select coalesce(max(number), 0) + 1 from sessions)"
    " from (select json_extract(value, '$[0]') as u, json_extract(value, '$[1]') as s from json_each(?))"
    " cross join sessions where session_id = s and user_id = u"
)
_USED: Final = (
    f"select json_group_array(json_array({LOG_COLUMNS})) from (select json_extract(value, '$[0]') as s,"
    " json_extract(value, '$[1]') as c from json_each(?)) cross join events where session = s and client_id = c"
)
_INSERT: Final = f"insert into events ({LOG_COLUMNS})"
_UPSERT: Final = f"insert into sessions (number, {SESSION_COLUMNS})"
_CHANGE: Final = (
    " on conflict (number) do update set workflow = excluded.workflow, state = excluded.state,"
    " memory = iif(excluded.memory = '', memory, excluded.memory), version = excluded.version, seq = excluded.seq,"
    " cursor = excluded.cursor, lined = excluded.lined, visible = excluded.visible, card = excluded.card,"
    " updated_at = excluded.updated_at where session_id = excluded.session_id and user_id = excluded.user_id"
)


class Planned(NamedTuple):
    """A batch of the short way: its outcomes, its statement with the values, and the heads after it."""

    outcomes: list[Outcome]
    statement: str
    values: list[Any]
    heads: dict[SessionKey, Head]


class Known:
    """The heads of the last written sessions, at most `limit`. Only the event loop's thread may use it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heads: dict[SessionKey, Head] = {}  # the latest last

    def plan(self, writes: Sequence[Write]) -> Planned | None:
        """Plan a batch for the short way; None when it needs the long way. Raises InvalidWrite.

        Planning removes the heads of the batch. After the commit the caller passes the new ones to `keep`.
        """
        for write in writes:
            check_write(write)
        heads: dict[SessionKey, Head] = {}
        keys = [write.key for write in writes]
        for key in set(keys):
            if (head := self._heads.pop(key, None)) is None:
                return None  # the long way reads all heads of the batch
            heads[key] = head
        before = {key: (head.number, *key, head.version, head.seq, head.updated_at) for key, head in heads.items()}
        batch = Batch(heads, {})
        outcomes = list(map(batch.apply, writes, keys))
        if not all(isinstance(outcome, Committed) for outcome in outcomes):
            return None  # a remembered head may be out of date: decide by the file
        changes = [before[key] + _changed_columns(head) for key, head in heads.items()]
        made = batch_statement.statement(changes, event_rows(batch.appended, batch_statement.NOTHING))
        return Planned(outcomes, *made, heads) if made is not None else None

    def keep(self, heads: dict[SessionKey, Head]) -> None:
        """Remember the heads of a committed batch, and forget the oldest ones above the limit."""
        for key, head in heads.items():
            head.memory = None  # the memory itself is not kept
            self._heads.pop(key, None)
            self._heads[key] = head
        while len(self._heads) > self._limit:
            del self._heads[next(iter(self._heads))]

    def forget(self, key: SessionKey) -> None:
        """Forget a session that is written without this object."""
        self._heads.pop(key, None)


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Create the temporary views of the short way for this connection. Raises sqlite3.Error, also for an old SQLite."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise sqlite3.NotSupportedError(f"SQLite {sqlite3.sqlite_version} is too old, 3.33 is wanted")
    batch_statement.prepare(connection)


def write_planned(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> bool:
    """Write a planned batch. False when a session has changed or an id was used; then nothing was written.

    Raises sqlite3.Error.
    """
    try:
        connection.execute(statement, values)
    except sqlite3.IntegrityError:
        return False
    return True


def write(connection: sqlite3.Connection, writes: Sequence[Write]) -> tuple[list[Outcome], dict[SessionKey, Head]]:
    """Write a batch the long way, with few statements. Returns the outcomes and the heads after it.

    Raises sqlite3.Error, InvalidWrite and Unreadable.
    """
    with transaction(connection):
        keys = [one.key for one in writes]
        rows, next_number = _ask(connection, _HEADS, list(set(keys)))
        heads = {SessionKey(user_id=user_id, session_id=name): Head(row) for name, user_id, *row in rows}
        batch = Batch(heads, _used(connection, heads, writes), next_number)
        outcomes = list(map(batch.apply, writes, keys))
        _insert(connection, _INSERT, event_rows(batch.appended))
        _insert(connection, _UPSERT, (_session_row(key, batch.heads[key]) for key in batch.changed), _CHANGE)
    return outcomes, batch.heads


def _used(
    connection: sqlite3.Connection, heads: dict[SessionKey, Head], writes: Sequence[Write]
) -> dict[tuple[SessionKey, str], Event]:
    """The stored events that have one of the writes' client ids."""
    asked = {(heads[one.key].number, one.client_id) for one in writes if one.client_id is not None and one.key in heads}
    if not asked:
        return {}
    keys = {head.number: key for key, head in heads.items()}
    rows, *_ = _ask(connection, _USED, list(asked))
    used = [(keys[number], event_of((keys[number].session_id, *row))) for number, *row in rows]
    return {(key, event.client_id): event for key, event in used if event.client_id is not None}


def _ask(connection: sqlite3.Connection, query: str, asked: Sequence[Any]) -> list[Any]:
    """Run a query that takes one JSON text (`asked`) and returns one row; its first column, JSON, is decoded."""
    text, *others = connection.execute(query, (encode(asked),)).fetchone()
    return [msgspec.json.decode(text), *others]


def _insert(connection: sqlite3.Connection, into: str, made: Iterable[tuple[Any, ...]], rest: str = "") -> None:
    """Insert rows with few statements of fixed sizes, so that sqlite3 can reuse the prepared ones."""
    rows, start = list(made), 0
    for size in _SIZES:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            row = f"({', '.join('?' * len(chunk[0]))})"
            values = ", ".join([row] * size)
            connection.execute(f"{into} values {values}{rest}", list(chain.from_iterable(chunk)))
            start += size


def _changed_columns(head: Head) -> tuple[Any, ...]:
    """The new values of a session: the end of CHANGE_COLUMNS. NOTHING means no card, or an unchanged memory."""
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


def _session_row(key: SessionKey, head: Head) -> tuple[Any, ...]:
    """The number and SESSION_COLUMNS of a session; an unchanged memory is the empty text."""
    workflow, state, memory, *rest, _, updated_at = _changed_columns(head)
    names = (head.number, key.session_id, key.user_id)
    return (*names, workflow, state, memory or "", *rest, head.card, head.created_at, updated_at)
