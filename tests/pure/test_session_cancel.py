"""The machine of one conversation: turns that are cancelled."""

import pytest

from server.errors import ErrorCode
from server.machines.effects import Ack, Commit, Find, Read, Reject, RunStep, Show
from server.machines.inputs import Found, LoadDone, ReadDone, Remote, Streamed, TimerFired, TurnCommitted
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import Conflict, Duplicate, Event
from server.wire import protocol
from tests.pure.sessions import broken, cancel, cold, committing, done, finish, idle, loaded, news, reload, running
from tests.support.builders import ended, event, kinds, line, snapshot, the


def test_a_cancelled_turn_keeps_what_was_said_and_is_acked_when_durable() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "so f", "s1"))
    effects = machine.deliver(cancel())
    assert kinds(effects) == ["CancelStep", "Commit"]
    write = the(effects, Commit).write
    said, stopped, end = write.events
    assert (said.message_id, said.payload["text"], said.payload["cancelled"]) == ("s1", "so f", True)
    assert (stopped.type, stopped.role, stopped.client_id) == ("turn_cancelled", "system", "x1")
    assert stopped.payload == {"turn": 3}
    assert (end.payload["intent"], end.payload["to"], write.client_id) == ("Cancelled", "HELLO", "x1")
    assert write.expected_version == 1
    assert write.update is not None
    assert write.update.cursor == 3
    effects = finish(machine, the(effects, Commit), 3)
    assert effects[1] == Ack(8, "x1", 5, duplicate=False)


def test_a_turn_that_has_said_nothing_is_cancelled_with_nothing_said() -> None:
    machine, _ = running()
    write = the(machine.deliver(cancel()), Commit).write
    assert [event.type for event in write.events] == ["turn_cancelled", "state_update"]


def test_the_result_of_a_cancelled_step_is_not_wanted() -> None:
    machine, step = running()
    machine.deliver(cancel())
    assert machine.deliver(done(step)) == []
    assert machine.deliver(broken(step)) == []
    assert machine.deliver(Streamed(step.run, "x", "m")) == []


@pytest.mark.parametrize("turn", [0, 2, 4])
def test_only_the_turn_that_runs_can_be_cancelled(turn: int) -> None:
    machine, _ = running()
    asked = cancel(turn)
    assert machine.deliver(asked) == [Find(asked, ErrorCode.NOT_RUNNING)]
    known = snapshot(seq=3, lined=3)
    assert machine.deliver(Found(asked, known)) == [Reject(8, "x1", ErrorCode.NOT_RUNNING)]


def test_a_cancellation_sent_again_gets_the_first_promise_again() -> None:
    machine = idle(seq=5, cursor=3)
    find = the(machine.deliver(cancel()), Find)
    before = event(4, "turn_cancelled", turn=3, client_id="x1")
    assert machine.deliver(Found(find.asked, before)) == [Ack(8, "x1", 4, duplicate=True)]


def test_a_cancellation_sent_again_while_it_is_committed_is_answered_after_it() -> None:
    machine, _ = running()
    commit = the(machine.deliver(cancel()), Commit)
    assert machine.deliver(cancel()) == []
    effects = finish(machine, commit, 3)
    assert kinds(effects) == ["Publish", "Ack", "Find"]


def test_a_cancellation_of_a_turn_that_is_being_committed_comes_too_late() -> None:
    machine, commit = committing()
    assert machine.deliver(cancel()) == []
    effects = finish(machine, commit, 3)
    assert the(effects, Find).refusal == "not_running"


@pytest.mark.parametrize("used", [line(3, client_id="x1"), event(4, "turn_cancelled", turn=2, client_id="x1")])
def test_a_cancellation_under_an_id_that_was_used_is_refused_and_the_turn_runs_again(used: Event) -> None:
    machine, _ = running()
    commit = the(machine.deliver(cancel()), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Duplicate(used)))
    assert kinds(effects) == ["Reject", "Load"]
    assert the(effects, Reject).code == "id_reuse"
    assert the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), RunStep).attempt == 2


@pytest.mark.parametrize(
    ("inbox", "wanted"),
    [
        ([line(3)], ["Tell", "RunStep", "SetTimer", "CancelStep", "Commit"]),
        ([], ["Tell", "Find"]),
    ],
)
def test_a_cancellation_that_met_a_conflict_is_judged_by_what_the_store_says(
    inbox: list[Event], wanted: list[str]
) -> None:
    machine, _ = running()
    commit = the(machine.deliver(cancel()), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(reload(machine, effects, loaded(*inbox, seq=6, version=2))) == wanted


def test_a_cancellation_that_comes_while_the_session_is_read_waits() -> None:
    machine = cold()
    assert kinds(machine.deliver(cancel())) == ["Load"]
    effects = machine.deliver(LoadDone(1, loaded(line(3), seq=3, lined=3)))
    assert kinds(effects) == ["Tell", "RunStep", "SetTimer", "CancelStep", "Commit"]


# ---------------------------------------------------------------- a turn of another process


def elsewhere() -> Session:
    """A session that knows of line 3, which another process runs."""
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    return machine


def test_a_turn_elsewhere_is_cancelled_by_a_commit_of_its_own_guarded_by_the_version() -> None:
    machine = elsewhere()
    commit = the(machine.deliver(cancel()), Commit)
    write = commit.write
    assert [event.type for event in write.events] == ["turn_cancelled", "state_update"]
    assert (write.expected_version, write.client_id) == (1, "x1")
    assert machine.phase is Phase.COMMITTING
    effects = finish(machine, commit, 3)
    assert kinds(effects) == ["Publish", "Ack", "Show"]
    assert the(effects, Show) == Show(protocol.status(3, "idle", ""))  # to all: whoever ran it may have died
    assert machine.deliver(TimerFired("takeover", 3)) == []


def test_a_cancellation_elsewhere_that_met_an_answer_comes_too_late() -> None:
    machine = elsewhere()
    commit = the(machine.deliver(cancel()), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    effects = reload(machine, effects, loaded(seq=5, cursor=3, version=2))
    assert the(effects, Find).refusal == "not_running"


def test_only_the_turn_that_is_next_can_be_cancelled_elsewhere() -> None:
    machine = elsewhere()
    machine.deliver(news(line(4)))
    assert the(machine.deliver(cancel(4)), Find).refusal == "not_running"


def test_a_cancellation_of_a_turn_that_is_not_known_here_waits_until_the_news_of_it_are_read() -> None:
    machine = idle(limits={"takeover_ms": 50})
    find = the(machine.deliver(cancel()), Find)
    read = the(machine.deliver(Found(find.asked, snapshot(seq=3, lined=3))), Read)
    effects = machine.deliver(ReadDone(read.number, [line(3)]))
    assert kinds(effects) == ["Tell", "TakeOver", "CancelStep", "Commit"]


def test_a_cancellation_that_comes_before_a_gap_is_filled_waits_too() -> None:
    machine = idle(limits={"takeover_ms": 50})
    read = the(machine.deliver(Remote(3)), Read)
    assert machine.deliver(cancel()) == []
    effects = machine.deliver(ReadDone(read.number, [line(3)]))
    assert kinds(effects) == ["Tell", "TakeOver", "CancelStep", "Commit"]


def test_a_turn_that_another_process_cancelled_is_over_here() -> None:
    machine, step = running()
    effects = machine.deliver(news(event(4, "turn_cancelled", turn=3), ended(5, 3)))
    assert kinds(effects) == ["CancelStep", "Load"]
    assert machine.deliver(done(step)) == []
