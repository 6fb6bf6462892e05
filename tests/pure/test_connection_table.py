"""The table at the head of the connection machine is what the machine does: each of its cells is tried."""

import inspect
from collections.abc import Callable
from typing import Final

import pytest

from server.machines import connection
from server.machines.connection import Connection, Effect, Load, Phase, Read
from tests.pure.connections import answer, connect, live, log
from tests.pure.tables import NEVER, rows, says
from tests.support.builders import kinds, snapshot, the

PHASES: Final = (Phase.LOADING, Phase.REPLAYING, Phase.LIVE)
#: How far a connection of `at` has the log, and how far it knows the log to go.
LAST, HEAD = 3, 5

Case = Callable[[Connection], list[Effect]]


def at(phase: Phase) -> Connection:
    """A connection in a phase. One that replays has sent a page and waits for the next; its log goes to HEAD."""
    if phase is Phase.LIVE:
        return live(LAST)
    machine, load = connect()
    if phase is Phase.REPLAYING:
        answer(machine, load, HEAD)
        the(machine.drained(), Read)
    return machine


def _resumed(machine: Connection) -> list[Effect]:
    """The answer to the load of a connection that was live before, and whose client saw a gap."""
    if machine.phase is Phase.LOADING:
        machine.loaded(machine._read_id, snapshot(seq=LAST), log(1, 2, 3))
        the(machine.resume(LAST), Load)
    return machine.loaded(machine._read_id, snapshot(seq=HEAD), log(4, 5))


def _drained(machine: Connection) -> list[Effect]:
    """The queue drains when the last page that was read is sent."""
    if machine.phase is Phase.REPLAYING:
        machine.page(machine._read_id, log(4))
    return machine.drained()


def _drained_at_head(machine: Connection) -> list[Effect]:
    if machine.phase is Phase.REPLAYING:
        machine.page(machine._read_id, log(4, 5))
    return machine.drained()


CASES: Final[dict[str, Case]] = {
    "loaded: a page": lambda machine: machine.loaded(machine._read_id, snapshot(seq=HEAD), log(1, 2, 3)),
    "loaded: nothing": lambda machine: machine.loaded(machine._read_id, snapshot(seq=0), []),
    "loaded: a resume": _resumed,
    "loaded: none": lambda machine: machine.loaded(machine._read_id, None, []),
    "page": lambda machine: machine.page(machine._read_id, log(4, 5)),
    "page: a hole": lambda machine: machine.page(machine._read_id, log(5)),
    "live: the next": lambda machine: machine.live(log(*range(machine.high + 1, 8))),
    "live: old": lambda machine: machine.live(log(*range(1, machine.last + 1))),
    "live: a gap": lambda machine: machine.live(log(9)),
    "hint: ahead": lambda machine: machine.hint(9),
    "hint: known": lambda machine: machine.hint(machine.last),
    "full": lambda machine: machine.full(LAST - 1),
    "drained: short": _drained,
    "drained: at head": _drained_at_head,
    "resume": lambda machine: machine.resume(LAST - 1),
    "read_failed": lambda machine: machine.read_failed(machine._read_id),
}

ROWS: Final = rows(connection.__doc__ or "", [phase.name for phase in PHASES])
CELLS: Final = [
    pytest.param(cell, phase, CASES[label], id=f"{label}, {phase.name}")
    for label, cells in ROWS.items()
    for phase, cell in zip(PHASES, cells, strict=True)
    if cell != NEVER
]


def differs(cell: str, phase: Phase, case: Case) -> str | None:
    """How the machine differs from a cell; None: it does not."""
    machine = at(phase)
    assert machine.phase is phase
    high, last = machine.high, machine.last
    effects = case(machine)
    words, after = says(cell)
    told = [word for word in words if word not in {"note", "back"}]
    wanted = told, Phase[after] if after else phase, "back" in words
    does = kinds(effects), machine.phase, machine.last < last and machine.phase is not Phase.LOADING
    if wanted != does:
        return f"the table says {wanted}, the machine does {does}"
    is_news = case in {CASES[label] for label in CASES if label.startswith(("live", "hint"))}
    return f"{cell}, and high is {machine.high}" if is_news and (machine.high > high) != ("note" in words) else None


@pytest.mark.parametrize(("cell", "phase", "case"), CELLS)
def test_a_cell_of_the_table_is_what_the_machine_does(cell: str, phase: Phase, case: Case) -> None:
    assert differs(cell, phase, case) is None


def test_every_row_has_its_case_and_every_input_its_row() -> None:
    assert list(ROWS) == list(CASES)
    public = {name for name, _ in inspect.getmembers(Connection, inspect.isfunction) if not name.startswith("_")}
    assert {label.split(": ")[0] for label in ROWS} == public - {"open", "closed"}


def test_a_live_connection_reads_nothing() -> None:
    assert not at(Phase.LIVE)._reading


@pytest.mark.parametrize(
    ("cell", "phase", "label"),
    [
        ("–", Phase.REPLAYING, "page"),
        ("Send → LIVE", Phase.REPLAYING, "page"),
        ("note", Phase.LOADING, "hint: known"),
        ("–", Phase.LOADING, "hint: ahead"),
        ("–", Phase.REPLAYING, "full"),
        ("Send", Phase.LIVE, "live: the next"),
    ],
)
def test_a_cell_that_says_something_else_is_found(cell: str, phase: Phase, label: str) -> None:
    assert differs(cell, phase, CASES[label]) is not None
