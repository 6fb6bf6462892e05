"""The machine of one conversation: what another process shows of the turn that it runs."""

from typing import Any

import pytest

from server.machines.effects import Ask, Commit, Effect, Evict, Read, RunStep, Show
from server.machines.inputs import (
    NOT_THERE,
    Appended,
    Opened,
    ReadDone,
    Remote,
    Rest,
    ShownElsewhere,
    Streamed,
    TimerFired,
    Wished,
)
from server.machines.session import Session
from server.wire import protocol
from server.wire.protocol import Transient
from tests.pure.sessions import append, cancel, cold, committing, idle, loaded, news, reload, running, say
from tests.support.builders import committed, ended, event, kinds, line, the

STATUS = protocol.status(3, "generating", "Almost there")


def elsewhere() -> Session:
    """A session whose line 3 is another process's."""
    return idle(line(3), limits={"takeover_ms": 5_000})


def piece(n: int, text: str, attempt: int = 1, *, turn: int = 3, reset: bool = False) -> Transient:
    payload: dict[str, Any] = {"turn": turn, "attempt": attempt, "n": n, "text": text, "reset": reset}
    return Transient("stream_delta", payload, role="assistant", message_id=f"s{attempt}")


def show(machine: Session, frame: Transient) -> list[Transient]:
    """What this process's tabs are shown of it."""
    effects = machine.deliver(ShownElsewhere(frame))
    shown = [effect for effect in effects if isinstance(effect, Show)]
    assert all(effect.here for effect in shown)
    return [effect.frame for effect in shown]


def text(machine: Session) -> str:
    """The text so far, as somebody who comes now is told."""
    return "".join(frame.payload["text"] for frame in machine.catch_up() if frame.type == "stream_delta")


def test_pieces_from_the_first_on_are_passed_on_and_kept() -> None:
    machine = elsewhere()
    for n, words in enumerate(["one", " two", " three"], 1):
        delta = piece(n, words, reset=n == 1)
        assert show(machine, delta) == [delta]
    assert text(machine) == "one two three"
    assert [(frame.message_id, frame.payload["n"]) for frame in machine.catch_up()[1:]] == [("s1", 3)]


def test_pieces_whose_beginning_was_missed_are_kept_from_the_tabs_and_asked_for() -> None:
    machine = elsewhere()
    assert machine.deliver(ShownElsewhere(piece(4, "four"))) == [Ask()]
    assert text(machine) == ""
    whole = piece(5, "one two three four five", reset=True)
    assert show(machine, whole) == [whole]
    assert show(machine, piece(6, " six")) == [piece(6, " six")]
    assert text(machine) == "one two three four five six"


@pytest.mark.parametrize(
    "late",
    [
        piece(1, "one"),
        piece(2, "two"),
        piece(9, "nine", attempt=0),
        piece(1, "x", 0, reset=True),
        piece(1, "one", reset=True),  # the beginning, once more
        piece(2, "one two", reset=True),  # shown again for another process
    ],
)
def test_pieces_that_come_late_are_dropped(late: Transient) -> None:
    machine = elsewhere()
    show(machine, piece(2, "one two", reset=True))
    assert machine.deliver(ShownElsewhere(late)) == []
    assert text(machine) == "one two"


def test_another_attempt_begins_anew() -> None:
    machine = elsewhere()
    show(machine, piece(3, "the first attempt", reset=True))
    assert machine.deliver(ShownElsewhere(piece(2, "late", attempt=2))) == [Ask()]
    show(machine, piece(1, "the", attempt=2, reset=True))
    assert text(machine) == "the"


@pytest.mark.parametrize("frame", [STATUS, piece(7, "of another turn", turn=0)])
def test_what_is_not_of_this_turns_text_is_passed_on(frame: Transient) -> None:
    assert show(elsewhere(), frame) == [frame]
    assert show(idle(), frame) == [frame]


def test_a_wish_is_granted_by_the_process_that_runs_the_turn() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "one", "s1"))
    machine.deliver(Streamed(step.run, " two", "s1"))
    shown = machine.deliver(Wished())
    assert kinds(shown) == ["Show", "Show"]
    granted = [effect for effect in shown if isinstance(effect, Show)]
    assert not any(effect.here for effect in granted)
    assert (granted[1].frame.payload["text"], granted[1].frame.payload["reset"]) == ("one two", True)


def test_a_quick_turn_is_not_spoken_for_because_another_process_asks() -> None:
    machine, step = running()
    assert machine.deliver(Wished()) == []
    machine.deliver(TimerFired("status", step.run))
    assert kinds(machine.deliver(Wished())) == ["Show"]


def test_a_wish_is_nothing_to_others() -> None:
    committed, _ = committing()
    for machine in (cold(), idle(), elsewhere(), committed):
        assert machine.deliver(Wished()) == []


def test_a_cancellation_keeps_what_was_said_elsewhere() -> None:
    machine = elsewhere()
    show(machine, piece(2, "so far", reset=True))
    write = the(machine.deliver(cancel()), Commit).write
    assert [(event.type, event.payload.get("text"), event.message_id) for event in write.events[:2]] == [
        ("chat_message", "so far", "s1"),
        ("turn_cancelled", None, "id1"),
    ]


