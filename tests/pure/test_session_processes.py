"""The machine of one conversation: what other processes do to its log."""

from typing import Any

import pytest

from server.machines.effects import CancelStep, Commit, Load, Read, RunStep, SetTimer, Show, TakeOver, Tell
from server.machines.inputs import (
    NOT_THERE,
    UNREADABLE,
    Appended,
    LoadDone,
    Opened,
    ReadDone,
    Remote,
    TimerFired,
    TurnCommitted,
)
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import Event
from server.wire import protocol
from tests.pure.sessions import accept, append, cold, committing, done, finish, idle, loaded, news, reload, running, say
from tests.support.builders import T0_MS, committed, ended, event, kinds, line, the

# ---------------------------------------------------------------- the log of other processes


def test_a_line_of_another_process_is_taken_in_its_place() -> None:
    assert the(idle().deliver(news(line(3))), RunStep).line == line(3)


def test_a_gap_is_read_from_the_store_before_anything_runs() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    assert read.after == 2
    effects = machine.deliver(ReadDone(read.number, [line(3), line(4)]))
    assert the(effects, RunStep).turn == 3
    assert the(effects, Tell).head == 4  # whoever missed the news of line 3, too


def test_news_without_their_events_are_read_from_the_store() -> None:
    machine = idle()
    assert machine.deliver(Remote(2)) == []
    read = the(machine.deliver(Remote(3)), Read)
    assert the(machine.deliver(ReadDone(read.number, [line(3)])), RunStep).turn == 3


def test_a_line_of_ours_behind_a_gap_is_acked_at_once_and_runs_in_its_place() -> None:
    machine = idle()
    effects = accept(machine, say(client_id="c4"), 4)
    assert kinds(effects) == ["Ack", "Publish", "Read"]
    effects = machine.deliver(ReadDone(the(effects, Read).number, [line(3), line(4)]))
    assert the(effects, RunStep).turn == 3


def test_what_is_known_is_dropped_and_nothing_is_nothing() -> None:
    machine = idle()
    assert machine.deliver(news(event(1), ended(2, 0))) == []
    assert machine.deliver(Remote(0)) == []


def test_a_line_that_comes_back_from_another_process_runs_once() -> None:
    machine, _ = running()
    assert machine.deliver(news(line(3))) == []


def test_one_read_is_under_way_at_a_time_and_a_page_that_falls_short_is_followed_by_another() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    assert machine.deliver(news(line(5))) == []
    effects = machine.deliver(ReadDone(read.number, [line(3), line(4)]))
    assert kinds(effects) == ["Tell", "Read"]
    assert the(effects, Read).after == 4
    assert machine.deliver(ReadDone(read.number, [line(5)])) == []  # an old one
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(5)])), RunStep).turn == 3


def test_a_read_that_failed_is_tried_again_until_it_succeeds() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    timer = the(machine.deliver(ReadDone(read.number, UNREADABLE)), SetTimer)
    assert timer == SetTimer("read", 0, 500)
    read = the(machine.deliver(TimerFired("read", timer.number)), Read)
    assert machine.deliver(TimerFired("read", timer.number)) == []  # already reading
    assert the(machine.deliver(ReadDone(read.number, [line(3), line(4)])), RunStep).turn == 3
    assert machine.deliver(TimerFired("read", 0)) == []  # nothing is missing any more


def test_a_gap_that_closes_by_itself_does_not_wait_for_a_read_that_fails() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    step = the(machine.deliver(news(line(3), line(4))), RunStep)
    assert step.turn == 3
    assert kinds(machine.deliver(ReadDone(read.number, UNREADABLE))) == ["SetTimer"]
    assert machine.deliver(TimerFired("read", step.run)) == []


def test_a_read_that_a_load_overtook_holds_nothing_up() -> None:
    machine = idle()
    read = the(machine.deliver(news(line(4))), Read)
    effects = machine.deliver(Opened(NOT_THERE))
    assert the(reload(machine, effects, loaded(line(3), line(4), seq=4, lined=4)), RunStep).turn == 3
    assert machine.deliver(ReadDone(read.number, UNREADABLE)) == []


