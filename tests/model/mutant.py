"""What a mutant is."""

from dataclasses import dataclass
from typing import Final

SESSION: Final = "server/machines/session.py"
STANDING: Final = "server/machines/standing.py"
ELSEWHERE: Final = "server/machines/elsewhere.py"
CONNECTION: Final = "server/machines/connection.py"
INBOX: Final = "server/machines/known_log.py"
LINES: Final = "server/machines/lines.py"
COMMIT: Final = "server/engine/group_commit.py"
TURNS: Final = "server/machines/turn.py"
RECORDS: Final = "server/records.py"
BATCH: Final = "server/store/batch.py"
BATCH_STATEMENT: Final = "server/store/sqlite/batch_statement.py"
DICT: Final = "tests/support/dict_store.py"

PURE_SESSION: Final = (
    "tests/pure/test_elsewhere.py",
    "tests/pure/test_known_log.py",
    "tests/pure/test_lines.py",
    "tests/pure/test_session_opening.py",
    "tests/pure/test_session_lines.py",
    "tests/pure/test_session_at_once.py",
    "tests/pure/test_session_turns.py",
    "tests/pure/test_session_cancel.py",
    "tests/pure/test_session_busy.py",
    "tests/pure/test_session_processes.py",
    "tests/pure/test_session_shown.py",
    "tests/pure/test_session_again.py",
    "tests/pure/test_session_table.py",
    "tests/pure/test_session_schedules.py",
)
PURE_CONNECTION: Final = (
    "tests/pure/test_connection.py",
    "tests/pure/test_connection_live.py",
    "tests/pure/test_connection_table.py",
    "tests/pure/test_connection_schedules.py",
)
STORES: Final = (
    "tests/conformance/test_store.py",
    "tests/conformance/test_store_reads.py",
    "tests/conformance/test_store_at_once.py",
)
OWNERS: Final = ("tests/conformance/test_owners.py",)
GROUP: Final = ("tests/engine/test_group_commit.py",)


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a patch: `old` stands exactly once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is broken, where, and which tests must see it besides the schedules."""

    name: str
    says: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    is_in_model: bool = True


def mutant(  # noqa: PLR0917  rows of a table
    name: str, says: str, path: str, old: str, new: str, tests: tuple[str, ...], *, model: bool = True
) -> Mutant:
    return Mutant(name, says, (Change(path, old, new),), tests, model)
