"""The machine of one conversation: how it opens, and how it goes to rest."""

from server.errors import CloseCode
from server.machines.effects import (
    AnswerAtOnce,
    Append,
    Commit,
    Evict,
    Gone,
    Load,
    Publish,
    Read,
    Reject,
    RunStep,
    SetTimer,
    Tell,
)
from server.machines.inputs import (
    NOT_THERE,
    UNREADABLE,
    Found,
    LoadDone,
    Opened,
    ReadDone,
    Remote,
    Rest,
    TimerFired,
    TurnCommitted,
)
from server.machines.standing import Phase
from server.records import UNKNOWN, Conflict, Missing
from server.workflows.table import chat
from tests.pure.sessions import (
    broken,
    cancel,
    cold,
    committing,
    done,
    finish,
    idle,
    loaded,
    may_wait,
    news,
    press,
    reload,
    running,
    say,
)
from tests.support.builders import ended, event, every, kinds, line, the
from tests.support.example_workflows import ECHO

# ---------------------------------------------------------------- opening


def test_a_connection_that_finds_no_session_gets_one_greeted() -> None:
    machine = cold()
    [step, timer] = machine.deliver(Opened(NOT_THERE))
    assert step == RunStep(1, 0, 1, None, None, False)
    assert timer == SetTimer("status", 1, machine.limits.status_after_ms)


def test_a_greeting_is_a_turn_that_creates_the_session() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    commit = the(machine.deliver(done(step, chat("Welcome."), memory={"a": 1}, intent="Open")), Commit)
    assert commit.write.expected_version == 0
    assert [event.type for event in commit.write.events] == ["chat_message", "state_update"]
    assert commit.write.events[-1].payload["workflow"] == "echo"
    assert commit.write.events[-1].payload["from"] is None
    effects = finish(machine, commit, 0, version=1)
    assert [event.seq for event in the(effects, Publish).events] == [1, 2]
    assert machine.phase is Phase.IDLE
    assert machine.snapshot is not None
    assert (machine.snapshot.version, machine.snapshot.memory) == (1, {"a": 1})


def test_lines_that_come_before_the_greeting_is_durable_wait_for_it() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    assert machine.deliver(say(client_id="c1")) == []
    assert machine.deliver(say(client_id="c2")) == []
    commit = the(machine.deliver(done(step)), Commit)
    effects = may_wait(machine, finish(machine, commit, 0, version=1))
    assert [append.write.client_id for append in every(effects, Append)] == ["c1", "c2"]


def test_of_two_processes_that_greet_at_once_the_loser_reads_the_winners() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(1)))
    assert kinds(effects) == ["Load"]
    assert reload(machine, effects, loaded()) == [Tell(2)]  # else their connection would wait for it for ever
    assert machine.phase is Phase.IDLE


def test_a_greeting_that_another_process_publishes_stops_ours() -> None:
    machine = cold()
    machine.deliver(Opened(NOT_THERE))
    effects = machine.deliver(news(event(1), ended(2, 0)))
    assert kinds(effects) == ["CancelStep", "Load"]


def test_a_greeting_that_is_only_heard_of_is_read() -> None:
    machine = cold()
    machine.deliver(Opened(NOT_THERE))
    read = the(machine.deliver(Remote(2)), Read)
    assert read.after == 0
    effects = machine.deliver(ReadDone(read.number, [event(1), ended(2, 0)]))
    assert kinds(effects) == ["Tell", "CancelStep", "Load"]


def test_a_greeting_that_fails_is_seen_and_the_session_starts() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    commit = the(machine.deliver(broken(step)), Commit)
    assert commit.write.update is not None
    assert commit.write.update.state == ECHO.start
    assert [event.type for event in commit.write.events] == ["turn_failed", "chat_message", "state_update"]


def test_a_greeting_of_unknown_outcome_sends_the_connections_away() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    machine.deliver(say())
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, UNKNOWN))
    assert kinds(effects) == ["Reject", "CancelStep", "Gone", "Evict"]
    assert the(effects, Reject).code == "store_unavailable"
    assert the(effects, Gone).code is CloseCode.STORE_UNAVAILABLE


def test_somebody_elses_session_looks_like_one_that_is_not_there() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Missing()))
    assert the(effects, Gone).code is CloseCode.NOT_FOUND


def test_a_line_wakes_its_session_and_waits_for_it() -> None:
    machine = cold()
    assert machine.deliver(say()) == [Load(1)]
    assert the(machine.deliver(LoadDone(1, loaded())), AnswerAtOnce).line.client_id == "c3"


