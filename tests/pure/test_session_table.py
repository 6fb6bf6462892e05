"""The table at the head of the session machine is what the machine does: each of its cells is tried.

A case brings a session into a phase and names what goes in then. The cell tells the kinds of the effects, in their
order, and the phase after; "hold" and "note" tell what is kept.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

import pytest

from server.errors import ErrorCode
from server.machines import inputs, session
from server.machines.effects import AnswerAtOnce, Append, Find, Read, RunStep
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import UNKNOWN, Committed, Conflict, Duplicate, Event, Missing
from server.wire.protocol import Transient
from server.workflows.table import Progress
from tests.pure.sessions import IDS, append, cancel, cold, done, idle, loaded, news, press, say
from tests.pure.tables import NEVER, rows, says
from tests.support.builders import T0_MS, committed, ended, event, kinds, line, snapshot, the

PHASES: Final = tuple(Phase)
#: What a cell says beside effects and phases: what was asked is held, the head of the log is noted.
HOLD, NOTE = "hold", "note"

Prepare = Callable[[Session], Any]
Case = Callable[[Phase], tuple[Session, inputs.Input]]


def _nothing(_: Session) -> None:
    """Needs no preparation."""


# ---------------------------------------------------------------- the table


def short(doc: str) -> dict[str, str]:
    """The words that stand for several effects."""
    return dict(re.findall(r"(\w+) = ([A-Z][^·]*?)(?= ·)", " ".join(doc.split())))


DOC: Final = session.__doc__ or ""
ROWS: Final = rows(DOC, [phase.name for phase in PHASES])
SHORT: Final = short(DOC)


def wanted(cell: str, phase: Phase) -> tuple[list[str], Phase, bool, bool]:
    """What a cell says: the kinds of effects, the phase after, whether what is asked is held and the head noted."""
    for word, meaning in SHORT.items():
        cell = re.sub(rf"\b{word}\b", meaning, cell)
    words, after = says(cell)
    told = [word for word in words if word not in {HOLD, NOTE}]
    return told, Phase[after] if after else phase, HOLD in words, NOTE in words


# ---------------------------------------------------------------- sessions in a phase


def at(phase: Phase, prepare: Prepare = _nothing, **limits: int) -> tuple[Session, Any]:
    """A session in a phase, and what `prepare` made of it while it was idle.

    The turn of line 3 is under way in RUNNING and COMMITTING. Another process has ended it in LOADING.
    """
    if phase is Phase.COLD:
        machine = cold()
        return machine, prepare(machine)
    machine = idle(limits=limits, card="left")
    prepared = prepare(machine)
    if phase is Phase.IDLE:
        return machine, prepared
    step = the(machine.deliver(news(line(3))), RunStep)
    if phase is Phase.COMMITTING:
        machine.deliver(done(step))
    if phase is Phase.LOADING:
        machine.deliver(news(event(4, turn=3), ended(5, 3)))
    assert machine.phase is phase
    return machine, prepared


def run_of(machine: Session) -> int:
    """The number of the turn under way, else of the last one."""
    return machine.running.run if machine.running else 2


def case(make: Callable[[Session], inputs.Input], prepare: Prepare = _nothing) -> Case:
    """An input that is made of the session as it is then; `prepare` is done in the phase."""

    def made(phase: Phase) -> tuple[Session, inputs.Input]:
        machine, _ = at(phase)
        prepare(machine)
        return machine, make(machine)

    return made


def answered(ask: Prepare, answer: Callable[[Any], inputs.Input]) -> Case:
    """The answer to an effect that an idle session wanted; its phase may have changed since."""

    def made(phase: Phase) -> tuple[Session, inputs.Input]:
        machine, asked = at(phase, ask)
        return machine, answer(asked)

    return made


# ---------------------------------------------------------------- what goes in


def _ask_at_once(machine: Session) -> AnswerAtOnce:
    return the(machine.deliver(say(client_id="c9")), AnswerAtOnce)


def at_once(end: Callable[[RunStep], inputs.Done | inputs.Failed | inputs.MayWait]) -> Case:
    return answered(_ask_at_once, lambda asked: inputs.AtOnce(asked.message, asked.line, end(asked.step)))


def _broken(step: RunStep) -> inputs.Failed:
    return inputs.Failed(step.run, ErrorCode.STEP_FAILED, "It broke.", "corr", True, IDS, T0_MS)


def appended(outcome: Callable[[Append, int], Any]) -> Case:
    """The answer to an Append that was wanted in the phase."""

    def made(phase: Phase) -> tuple[Session, inputs.Input]:
        machine, _ = at(phase)
        wants = append(machine, say(client_id="c9"))
        return machine, inputs.Appended(wants.message, outcome(wants, machine.inbox.head))

    return made


def _same_line(wants: Append, _: int) -> Duplicate:
    return Duplicate(line(2, client_id=wants.message.say.client_id))


def load_done(answer: Any) -> Case:
    return case(lambda machine: inputs.LoadDone(machine._load_number, answer))


def read_done(page: Callable[[int], Sequence[Event] | inputs.Unreadable]) -> Case:
    """The answer to a Read that was wanted in the phase, or to one that is over."""

    def made(phase: Phase) -> tuple[Session, inputs.Input]:
        machine, _ = at(phase)
        reads = [one for one in machine.deliver(_gap(machine)) if isinstance(one, Read)]
        return machine, inputs.ReadDone(reads[0].number if reads else 1, page(machine.inbox.head))

    return made


def found(answer: Any) -> Case:
    def ask(machine: Session) -> inputs.Asked:
        return the(machine.deliver(_wrong()), Find).asked

    return answered(ask, lambda asked: inputs.Found(asked, answer))


def _wrong() -> inputs.Message:
    """A press of a button whose card is closed."""
    return press("closed", client_id="c8")


def turn_committed(outcome: Callable[[Session], Any]) -> Case:
    return case(lambda machine: inputs.TurnCommitted(run_of(machine), outcome(machine)))


def _committed(machine: Session) -> Committed:
    running = machine.running
    written = running is not None and running.write is not None
    return committed(running.write, machine.inbox.head, 2) if written else Committed((event(4),), 2)  # type: ignore[union-attr,arg-type]


def _elsewhere(phase: Phase) -> tuple[Session, inputs.Input]:
    """A cancellation of line 3, which waits for another process where the session is idle."""
    if phase is not Phase.IDLE:
        return at(phase)[0], cancel()
    return at(phase, lambda machine: machine.deliver(news(line(3))), takeover_ms=5_000)[0], cancel()


def _take_over(phase: Phase) -> tuple[Session, inputs.Input]:
    return _elsewhere(phase)[0], inputs.TimerFired("takeover", 3)


def _gap(machine: Session) -> inputs.Remote:
    return inputs.Remote(machine.inbox.head + 1)


def _turn_of_another(machine: Session) -> inputs.Remote:
    head = machine.inbox.head
    return news(line(head + 1), event(head + 2, turn=head + 1), ended(head + 3, head + 1))


def _piece(n: int) -> inputs.ShownElsewhere:
    payload = {"turn": 9, "attempt": 1, "n": n, "text": "piece", "reset": n == 1}
    return inputs.ShownElsewhere(Transient("stream_delta", payload, role="assistant", message_id="s9"))


def _shown(machine: Session) -> None:
    machine.deliver(inputs.Shown(run_of(machine), Progress("Looking")))


def _unread(machine: Session) -> None:
    """A gap was found, and could not be read."""
    for read in [one for one in machine.deliver(_gap(machine)) if isinstance(one, Read)]:
        machine.deliver(inputs.ReadDone(read.number, inputs.UNREADABLE))


def timer(name: str, prepare: Prepare = _nothing) -> Case:
    return case(lambda machine: inputs.TimerFired(name, run_of(machine)), prepare)


CASES: Final[dict[str, list[Case]]] = {
    "Opened: Loaded": [case(lambda machine: inputs.Opened(loaded()))],
    "Opened: NotThere": [case(lambda machine: inputs.Opened(inputs.NOT_THERE))],
    "Message": [case(lambda machine: say(client_id="c9"))],
    "Message: wrong": [case(lambda machine: _wrong())],
    "AtOnce: Done, Failed": [at_once(done), at_once(_broken)],
    "AtOnce: MayWait": [at_once(lambda step: inputs.MAY_WAIT)],
    "Appended: Committed": [appended(lambda wants, head: committed(wants.write, head))],
    "Appended: Duplicate": [appended(_same_line)],
    "Appended: Missing": [appended(lambda wants, head: Missing())],
    "Appended: not known": [
        appended(lambda wants, head: UNKNOWN),
        appended(lambda wants, head: inputs.OVERLOADED),
        appended(lambda wants, head: Conflict(1)),
    ],
    "LoadDone: Loaded": [load_done(loaded())],
    "LoadDone: NotThere": [load_done(inputs.NOT_THERE)],
    "LoadDone: Unreadable": [load_done(inputs.UNREADABLE)],
    "ReadDone: a line": [read_done(lambda head: [line(head + 1)])],
    "ReadDone: a cut log": [read_done(lambda head: []), read_done(lambda head: [line(head + 2)])],
    "ReadDone: Unreadable": [read_done(lambda head: inputs.UNREADABLE)],
    "Found: Event": [found(line(2, "Go left", client_id="c8", action_value="left", action_message_id="closed"))],
    "Found: none": [found(inputs.NOT_THERE), found(snapshot())],
    "Found: Unreadable": [found(inputs.UNREADABLE)],
    "Done, Failed": [
        case(lambda machine: done(_step(machine))),
        case(lambda machine: _broken(_step(machine))),
    ],
    "Shown, Streamed, Again": [
        case(lambda machine: inputs.Shown(run_of(machine), Progress("Looking"))),
        case(lambda machine: inputs.Streamed(run_of(machine), "piece", "s3")),
        case(lambda machine: inputs.Again(run_of(machine))),
    ],
    "Wished": [case(lambda machine: inputs.Wished(), _shown)],
    "Interrupted": [case(lambda machine: inputs.Interrupted(run_of(machine), IDS, T0_MS))],
    "Cancel": [case(lambda machine: cancel())],
    "Cancel: elsewhere": [_elsewhere],
    "TurnCommitted: Committed": [turn_committed(_committed)],
    "TurnCommitted: Conflict": [turn_committed(lambda machine: Conflict(2))],
    "TurnCommitted: not known": [
        turn_committed(lambda machine: UNKNOWN),
        turn_committed(lambda machine: inputs.OVERLOADED),
    ],
    "TurnCommitted: else": [
        turn_committed(lambda machine: Missing()),
        turn_committed(lambda machine: Duplicate(line(2))),
    ],
    "Remote: a line": [case(lambda machine: news(line(machine.inbox.head + 1)))],
    "Remote: a gap": [case(_gap), case(lambda machine: news(line(machine.inbox.head + 2)))],
    "Remote: a turn": [case(_turn_of_another)],
    "ShownElsewhere": [case(lambda machine: _piece(1))],
    "ShownElsewhere: a gap": [case(lambda machine: _piece(2))],
    "TimerFired: takeover": [_take_over],
    "TimerFired: status": [timer("status")],
    "TimerFired: commit": [timer("commit")],
    "TimerFired: load": [timer("load")],
    "TimerFired: read": [timer("read", _unread)],
    "Rest": [case(lambda machine: inputs.Rest())],
}


def _step(machine: Session) -> RunStep:
    """What ran last; only its number counts."""
    return RunStep(run_of(machine), 3, 1, line(3), machine.snapshot, stale=False)


# ---------------------------------------------------------------- the cells


CELLS: Final = [
    pytest.param(cell, phase, make, id=f"{label}, {phase.name}, {number}")
    for label, cells in ROWS.items()
    for phase, cell in zip(PHASES, cells, strict=True)
    for number, make in enumerate(CASES.get(label, []))
    if cell != NEVER
]


def differs(cell: str, phase: Phase, make: Case) -> str | None:
    """How the machine differs from a cell; None: it does not."""
    machine, received = make(phase)
    assert machine.phase is phase
    high, held = max(machine.inbox.high, machine.inbox.head), len(machine._held.asked)
    effects = machine.deliver(received)
    is_held, is_noted = len(machine._held.asked) > held, max(machine.inbox.high, machine.inbox.head) > high
    does = kinds(effects), machine.phase, is_held, is_noted
    claims = wanted(cell, phase)
    # A session hears how far the log goes from other inputs, too; the table tells it of another process's news alone.
    if not isinstance(received, inputs.Remote):
        does, claims = (*does[:3], False), (*claims[:3], False)
    return None if does == claims else f"the table says {claims}, the machine does {does}"


@pytest.mark.parametrize(("cell", "phase", "make"), CELLS)
def test_a_cell_of_the_table_is_what_the_machine_does(cell: str, phase: Phase, make: Case) -> None:
    assert differs(cell, phase, make) is None


def test_every_row_has_its_cases_and_every_case_its_row() -> None:
    assert list(ROWS) == list(CASES)
    assert all(CASES.values())


def test_every_input_stands_in_the_table() -> None:
    tried = {type(make(Phase.IDLE)[1]) for makes in CASES.values() for make in makes}
    assert tried == set(get_args(inputs.Input))


def test_a_label_names_the_inputs_that_its_cases_give() -> None:
    for label, makes in CASES.items():
        named = label.split(": ")[0].split(", ")
        assert {type(make(Phase.IDLE)[1]).__name__ for make in makes} == set(named)


def test_what_never_comes_is_an_answer_for_a_session_that_has_asked_nothing_because_every_way_to_cold_evicts() -> None:
    assert not any(NEVER in later for _, *later in ROWS.values())
    never = {label.split(": ")[0] for label, [first, *_] in ROWS.items() if first == NEVER}
    assert never == {"AtOnce", "Appended", "Found", "TimerFired"}
    for cells in ROWS.values():
        for phase, cell in zip(PHASES, cells, strict=True):
            effects, after, _, _ = wanted(cell, phase) if cell != NEVER else ([], phase, False, False)
            assert after is not Phase.COLD or phase is Phase.COLD or effects[-1] == "Evict"


@pytest.mark.parametrize(
    ("cell", "phase", "label"),
    [
        ("Append", Phase.IDLE, "Message"),  # another effect
        ("AnswerAtOnce → RUNNING", Phase.IDLE, "Message"),  # another phase
        ("AnswerAtOnce, hold", Phase.IDLE, "Message"),
        ("note", Phase.IDLE, "Remote: a gap"),  # an effect less
        ("Read", Phase.IDLE, "Remote: a gap"),
        ("–", Phase.RUNNING, "Shown, Streamed, Again"),
        ("Show", Phase.IDLE, "Shown, Streamed, Again"),  # an effect where there is none
    ],
)
def test_a_cell_that_says_something_else_is_found(cell: str, phase: Phase, label: str) -> None:
    assert differs(cell, phase, CASES[label][0]) is not None


def test_a_row_that_is_missing_is_found() -> None:
    without = DOC.replace(next(text for text in DOC.splitlines() if "Wished" in text) + "\n", "")
    assert list(rows(without, [phase.name for phase in PHASES])) == [label for label in CASES if label != "Wished"]
