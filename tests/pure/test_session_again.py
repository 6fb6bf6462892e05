"""The machine of one conversation: a step that broke off in mid-answer and is begun anew."""

from server.machines.effects import Commit, RunStep, Show
from server.machines.inputs import Again, Shown, ShownElsewhere, Streamed, TurnCommitted, Wished
from server.machines.session import Session
from server.records import Conflict
from server.wire.protocol import Transient
from server.workflows.table import Progress, chat
from tests.pure.sessions import broken, cancel, done, idle, loaded, reload, running
from tests.support.builders import kinds, line, the


def piece(machine: Session, step: RunStep, text: str, message_id: str) -> Transient:
    [shown] = machine.deliver(Streamed(step.run, text, message_id))
    assert isinstance(shown, Show)
    return shown.frame


def told(frame: Transient) -> tuple[int, int, str, bool]:
    payload = frame.payload
    return payload["attempt"], payload["n"], payload["text"], payload["reset"]


def again() -> tuple[Session, RunStep]:
    """A session whose step said "Tea is " and is begun anew."""
    machine, step = running()
    piece(machine, step, "Tea ", "s1")
    piece(machine, step, "is ", "s2")
    machine.deliver(Again(step.run))
    return machine, step


def test_the_next_pieces_are_of_another_attempt_and_replace_what_was_said() -> None:
    machine, step = again()
    first = piece(machine, step, "Tea ", "s3")
    assert told(first) == (2, 1, "Tea ", True)
    assert first.message_id == "s1"  # clients that know texts by their ids replace it, too
    assert told(piece(machine, step, "is a leaf.", "s4")) == (2, 2, "is a leaf.", False)
    [_, whole] = machine.catch_up()
    assert told(whole) == (2, 2, "Tea is a leaf.", True)


def test_everybody_is_told_that_it_begins_anew_and_a_late_tab_sees_none_of_the_old_text() -> None:
    machine, step = running()
    machine.deliver(Shown(step.run, Progress("Slide 5 of 10", progress=50)))
    piece(machine, step, "Tea is ", "s1")
    [shown] = machine.deliver(Again(step.run))
    assert isinstance(shown, Show)
    assert (shown.here, shown.frame.payload["status"], shown.frame.payload["progress"]) == (False, "thinking", None)
    assert machine.catch_up() == [shown.frame]
    assert machine.deliver(Wished()) == [shown]


def test_its_answer_is_one_message_under_the_streams_id() -> None:
    machine, step = again()
    piece(machine, step, "Tea is a leaf.", "s3")
    write = the(machine.deliver(done(step, chat("Tea is a leaf."))), Commit).write
    assert [event.type for event in write.events] == ["chat_message", "state_update"]
    assert write.events[0].message_id == "s1"


def test_a_cancel_keeps_the_words_of_the_last_attempt_alone() -> None:
    machine, step = again()
    piece(machine, step, "Coffee", "s3")
    write = the(machine.deliver(cancel()), Commit).write
    assert write.events[0].payload["text"] == "Coffee"
    machine, _ = again()
    assert [event.type for event in the(machine.deliver(cancel()), Commit).write.events] == [
        "turn_cancelled",
        "state_update",
    ]


def test_attempts_are_counted_on_through_breaks_and_conflicts() -> None:
    """Another attempt never has the number of one whose pieces clients may have."""
    machine, step = again()
    machine.deliver(Again(step.run))
    commit = the(machine.deliver(done(step)), Commit)
    effects = reload(machine, machine.deliver(TurnCommitted(commit.run, Conflict(2))), loaded(line(3)))
    after = the(effects, RunStep)
    assert (step.attempt, after.attempt) == (1, 4)
    assert told(piece(machine, after, "Tea", "s9")) == (4, 1, "Tea", True)


def test_a_step_that_nobody_wants_any_more_is_not_begun_anew() -> None:
    machine, step = running()
    machine.deliver(cancel())
    assert machine.deliver(Again(step.run)) == []
    machine, step = running()
    assert machine.deliver(Again(step.run + 1)) == []
    assert told(piece(machine, step, "Tea", "s1")) == (1, 1, "Tea", True)


def test_one_that_fails_in_its_last_attempt_ends_as_any_other() -> None:
    machine, step = again()
    assert kinds(machine.deliver(broken(step))) == ["Commit"]


def test_another_process_that_follows_takes_the_new_attempt() -> None:
    machine, step = running()
    other = idle(line(3), limits={"takeover_ms": 5_000})
    for text in ("Tea ", "is "):
        other.deliver(ShownElsewhere(piece(machine, step, text, "s1")))
    [status] = machine.deliver(Again(step.run))
    assert isinstance(status, Show)
    assert other.deliver(ShownElsewhere(status.frame)) == [Show(status.frame, here=True)]
    first = piece(machine, step, "Tea ", "s3")
    assert other.deliver(ShownElsewhere(first)) == [Show(first, here=True)]
    assert told(other.catch_up()[-1]) == (2, 1, "Tea ", True)
