"""A batch whose outcomes are known, as one statement: all of it, or nothing where a session is not as it was known.

Each statement lets go of the interpreter several times and waits to get it back from a busy event loop; so there is
one, and all values are bound to it: `insert into batch_32 values (…)`. The view has a column for each value of so many
sessions and events, the trigger behind it does the work with a statement for each table, and room that stays empty is
full of NOTHING. JSON in the place of the columns takes SQLite twice as long.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from server.store.rows import EVENT_COLUMNS

#: How many sessions and events one row has room for. Room that stays empty is bound, too, and looked at.
_SHAPES: Final = ((1, 3), (4, 12), (12, 36), (32, 96))
#: Stands for NULL, because no text is equal to a number: binding None makes sqlite3 search for an adapter, which costs
#: more than all other values of the row.
NOTHING: Final = 0
#: Of a session: what it was, by which it is known again, and what becomes of it.
CHANGE_COLUMNS: Final = (
    "number, user_id, session_id, was_version, was_seq, was_updated_at,"
    " workflow, state, memory, version, seq, cursor, lined, visible, card, updated_at"
)
_CHANGED: Final = CHANGE_COLUMNS.split(", ")
#: Of an event, which knows its session by the number.
LOG_COLUMNS: Final = EVENT_COLUMNS.replace("session_id", "session")
_LOGGED: Final = LOG_COLUMNS.split(", ")
_EVENT: Final = ", ".join(
    f"nullif(new_{name}, {NOTHING})" if name == "client_id" else f"new_{name}" for name in _LOGGED
)
#: Values that SQLite binds to one statement.
_VALUES_MAX: Final = 32_766


def prepare(connection: sqlite3.Connection) -> None:
    """Make the views and their triggers, in memory, of this connection. Raises sqlite3.Error."""
    connection.execute("pragma temp_store = memory")
    # Another process may have made the tables: a plain statement looks again where a trigger's takes its word for it.
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
        # Compiling the largest takes milliseconds, and no line should wait for that. Without values it is compiled
        # and not run, so that a start needs no lock.
        with contextlib.suppress(sqlite3.ProgrammingError):
            connection.execute(_text(shape, 1))


def statement(changes: Sequence[tuple[Any, ...]], events: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]] | None:
    """The statement that writes rows of CHANGE_COLUMNS and of LOG_COLUMNS, and its values; None for too many.

    In the rows NOTHING stands for null, and for a memory that stays as it is.
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


@lru_cache  # of each shape as many rows as its values allow
def _text(shape: tuple[int, int], rows: int) -> str:
    row = f"({', '.join('?' * _width(shape))})"
    return f"insert into batch_{shape[0]} values {', '.join([row] * rows)}"


def _width(shape: tuple[int, int]) -> int:
    return 1 + shape[0] * len(_CHANGED) + shape[1] * len(_LOGGED)


def _names(kind: str, count: int, columns: Sequence[str]) -> list[str]:
    return [f"{kind}{number}_{column}" for number in range(count) for column in columns]


def _rows(kind: str, count: int, columns: Sequence[str]) -> str:
    """The columns of the view as rows. The first select gives them names, which a trigger's values have not."""
    names = ", ".join(f"null as new_{column}" for column in columns)
    rows = (", ".join(f"new.{kind}{number}_{column}" for column in columns) for number in range(count))
    return f"select {names} where false union all values {', '.join(f'({row})' for row in rows)}"
