"""Writes a planned batch with one statement. It writes nothing if a session in the file differs from the plan's.

Each statement releases Python's interpreter lock several times and then waits for a busy event loop to get it back. So
a batch is one statement with all values bound to it: `insert into batch_32 values (…)`. The view has one column for
each value of a fixed number of sessions and events; unused columns hold NOTHING. The view's trigger writes the tables,
with one statement for each. Passing JSON instead of columns takes SQLite twice as long.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from server.store.rows import EVENT_COLUMNS

#: The sizes of a row of the view: (sessions, events). Unused columns are bound and examined, too.
_SHAPES: Final = ((1, 3), (4, 12), (12, 36), (32, 96))
#: Stands for NULL: binding None makes sqlite3 search for an adapter, which costs more than all other values of the row.
#: It cannot be confused with a text, because no text equals a number.
NOTHING: Final = 0
#: The values of a changed session: its identity, the three values that must still be in the file, and the new values.
CHANGE_COLUMNS: Final = (
    "number, user_id, session_id, was_version, was_seq, was_updated_at,"
    " workflow, state, memory, version, seq, cursor, lined, visible, card, updated_at"
)
_CHANGED: Final = CHANGE_COLUMNS.split(", ")
#: The columns of an event in the file, where `session` is the session's number.
LOG_COLUMNS: Final = EVENT_COLUMNS.replace("session_id", "session")
_LOGGED: Final = LOG_COLUMNS.split(", ")
_EVENT: Final = ", ".join(
    f"nullif(new_{name}, {NOTHING})" if name == "client_id" else f"new_{name}" for name in _LOGGED
)
#: The most values that SQLite binds to one statement.
_VALUES_MAX: Final = 32_766


def prepare(connection: sqlite3.Connection) -> None:
    """Create this connection's temporary views and triggers, in memory. Raises sqlite3.Error."""
    connection.execute("pragma temp_store = memory")
    # Another process may have created the tables. A plain statement reloads the schema; one in a trigger does not.
    connection.execute("select 1 from sessions, events limit 0")
    for sessions, events in _SHAPES:
        columns = ["changes", *_names("s", sessions, _CHANGED), *_names("e", events, _LOGGED)]
        view = ", ".join(f"null as {name}" for name in columns)
        connection.execute(f"create temp view batch_{sessions} as select {view}")
        connection.execute(
            f"create temp trigger write_{sessions} instead of insert on batch_{sessions} begin"
            " update sessions set workflow = new_workflow, state = new_state,"
            f" memory = iif(new_memory = {NOTHING}, memory, new_memory), version = new_version, seq = new_seq,"
            f" cursor = new_cursor, lined = new_lined, visible = new_visible, card = nullif(new_card, {NOTHING}),"
            f" updated_at = new_updated_at from ({_rows('s', sessions, _CHANGED)})"
            f" where new_number <> {NOTHING} and number = new_number and session_id = new_session_id"
            " and user_id = new_user_id and version = new_was_version and seq = new_was_seq"
            " and updated_at = new_was_updated_at;"
            " select raise(abort, 'a session has moved on') where changes() <> new.changes;"
            f" insert into events ({LOG_COLUMNS}) select {_EVENT} from ({_rows('e', events, _LOGGED)})"
            f" where new_session <> {NOTHING}; end"
        )
    for shape in _SHAPES:
        # Compile now: the largest statement takes milliseconds, which a user's line would wait for. Without values
        # SQLite compiles it and does not run it, so a start needs no lock.
        with contextlib.suppress(sqlite3.ProgrammingError):
            connection.execute(_text(shape, 1))


def statement(changes: Sequence[tuple[Any, ...]], events: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]] | None:
    """The statement that writes `changes` (rows of CHANGE_COLUMNS) and `events` (rows of LOG_COLUMNS), and its values.

    None when they are too many for one statement. In the rows NOTHING stands for null, and for an unchanged memory.
    """
    for shape in _SHAPES:
        if shape[0] >= len(changes) and shape[1] >= len(events):
            break
    sessions, log = shape
    rows = max(1, -(-len(changes) // sessions), -(-len(events) // log))
    if rows * _width(shape) > _VALUES_MAX:
        return None
    values: list[Any] = []
    for row in range(rows):
        changed = changes[row * sessions : (row + 1) * sessions]
        logged = events[row * log : (row + 1) * log]
        values.append(len(changed))
        values += chain.from_iterable(changed)
        values += (NOTHING,) * ((sessions - len(changed)) * len(_CHANGED))
        values += chain.from_iterable(logged)
        values += (NOTHING,) * ((log - len(logged)) * len(_LOGGED))
    return _text(shape, rows), values


@lru_cache  # bounded: _VALUES_MAX allows few rows of each shape
def _text(shape: tuple[int, int], rows: int) -> str:
    row = f"({', '.join('?' * _width(shape))})"
    return f"insert into batch_{shape[0]} values {', '.join([row] * rows)}"


def _width(shape: tuple[int, int]) -> int:
    return 1 + shape[0] * len(_CHANGED) + shape[1] * len(_LOGGED)


def _names(kind: str, count: int, columns: Sequence[str]) -> list[str]:
    return [f"{kind}{number}_{column}" for number in range(count) for column in columns]


def _rows(kind: str, count: int, columns: Sequence[str]) -> str:
    """SQL that turns the view's columns into rows. The first select names the columns: `values` alone cannot."""
    names = ", ".join(f"null as new_{column}" for column in columns)
    rows = (", ".join(f"new.{kind}{number}_{column}" for column in columns) for number in range(count))
    return f"select {names} where false union all values {', '.join(f'({row})' for row in rows)}"