@pytest.mark.parametrize("page", [[], [line(5)]])
def test_a_page_that_does_not_join_means_that_the_log_is_another(page: list[Event]) -> None:
    machine = idle()
    read = the(machine.deliver(news(line(5))), Read)
    effects = machine.deliver(ReadDone(read.number, page))
    assert kinds(effects) == ["Load"]
    assert reload(machine, effects, loaded(seq=2)) == [Tell(2)]  # what was heard before is no reason to read again
    assert machine.phase is Phase.IDLE


def test_a_turn_of_another_process_stops_ours_and_the_session_is_read_again() -> None:
    machine, step = running()
    effects = machine.deliver(news(event(4, turn=3), ended(5, 3)))
    assert kinds(effects) == ["CancelStep", "Load"]
    assert the(effects, CancelStep).run == step.run
    assert machine.deliver(done(step)) == []  # it ended all the same: too late
    assert reload(machine, effects, loaded(seq=5, cursor=3, version=2)) == [Tell(5)]


def test_a_turn_of_another_process_while_idle_is_read_and_not_run() -> None:
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    effects = machine.deliver(news(event(4, turn=3), ended(5, 3)))
    assert kinds(effects) == ["Show", "Load"]
    assert reload(machine, effects, loaded(seq=5, cursor=3, version=2)) == [Tell(5)]


def test_our_own_turn_that_we_read_back_is_no_news() -> None:
    machine, commit = committing()
    # Another process accepted event 4 while our turn was committed as events 5 and 6.
    effects = finish(machine, commit, 4)
    assert kinds(effects) == ["Publish", "Read"]
    page = [line(4), *committed(commit.write, 4).events]
    assert the(machine.deliver(ReadDone(the(effects, Read).number, page)), RunStep).turn == 4


def test_our_own_turn_may_be_read_back_before_its_outcome_is_known() -> None:
    machine, commit = committing()
    read = the(machine.deliver(news(line(6))), Read)
    answer = committed(commit.write, 3)
    assert machine.deliver(ReadDone(read.number, [*answer.events, line(6)])) == [Tell(6)]
    assert the(machine.deliver(TurnCommitted(commit.run, answer)), RunStep).turn == 6


def test_a_later_turn_of_another_process_is_read_once_our_commit_has_its_outcome() -> None:
    machine, commit = committing()
    answer = committed(commit.write, 3)
    assert machine.deliver(news(*answer.events, line(6), event(7, turn=6), ended(8, 6))) == []
    effects = machine.deliver(TurnCommitted(commit.run, answer))
    assert kinds(effects) == ["Publish", "Load"]
    assert reload(machine, effects, loaded(seq=8, cursor=6, version=3)) == [Tell(8)]


def test_events_that_come_while_the_session_is_read_are_read_after_it() -> None:
    machine = idle()
    load = the(machine.deliver(Opened(NOT_THERE)), Load)
    machine.deliver(news(line(3)))
    effects = machine.deliver(LoadDone(load.number, loaded()))
    assert kinds(effects) == ["Tell", "Read"]
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(3)])), RunStep).turn == 3


def test_events_that_come_to_a_sleeping_session_are_not_forgotten() -> None:
    machine = cold()
    assert machine.deliver(news(line(3))) == []
    assert kinds(machine.deliver(Opened(loaded()))) == ["Tell", "Read"]


# ---------------------------------------------------------------- takeover


def elsewhere(seq: int = 3, **fields: Any) -> Session:
    """A session that knows of a line of another process."""
    machine = idle(limits={"takeover_ms": 50}, **fields)
    assert kinds(machine.deliver(news(line(seq)))) == ["TakeOver"]
    return machine


def test_a_line_of_another_process_runs_here_only_after_a_takeover_and_another_look() -> None:
    machine = idle(limits={"takeover_ms": 50})
    assert machine.deliver(news(line(3))) == [TakeOver(3, T0_MS + 3)]
    effects = machine.deliver(TimerFired("takeover", 3))
    assert kinds(effects) == ["Show", "Load"]
    assert the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), RunStep).turn == 3