def test_a_line_for_a_session_that_is_not_there_is_refused() -> None:
    machine = cold()
    machine.deliver(say())
    effects = machine.deliver(LoadDone(1, NOT_THERE))
    assert kinds(effects) == ["Reject", "Gone", "Evict"]
    assert the(effects, Reject).code == "not_found"


def test_only_a_connection_starts_a_session() -> None:
    machine = cold()
    machine.deliver(say())
    assert kinds(machine.deliver(LoadDone(1, NOT_THERE))) == ["Reject", "Gone", "Evict"]
    assert machine.phase is Phase.COLD


def test_a_connection_that_finds_none_while_we_look_starts_it_and_no_line_is_lost() -> None:
    machine = cold()
    machine.deliver(say())
    assert machine.deliver(Opened(NOT_THERE)) == []
    step = the(machine.deliver(LoadDone(1, NOT_THERE)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    assert kinds(finish(machine, commit, 0, version=1)) == ["Publish", "AnswerAtOnce"]


def test_a_failed_read_never_creates_a_session() -> None:
    machine = cold()
    machine.deliver(say())
    effects = machine.deliver(LoadDone(1, UNREADABLE))
    assert kinds(effects) == ["Reject", "Evict"]
    assert the(effects, Reject).code == "store_unavailable"


def test_a_connection_that_finds_none_where_we_know_one_makes_us_look_again() -> None:
    machine = idle()
    effects = machine.deliver(Opened(NOT_THERE))
    assert the(reload(machine, effects, NOT_THERE), Gone).code is CloseCode.NOT_FOUND


def test_a_line_that_a_connection_read_and_we_do_not_know_is_run() -> None:
    """Its commit seemed to fail, and the client will not send it again: the replay has shown it."""
    step = the(idle().deliver(Opened(loaded(line(3), lined=3, seq=3))), RunStep)
    assert step.turn == 3
    assert kinds(idle().deliver(Opened(loaded(line(5), lined=5, seq=5)))) == ["Tell", "Read"]


def test_what_a_connection_read_tells_how_far_the_log_goes() -> None:
    """Line 4 is known here and is not answered; but line 3, before it, is: its turn is event 5 and 6."""
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(news(line(3), line(4)))
    effects = machine.deliver(Opened(loaded(line(4), lined=4, seq=6, cursor=3, version=2)))
    assert effects[:1] == [Tell(6)]
    assert the(effects, Read).after == 4


def test_what_a_connection_read_is_no_news_to_a_session_that_knows_it() -> None:
    machine, _ = running()
    assert machine.deliver(Opened(loaded())) == [Tell(2)]
    assert machine.deliver(Opened(NOT_THERE)) == []
    assert idle().deliver(Opened(loaded(version=9))) == [Tell(2)]


def test_an_unanswered_line_runs_when_its_session_wakes() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(loaded(line(3), line(4), lined=4, seq=4))), RunStep)
    assert (step.turn, step.line) == (3, line(3))


def test_an_old_load_is_dropped() -> None:
    machine = cold()
    machine.deliver(say())
    assert machine.deliver(LoadDone(9, NOT_THERE)) == []
    machine.deliver(LoadDone(1, loaded()))
    assert machine.deliver(LoadDone(1, NOT_THERE)) == []


# ---------------------------------------------------------------- rest


def test_a_session_at_rest_is_forgotten() -> None:
    machine = idle()
    assert machine.deliver(Rest()) == [Evict()]
    assert machine.phase is Phase.COLD


def test_a_session_with_anything_under_way_is_not() -> None:
    waiting = idle(limits={"takeover_ms": 50})
    waiting.deliver(news(line(3)))
    appending = idle()
    appending.deliver(say())
    finding = idle()
    finding.deliver(cancel())
    reading = idle()
    reading.deliver(news(line(4)))
    retrying = idle()
    read = the(retrying.deliver(Remote(4)), Read)
    retrying.deliver(ReadDone(read.number, UNREADABLE))
    assert retrying.deliver(press()) == []  # it waits for the next try
    for machine in (waiting, appending, finding, reading, retrying, running()[0], committing()[0], cold()):
        assert machine.deliver(Rest()) == []
    finding.deliver(Found(cancel(), NOT_THERE))
    assert finding.deliver(Rest()) == [Evict()]


def test_a_read_that_is_due_does_not_disturb_a_session_that_is_read_again() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    machine.deliver(ReadDone(read.number, UNREADABLE))
    machine.deliver(Opened(NOT_THERE))
    assert machine.deliver(TimerFired("read", 0)) == []