def kept(effects: list[Effect]) -> str:
    """What a cancellation keeps."""
    [*said, _, _] = the(effects, Commit).write.events
    return "".join(event.payload["text"] for event in said)


def test_a_cancellation_keeps_what_was_shown_before_the_line_was_known_here() -> None:
    machine = idle(limits={"takeover_ms": 5_000})
    assert show(machine, piece(1, "one", reset=True)) == [piece(1, "one", reset=True)]
    assert show(machine, piece(2, " two")) == [piece(2, " two")]
    assert machine.turn is None
    assert text(machine) == "one two"  # for a tab that comes now, and has no status to be taken back
    assert [frame.type for frame in machine.catch_up()] == ["stream_delta"]
    assert kinds(machine.deliver(news(line(3)))) == ["TakeOver"]
    assert [frame.type for frame in machine.catch_up()] == ["status_update", "stream_delta"]
    assert kept(machine.deliver(cancel())) == "one two"


def test_pieces_whose_beginning_was_missed_are_asked_for_before_the_line_is_known_too() -> None:
    machine = idle(limits={"takeover_ms": 5_000})
    assert machine.deliver(ShownElsewhere(piece(2, "two"))) == [Ask()]
    assert machine.catch_up() == []


def test_a_cancellation_keeps_what_was_shown_before_and_while_the_session_was_read_again() -> None:
    machine = elsewhere()
    show(machine, piece(1, "one", reset=True))
    effects = machine.deliver(Opened(NOT_THERE))
    assert show(machine, piece(2, " two")) == [piece(2, " two")]
    assert kinds(reload(machine, effects, loaded(line(3)))) == ["Tell", "TakeOver"]
    assert show(machine, piece(3, " three")) == [piece(3, " three")]
    assert kept(machine.deliver(cancel())) == "one two three"


def test_a_turn_that_is_overheard_ends_those_before_it() -> None:
    """Their pieces come late, and are nothing that a cancellation would keep."""
    machine = elsewhere()
    show(machine, piece(1, "one", reset=True))
    show(machine, piece(1, "of the next", turn=6, reset=True))
    assert text(machine) == "one"  # it is not known here that the turn has ended
    assert show(machine, piece(2, " two")) == [piece(2, " two")]
    effects = machine.deliver(Opened(NOT_THERE))  # answered by a store that does not have the end yet
    reload(machine, effects, loaded(line(3), seq=3, lined=3))
    assert text(machine) == ""
    effects = machine.deliver(news(event(4, turn=3), ended(5, 3), line(6)))
    reload(machine, effects, loaded(line(6), seq=6, cursor=3, version=2))
    assert kept(machine.deliver(cancel(6))) == "of the next"


def test_a_session_that_has_overheard_something_does_not_rest_before_it_is_known_what_became_of_it() -> None:
    machine = idle(limits={"takeover_ms": 5_000})
    show(machine, piece(1, "one", reset=True))
    assert machine.deliver(Rest()) == []
    effects = machine.deliver(news(line(3), event(4, turn=3), ended(5, 3)))
    reload(machine, effects, loaded(seq=5, cursor=3, version=2))
    assert machine.deliver(Rest()) == [Evict()]


def test_what_was_overheard_of_a_log_that_was_cut_is_forgotten() -> None:
    machine = idle(limits={"takeover_ms": 5_000})
    show(machine, piece(1, "one", turn=6, reset=True))
    read = the(machine.deliver(Remote(6)), Read)
    reload(machine, machine.deliver(ReadDone(read.number, [])), loaded())
    assert machine.catch_up() == []
    show(machine, piece(1, "another", reset=True))
    machine.deliver(news(line(3)))
    assert kept(machine.deliver(cancel())) == "another"


def test_a_line_of_ours_that_another_process_began_to_answer_is_another_attempt_here() -> None:
    machine = idle(limits={"takeover_ms": 5_000})
    message = say()
    write = append(machine, message).write
    show(machine, piece(2, "one two", attempt=2, reset=True))
    assert the(machine.deliver(Appended(message, committed(write, 2))), RunStep).attempt == 3


def test_what_another_process_shows_of_a_turn_that_runs_here_is_passed_on() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "ours", "s1"))
    assert show(machine, piece(1, "theirs", attempt=2, reset=True)) == [piece(1, "theirs", attempt=2, reset=True)]
    assert text(machine) == "ours"


@pytest.mark.parametrize(("heard", "attempt"), [(0, 2), (1, 2), (4, 5)])
def test_a_turn_that_is_taken_over_is_another_attempt(heard: int, attempt: int) -> None:
    """Clients replace what they have by the pieces of a higher one."""
    machine = elsewhere()
    if heard:
        show(machine, piece(1, "x", attempt=heard, reset=True))
    effects = machine.deliver(TimerFired("takeover", 3))
    step = the(reload(machine, effects, loaded(line(3))), RunStep)
    assert step.attempt == attempt
    delta = the(machine.deliver(Streamed(step.run, "anew", "s9")), Show).frame
    assert (delta.payload["attempt"], delta.payload["n"], delta.payload["reset"]) == (attempt, 1, True)