def test_a_line_that_waited_for_the_turn_before_it_has_lain_since_then() -> None:
    machine = cold(takeover_ms=50)
    effects = machine.deliver(Opened(loaded(line(3), updated_at=T0_MS + 9)))
    assert the(effects, TakeOver) == TakeOver(3, T0_MS + 9)


def test_a_line_that_has_its_answer_is_not_taken_over_though_the_news_were_lost() -> None:
    machine = elsewhere()
    effects = machine.deliver(TimerFired("takeover", 3))
    assert reload(machine, effects, loaded(seq=5, cursor=3, version=2)) == [Tell(5)]
    assert machine.turn is None


def test_a_line_of_ours_does_not_wait() -> None:
    machine, step = running(takeover_ms=50)
    assert step.turn == 3
    assert machine.phase is Phase.RUNNING


def test_news_do_not_put_a_takeover_off() -> None:
    assert elsewhere().deliver(news(line(4))) == []


def test_a_takeover_that_fell_into_a_read_of_the_session_is_asked_for_again() -> None:
    machine = elsewhere()
    effects = machine.deliver(Opened(NOT_THERE))
    assert machine.deliver(TimerFired("takeover", 3)) == []
    assert the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), TakeOver).seq == 3


def test_a_takeover_of_another_line_than_the_next_is_stale() -> None:
    machine = elsewhere()
    assert machine.deliver(TimerFired("takeover", 4)) == []
    assert machine.turn == 3


def test_a_takeover_of_a_line_that_is_answered_runs_nothing() -> None:
    machine, step = running(takeover_ms=50)
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert machine.deliver(TimerFired("takeover", 3)) == []


def test_a_line_that_was_taken_over_stays_ours_when_its_load_fails() -> None:
    machine = elsewhere()
    load = the(machine.deliver(TimerFired("takeover", 3)), Load)
    machine.deliver(LoadDone(load.number, UNREADABLE))
    effects = machine.deliver(TimerFired("load", 0))
    assert the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), RunStep).turn == 3


def test_a_line_of_ours_that_is_read_back_before_its_ack_runs_when_it_is_acked() -> None:
    machine = idle(limits={"takeover_ms": 50})
    message = say()
    write = append(machine, message).write
    read = the(machine.deliver(Remote(3)), Read)
    assert kinds(machine.deliver(ReadDone(read.number, [line(3)]))) == ["Tell", "TakeOver"]
    assert kinds(machine.deliver(Appended(message, committed(write, 2)))) == ["Ack", "Publish", "RunStep", "SetTimer"]


# ---------------------------------------------------------------- what is shown of a turn elsewhere


def test_a_turn_elsewhere_is_shown_to_whoever_comes_and_taken_back_here_when_it_ends() -> None:
    machine = elsewhere()
    assert machine.turn == 3
    assert [frame.payload["status"] for frame in machine.catch_up()] == ["thinking"]
    effects = machine.deliver(news(event(4, turn=3), ended(5, 3)))
    assert the(effects, Show) == Show(protocol.status(3, "idle", ""), here=True)
    assert machine.turn is None
    assert machine.catch_up() == []


def test_what_was_shown_of_a_turn_elsewhere_is_taken_back_when_it_ends_here() -> None:
    machine = idle(limits={"takeover_ms": 50})
    message = say()
    write = append(machine, message).write
    machine.deliver(news(line(3)))
    machine.catch_up()
    step = the(machine.deliver(Appended(message, committed(write, 2))), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 3), Show) == Show(protocol.status(3, "idle", ""))


def test_a_turn_that_was_taken_over_says_that_it_thinks() -> None:
    machine = elsewhere()
    effects = machine.deliver(TimerFired("takeover", 3))
    step = the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), RunStep)
    assert the(machine.deliver(TimerFired("status", step.run)), Show).frame.payload["status"] == "thinking"
