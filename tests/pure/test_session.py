"""The machine of one conversation, and the lines and turns that it writes."""

from typing import Any

import pytest
from msgspec import structs

from server import protocol
from server.errors import CloseCode
from server.inbox import Inbox
from server.lines import accept_write, is_same
from server.protocol import Say
from server.session import Limits, Phase, Session
from server.signals import (
    Ack,
    Append,
    Appended,
    Cancel,
    CancelStep,
    Commit,
    Done,
    Effect,
    Evict,
    Failed,
    Find,
    Found,
    Gone,
    Load,
    LoadDone,
    Message,
    Opened,
    Publish,
    Read,
    ReadDone,
    Reject,
    Remote,
    Rest,
    RunStep,
    SetTimer,
    Show,
    Shown,
    Streamed,
    TimerFired,
    TurnCommitted,
    Wake,
)
from server.store.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    Loaded,
    Missing,
    Snapshot,
    Write,
    fold,
    place,
)
from server.workflow import Frame, Progress, Result, chat
from tests.builders import SESSION, T0_MS, USER, committed, ended, event, every, kinds, line, snapshot, the
from tests.example_workflows import ECHO

IDS = [f"id{number}" for number in range(9)]
LEFT_CARD = "card1"


# ---------------------------------------------------------------- a conversation in small steps


def cold(**limits: int) -> Session:
    return Session(SESSION, USER, ECHO, Limits(**limits))


def idle(*inbox: Event, limits: dict[str, int] | None = None, **fields: Any) -> Session:
    """An awake session; its greeting is events 1 and 2."""
    machine = cold(**(limits or {}))
    machine.deliver(Opened(Loaded(snapshot(**fields), (), inbox)))
    return machine


def say(text: str = "hello", client_id: str | None = "c3", **fields: Any) -> Message:
    return Message(7, Say(client_id, text, **fields), f"m-{client_id}", T0_MS)


def press(card: str = LEFT_CARD, client_id: str = "c3") -> Message:
    return say("Go left", client_id, action="left", action_message_id=card)


def accept(machine: Session, message: Message, seq: int) -> list[Effect]:
    """The line is sent and stored as event `seq`; the effects of its commit."""
    write = the(machine.deliver(message), Append).write
    return machine.deliver(Appended(message, committed(write, seq - 1)))


def running(client_id: str = "c3", seq: int = 3, **limits: int) -> tuple[Session, RunStep]:
    """A session that runs the turn of its first line, event 3."""
    machine = idle(limits=limits)
    return machine, the(accept(machine, say(client_id=client_id), seq), RunStep)


def done(step: RunStep, *frames: Frame, **fields: Any) -> Done:
    known: dict[str, Any] = {"intent": "Say", "to": "HELLO", "memory": {}}
    return Done(step.run, Result(frames=frames or (chat("answer"),), **{**known, **fields}), IDS, T0_MS)


def broken(step: RunStep) -> Failed:
    return Failed(step.run, "step_failed", "It broke.", "corr", True, IDS, T0_MS)


def cancel(turn: int = 3, client_id: str = "x1") -> Cancel:
    return Cancel(8, client_id, turn, IDS, T0_MS)


def committing() -> tuple[Session, Commit]:
    """A session whose turn for event 3 is on its way to the store."""
    machine, step = running()
    return machine, the(machine.deliver(done(step)), Commit)


def finish(machine: Session, commit: Commit, after: int, version: int = 2) -> list[Effect]:
    return machine.deliver(TurnCommitted(commit.run, committed(commit.write, after, version)))


def loaded(*inbox: Event, **fields: Any) -> Loaded:
    return Loaded(snapshot(**fields), (), inbox)


def reload(machine: Session, effects: list[Effect], answer: Loaded | None) -> list[Effect]:
    return machine.deliver(LoadDone(the(effects, Load).number, answer))


# ---------------------------------------------------------------- opening


def test_a_connection_that_finds_no_session_gets_one_greeted() -> None:
    machine = cold()
    [step, timer] = machine.deliver(Opened(None))
    assert step == RunStep(1, 0, 1, None, None, False)
    assert timer == SetTimer("status", 1, machine.limits.status_after_ms)


def test_a_greeting_is_a_turn_that_creates_the_session() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(None)), RunStep)
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
    step = the(machine.deliver(Opened(None)), RunStep)
    assert machine.deliver(say(client_id="c1")) == []
    assert machine.deliver(say(client_id="c2")) == []
    commit = the(machine.deliver(done(step)), Commit)
    appends = every(finish(machine, commit, 0, version=1), Append)
    assert [append.write.client_id for append in appends] == ["c1", "c2"]


def test_of_two_processes_that_greet_at_once_the_loser_reads_the_winners() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(None)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(1)))
    assert kinds(effects) == ["Load"]
    assert reload(machine, effects, loaded()) == []
    assert machine.phase is Phase.IDLE


def test_a_greeting_that_another_process_publishes_stops_ours() -> None:
    machine = cold()
    machine.deliver(Opened(None))
    effects = machine.deliver(Remote([event(1), ended(2, 0)]))
    assert kinds(effects) == ["CancelStep", "Load"]


def test_a_greeting_that_fails_is_seen_and_the_session_starts() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(None)), RunStep)
    commit = the(machine.deliver(broken(step)), Commit)
    assert commit.write.update is not None
    assert commit.write.update.state == ECHO.start
    assert [event.type for event in commit.write.events] == ["turn_failed", "chat_message", "state_update"]


def test_a_greeting_of_unknown_outcome_sends_the_connections_away() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(None)), RunStep)
    machine.deliver(say())
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, None))
    assert kinds(effects) == ["Reject", "CancelStep", "Gone", "Evict"]
    assert the(effects, Reject).code == "store_unavailable"
    assert the(effects, Gone).code is CloseCode.STORE_UNAVAILABLE


def test_somebody_elses_session_looks_like_one_that_is_not_there() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(None)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Missing()))
    assert the(effects, Gone).code is CloseCode.NOT_FOUND


def test_a_line_wakes_its_session_and_waits_for_it() -> None:
    machine = cold()
    assert machine.deliver(say()) == [Load(1)]
    assert the(machine.deliver(LoadDone(1, loaded())), Append).write.client_id == "c3"


def test_a_line_for_a_session_that_is_not_there_is_refused() -> None:
    machine = cold()
    machine.deliver(say())
    effects = machine.deliver(LoadDone(1, None))
    assert kinds(effects) == ["Reject", "Gone", "Evict"]
    assert the(effects, Reject).code == "not_found"


def test_only_a_connection_starts_a_session() -> None:
    machine = cold()
    assert machine.deliver(Wake()) == [Load(1)]
    assert kinds(machine.deliver(LoadDone(1, None))) == ["Gone", "Evict"]


def test_a_connection_that_finds_none_while_we_look_starts_it_and_no_line_is_lost() -> None:
    machine = cold()
    machine.deliver(say())
    assert machine.deliver(Opened(None)) == []
    step = the(machine.deliver(LoadDone(1, None)), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    assert kinds(finish(machine, commit, 0, version=1)) == ["Publish", "Append"]


def test_a_failed_read_never_creates_a_session() -> None:
    machine = cold()
    machine.deliver(say())
    effects = machine.deliver(LoadDone(1, None, failed=True))
    assert kinds(effects) == ["Reject", "Evict"]
    assert the(effects, Reject).code == "store_unavailable"


def test_a_connection_that_finds_none_where_we_know_one_makes_us_look_again() -> None:
    machine = idle()
    effects = machine.deliver(Opened(None))
    assert the(reload(machine, effects, None), Gone).code is CloseCode.NOT_FOUND


def test_a_line_that_a_connection_read_and_we_do_not_know_is_run() -> None:
    """Its commit seemed to fail, and the client will not send it again: the replay has shown it."""
    step = the(idle().deliver(Opened(loaded(line(3), lined=3, seq=3))), RunStep)
    assert step.turn == 3
    assert kinds(idle().deliver(Opened(loaded(line(5), lined=5, seq=5)))) == ["Read"]


def test_what_a_connection_read_is_no_news_to_a_session_that_knows_it() -> None:
    machine, _ = running()
    assert machine.deliver(Opened(loaded())) == []
    assert machine.deliver(Opened(None)) == []
    assert machine.deliver(Wake()) == []
    assert idle().deliver(Opened(loaded(version=9))) == []


def test_an_unanswered_line_runs_when_its_session_wakes() -> None:
    machine = cold()
    step = the(machine.deliver(Opened(loaded(line(3), line(4), lined=4, seq=4))), RunStep)
    assert (step.turn, step.line) == (3, line(3))


def test_an_old_load_is_dropped() -> None:
    machine = cold()
    machine.deliver(Wake())
    assert machine.deliver(LoadDone(9, None)) == []
    machine.deliver(LoadDone(1, loaded()))
    assert machine.deliver(LoadDone(1, None)) == []


# ---------------------------------------------------------------- lines


def test_an_ack_comes_after_the_commit_and_before_anything_else() -> None:
    machine = idle()
    message = say()
    assert machine.deliver(message) == [Append(message, accept_write(message, snapshot(), ECHO))]
    effects = machine.deliver(Appended(message, Committed((line(3),), 1)))
    assert effects[:2] == [Ack(7, "c3", 3, duplicate=False), Publish((line(3),))]
    assert kinds(effects[2:]) == ["RunStep", "SetTimer"]


def test_a_line_is_accepted_while_a_turn_runs_and_runs_after_it() -> None:
    machine, step = running()
    assert kinds(accept(machine, say("and more", "c4"), 4)) == ["Ack", "Publish"]
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 4), RunStep).turn == 4


def test_lines_are_answered_in_the_order_of_the_log_one_at_a_time() -> None:
    machine, step = running()
    for seq in (4, 5):
        accept(machine, say(client_id=f"c{seq}"), seq)
    turns, head = [step.turn], 5
    for version in (2, 3):
        commit = the(machine.deliver(done(step)), Commit)
        step = the(finish(machine, commit, head, version), RunStep)
        turns, head = [*turns, step.turn], head + len(commit.write.events)
    assert turns == [3, 4, 5]


def test_a_line_sent_again_gets_the_first_promise_again() -> None:
    machine, _ = running()
    message = say()
    machine.deliver(message)
    assert machine.deliver(Appended(message, Duplicate(line(3)))) == [Ack(7, "c3", 3, duplicate=True)]


def test_an_id_used_again_for_another_message_is_refused() -> None:
    machine, _ = running()
    message = say("something else")
    machine.deliver(message)
    assert machine.deliver(Appended(message, Duplicate(line(3)))) == [Reject(7, "c3", "id_reuse")]


def test_a_line_that_was_stored_unseen_runs_when_it_is_sent_again() -> None:
    machine = idle()
    message = say()
    machine.deliver(message)
    assert kinds(machine.deliver(Appended(message, None))) == ["Reject"]
    machine.deliver(message)
    effects = machine.deliver(Appended(message, Duplicate(line(3))))
    assert kinds(effects) == ["Ack", "Read"]
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(3)])), RunStep).turn == 3


@pytest.mark.parametrize("refusal", ["store_unavailable", "overloaded"])
def test_a_line_that_was_not_stored_is_refused_and_why(refusal: str) -> None:
    machine = idle()
    message = say()
    machine.deliver(message)
    assert machine.deliver(Appended(message, None, refusal)) == [Reject(7, "c3", refusal)]
    assert machine.deliver(Rest()) == [Evict()]


def test_a_session_that_was_deleted_sends_everybody_away() -> None:
    machine, _ = running()
    message = say(client_id="c4")
    machine.deliver(message)
    effects = machine.deliver(Appended(message, Missing()))
    assert kinds(effects) == ["Reject", "CancelStep", "Gone", "Evict"]
    assert the(effects, Reject).code == "not_found"


def test_a_line_is_accepted_while_the_session_is_read_again() -> None:
    machine, commit = committing()
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(accept(machine, say(client_id="c7"), 7)) == ["Ack", "Publish"]
    effects = reload(machine, effects, loaded(seq=6, cursor=3, version=2))
    assert kinds(effects) == ["Read"]
    read = the(effects, Read)
    assert read.after == 6
    assert the(machine.deliver(ReadDone(read.number, [line(7)])), RunStep).turn == 7


# ---------------------------------------------------------------- the inbox is bounded


def test_a_full_inbox_refuses_new_lines() -> None:
    machine = idle(limits={"inbox": 2})
    accept(machine, say(client_id="c3"), 3)
    machine.deliver(say(client_id="c4"))  # on its way to the store: it counts
    message = say(client_id="c5")
    assert machine.deliver(message) == [Find(message, "inbox_full")]
    assert machine.deliver(Found(message, "inbox_full", None)) == [Reject(7, "c5", "inbox_full")]


def test_a_line_sent_again_to_a_full_inbox_is_told_that_it_is_there() -> None:
    machine = idle(limits={"inbox": 1})
    accept(machine, say(), 3)
    find = the(machine.deliver(say()), Find)
    found = Found(find.asked, find.refusal, line(3))
    assert machine.deliver(found) == [Ack(7, "c3", 3, duplicate=True)]


def test_an_answer_makes_room() -> None:
    machine, step = running(inbox=1)
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert kinds(machine.deliver(say(client_id="c4"))) == ["Append"]


def test_a_look_that_failed_is_a_temporary_refusal() -> None:
    machine = idle(limits={"inbox": 0})
    find = the(machine.deliver(say()), Find)
    refused = the(machine.deliver(Found(find.asked, find.refusal, None, failed=True)), Reject)
    assert refused.code == "store_unavailable"


def test_what_waits_for_the_session_is_bounded_too() -> None:
    machine = cold(inbox=2)
    machine.deliver(say(client_id="c1"))
    machine.deliver(cancel())
    assert machine.deliver(say(client_id="c2")) == [Reject(7, "c2", "inbox_full")]
    assert machine.deliver(cancel(client_id="x2")) == [Reject(8, "x2", "inbox_full")]


# ---------------------------------------------------------------- buttons


def test_a_press_on_the_open_card_is_accepted() -> None:
    assert kinds(idle(state="CHOICE", card=LEFT_CARD).deliver(press())) == ["Append"]


def test_a_press_on_a_closed_card_is_refused_with_the_card_that_is_open() -> None:
    machine = idle(state="CHOICE", card="card2")
    message = press()
    assert machine.deliver(message) == [Find(message, "stale_action")]
    refused = machine.deliver(Found(message, "stale_action", None))
    assert refused == [Reject(7, "c3", "stale_action", "card2")]


def test_a_press_sent_again_after_its_card_was_closed_is_told_that_it_is_there() -> None:
    machine = idle(state="HELLO", card=None, seq=5, cursor=3)
    stored = line(3, "Go left", action_value="left", action_message_id=LEFT_CARD)
    find = the(machine.deliver(press()), Find)
    assert machine.deliver(Found(find.asked, find.refusal, stored)) == [Ack(7, "c3", 3, duplicate=True)]


def test_a_full_inbox_is_told_before_a_stale_card() -> None:
    machine = idle(limits={"inbox": 0}, card="card2")
    assert the(machine.deliver(press()), Find).refusal == "inbox_full"
    assert machine.deliver(Found(press(), "inbox_full", None)) == [Reject(7, "c3", "inbox_full", None)]


def test_a_card_that_closed_while_its_press_waited_makes_the_step_stale() -> None:
    machine = idle(state="CHOICE", card=LEFT_CARD)
    first = the(accept(machine, press(), 3), RunStep)
    assert not first.stale
    accept(machine, press(client_id="c4"), 4)
    commit = the(machine.deliver(done(first, to="HELLO", intent="Left")), Commit)
    second = the(finish(machine, commit, 4), RunStep)
    assert (second.turn, second.stale) == (4, True)


def test_a_press_on_a_card_that_is_newer_than_what_we_know_waits_for_the_read() -> None:
    machine = idle(state="CHOICE", card=LEFT_CARD)
    effects = machine.deliver(Remote([line(3), ended(4, 3)]))
    assert machine.deliver(press("card2")) == []
    effects = reload(machine, effects, loaded(state="CHOICE", card="card2", seq=4, cursor=3))
    assert kinds(effects) == ["Append"]


# ---------------------------------------------------------------- the log of other processes


def test_a_line_of_another_process_is_taken_in_its_place() -> None:
    assert the(idle().deliver(Remote([line(3)])), RunStep).line == line(3)


def test_a_gap_is_read_from_the_store_before_anything_runs() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    assert read.after == 2
    effects = machine.deliver(ReadDone(read.number, [line(3), line(4)]))
    assert the(effects, RunStep).turn == 3


def test_a_line_of_ours_behind_a_gap_is_acked_at_once_and_runs_in_its_place() -> None:
    machine = idle()
    effects = accept(machine, say(client_id="c4"), 4)
    assert kinds(effects) == ["Ack", "Publish", "Read"]
    effects = machine.deliver(ReadDone(the(effects, Read).number, [line(3), line(4)]))
    assert the(effects, RunStep).turn == 3


def test_what_is_known_is_dropped_and_nothing_is_nothing() -> None:
    machine = idle()
    assert machine.deliver(Remote([event(1), ended(2, 0)])) == []
    assert machine.deliver(Remote([])) == []


def test_a_line_that_comes_back_from_another_process_runs_once() -> None:
    machine, _ = running()
    assert machine.deliver(Remote([line(3)])) == []


def test_one_read_is_under_way_at_a_time_and_a_page_that_falls_short_is_followed_by_another() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    assert machine.deliver(Remote([line(5)])) == []
    effects = machine.deliver(ReadDone(read.number, [line(3), line(4)]))
    assert kinds(effects) == ["Read"]
    assert the(effects, Read).after == 4
    assert machine.deliver(ReadDone(read.number, [line(5)])) == []  # an old one
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(5)])), RunStep).turn == 3


def test_a_read_that_failed_is_tried_again_until_it_succeeds() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    timer = the(machine.deliver(ReadDone(read.number, None)), SetTimer)
    assert timer == SetTimer("read", 0, 500)
    read = the(machine.deliver(TimerFired("read", timer.number)), Read)
    assert machine.deliver(TimerFired("read", timer.number)) == []  # already reading
    assert the(machine.deliver(ReadDone(read.number, [line(3), line(4)])), RunStep).turn == 3
    assert machine.deliver(TimerFired("read", 0)) == []  # nothing is missing any more


def test_a_gap_that_closes_by_itself_does_not_wait_for_a_read_that_fails() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    step = the(machine.deliver(Remote([line(3), line(4)])), RunStep)
    assert step.turn == 3
    assert kinds(machine.deliver(ReadDone(read.number, None))) == ["SetTimer"]
    assert machine.deliver(TimerFired("read", step.run)) == []


def test_a_read_that_a_load_overtook_holds_nothing_up() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    effects = machine.deliver(Opened(None))
    assert the(reload(machine, effects, loaded(line(3), line(4), seq=4, lined=4)), RunStep).turn == 3
    assert machine.deliver(ReadDone(read.number, None)) == []


@pytest.mark.parametrize("page", [[], [line(5)]])
def test_a_page_that_does_not_join_means_that_the_log_is_another(page: list[Event]) -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(5)])), Read)
    effects = machine.deliver(ReadDone(read.number, page))
    assert kinds(effects) == ["Load"]
    assert reload(machine, effects, loaded(seq=2)) == []  # and what was heard before is no reason to read again
    assert machine.phase is Phase.IDLE


def test_a_turn_of_another_process_stops_ours_and_the_session_is_read_again() -> None:
    machine, step = running()
    effects = machine.deliver(Remote([event(4, turn=3), ended(5, 3)]))
    assert kinds(effects) == ["CancelStep", "Load"]
    assert the(effects, CancelStep).run == step.run
    assert machine.deliver(done(step)) == []  # it ended all the same: too late
    assert reload(machine, effects, loaded(seq=5, cursor=3, version=2)) == []


def test_a_turn_of_another_process_while_idle_is_read_and_not_run() -> None:
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(Remote([line(3)]))
    effects = machine.deliver(Remote([event(4, turn=3), ended(5, 3)]))
    assert kinds(effects) == ["Load"]
    assert reload(machine, effects, loaded(seq=5, cursor=3, version=2)) == []


def test_our_own_turn_that_we_read_back_is_no_news() -> None:
    machine, commit = committing()
    # Another process accepted event 4 while our turn was committed as events 5 and 6.
    effects = finish(machine, commit, 4)
    assert kinds(effects) == ["Publish", "Read"]
    page = [line(4), *committed(commit.write, 4).events]
    assert the(machine.deliver(ReadDone(the(effects, Read).number, page)), RunStep).turn == 4


def test_our_own_turn_may_be_read_back_before_its_outcome_is_known() -> None:
    machine, commit = committing()
    read = the(machine.deliver(Remote([line(6)])), Read)
    answer = committed(commit.write, 3)
    assert machine.deliver(ReadDone(read.number, [*answer.events, line(6)])) == []
    assert the(machine.deliver(TurnCommitted(commit.run, answer)), RunStep).turn == 6


def test_a_later_turn_of_another_process_is_read_once_our_commit_has_its_outcome() -> None:
    machine, commit = committing()
    answer = committed(commit.write, 3)
    assert machine.deliver(Remote([*answer.events, line(6), event(7, turn=6), ended(8, 6)])) == []
    effects = machine.deliver(TurnCommitted(commit.run, answer))
    assert kinds(effects) == ["Publish", "Load"]
    assert reload(machine, effects, loaded(seq=8, cursor=6, version=3)) == []


def test_events_that_come_while_the_session_is_read_are_read_after_it() -> None:
    machine = cold()
    machine.deliver(Wake())
    machine.deliver(Remote([line(3)]))
    effects = machine.deliver(LoadDone(1, loaded()))
    assert kinds(effects) == ["Read"]
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(3)])), RunStep).turn == 3


def test_events_that_come_to_a_sleeping_session_are_not_forgotten() -> None:
    machine = cold()
    assert machine.deliver(Remote([line(3)])) == []
    assert kinds(machine.deliver(Opened(loaded()))) == ["Read"]


# ---------------------------------------------------------------- takeover


def test_a_line_of_another_process_runs_here_only_after_the_takeover_timer() -> None:
    machine = idle(limits={"takeover_ms": 50})
    assert machine.deliver(Remote([line(3)])) == [SetTimer("takeover", 3, 50)]
    assert the(machine.deliver(TimerFired("takeover", 3)), RunStep).turn == 3


def test_a_line_of_ours_does_not_wait() -> None:
    machine, step = running(takeover_ms=50)
    assert step.turn == 3
    assert machine.phase is Phase.RUNNING


def test_news_do_not_put_a_takeover_off() -> None:
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(Remote([line(3)]))
    assert machine.deliver(Remote([line(4)])) == []


def test_a_takeover_that_fell_into_a_read_of_the_session_is_not_lost() -> None:
    machine = idle(limits={"takeover_ms": 50})
    machine.deliver(Remote([line(3)]))
    effects = machine.deliver(Opened(None))
    assert machine.deliver(TimerFired("takeover", 3)) == []
    assert the(reload(machine, effects, loaded(line(3), seq=3, lined=3)), RunStep).turn == 3


def test_a_takeover_of_a_line_that_is_answered_runs_nothing() -> None:
    machine, step = running(takeover_ms=50)
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert machine.deliver(TimerFired("takeover", 3)) == []


# ---------------------------------------------------------------- the end of a turn


def test_a_turn_is_one_write_guarded_by_the_version_and_it_moves_the_cursor() -> None:
    machine = idle(version=4, memory={"a": 1}, state="HELLO")
    step = the(accept(machine, say(), 3), RunStep)
    result = done(step, chat("a"), Frame("action_request", {}), to="CHOICE", intent="Choose", memory={"b": 2})
    [commit] = machine.deliver(result)
    assert isinstance(commit, Commit)
    write = commit.write
    assert (write.session_id, write.user_id, write.client_id, write.expected_version) == (SESSION, USER, None, 4)
    assert [(event.type, event.role, event.message_id, event.turn) for event in write.events] == [
        ("chat_message", "assistant", "id0", 3),
        ("action_request", "assistant", "id1", 3),
        ("state_update", "system", "id2", 3),
    ]
    assert write.events[-1].payload == {
        "from": "HELLO",
        "to": "CHOICE",
        "intent": "Choose",
        "turn": 3,
        "memory": {"b": 2},
    }
    assert write.update is not None
    assert (write.update.state, write.update.cursor, write.update.card) == ("CHOICE", 3, "id1")
    assert write.update.memory == {"a": 1, "b": 2}
    assert not commit.again


def test_the_next_turn_sees_what_this_one_left() -> None:
    machine = idle(card="card0", state="CHOICE", memory={"a": 1})
    step = the(accept(machine, say(), 3), RunStep)
    accept(machine, say(client_id="c4"), 4)
    commit = the(machine.deliver(done(step, to="HELLO", intent="Back", memory={"b": 2})), Commit)
    after = the(finish(machine, commit, 4), RunStep).snapshot
    assert after is not None
    assert (after.state, after.memory, after.version, after.cursor, after.seq, after.card) == (
        "HELLO",
        {"a": 1, "b": 2},
        2,
        3,
        6,
        None,
    )


def test_a_turn_that_remembers_nothing_writes_no_memory_and_keeps_it() -> None:
    machine = idle(memory={"a": 1})
    step = the(accept(machine, say(), 3), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    assert commit.write.update is not None
    assert commit.write.update.memory is None
    finish(machine, commit, 3)
    assert machine.snapshot is not None
    assert machine.snapshot.memory == {"a": 1}


def test_nothing_of_a_turn_is_published_before_it_is_durable() -> None:
    machine, commit = committing()
    assert machine.phase is Phase.COMMITTING
    effects = finish(machine, commit, 3)
    assert [event.seq for event in the(effects, Publish).events] == [4, 5]


def test_a_failed_step_is_seen_and_cannot_loop() -> None:
    machine, step = running()
    commit = the(machine.deliver(broken(step)), Commit)
    failure, words, end = commit.write.events
    assert failure.payload == {"turn": 3, "code": "step_failed", "correlation_id": "corr", "retryable": True}
    assert (failure.type, failure.role, words.payload["text"]) == ("turn_failed", "system", "It broke.")
    assert (end.payload["intent"], end.payload["to"]) == ("Failed", "HELLO")
    assert commit.write.update is not None
    assert commit.write.update.cursor == 3
    assert every(finish(machine, commit, 3), RunStep) == []


def test_a_store_that_cannot_commit_is_asked_again_ever_more_slowly() -> None:
    machine, commit = committing()
    waits = []
    for _ in range(7):
        timer = the(machine.deliver(TurnCommitted(commit.run, None)), SetTimer)
        waits.append(timer.wait_ms)
        assert machine.deliver(TimerFired(timer.name, timer.number)) == [Commit(commit.run, commit.write, again=True)]
    assert waits == [500, 1000, 2000, 4000, 8000, 10_000, 10_000]
    assert kinds(finish(machine, commit, 3)) == ["Publish"]


def test_a_conflict_reads_the_session_again_and_runs_the_line_if_it_is_still_unanswered() -> None:
    machine, commit = committing()
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(effects) == ["Load"]
    step = the(reload(machine, effects, loaded(line(3), version=2)), RunStep)
    assert (step.turn, step.attempt) == (3, 2)
    assert the(machine.deliver(done(step)), Commit).write.expected_version == 2


def test_a_conflict_over_a_line_that_another_process_answered_runs_nothing() -> None:
    machine, commit = committing()
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert reload(machine, effects, loaded(version=2, seq=6, cursor=3)) == []


def test_a_session_that_was_deleted_during_a_turn_is_gone() -> None:
    machine, commit = committing()
    assert the(machine.deliver(TurnCommitted(commit.run, Missing())), Gone).code is CloseCode.NOT_FOUND


def test_a_load_that_failed_is_tried_again_and_lines_that_waited_for_it_are_refused() -> None:
    machine, commit = committing()
    load = the(machine.deliver(TurnCommitted(commit.run, Conflict(2))), Load)
    assert machine.deliver(press("card9", "c9")) == []
    effects = machine.deliver(LoadDone(load.number, None, failed=True))
    assert kinds(effects) == ["Reject", "SetTimer"]
    [again] = machine.deliver(TimerFired("load", 0))
    assert isinstance(again, Load)
    machine.deliver(LoadDone(again.number, loaded()))
    assert machine.deliver(TimerFired("load", 0)) == []


def test_answers_to_what_is_over_are_dropped() -> None:
    machine, commit = committing()
    assert machine.deliver(TurnCommitted(commit.run + 1, None)) == []
    finish(machine, commit, 3)
    assert finish(machine, commit, 3) == []
    machine, step = running()
    assert machine.deliver(TurnCommitted(step.run, Conflict(1))) == []  # its step has not ended
    for late in (Shown(9, Progress("x")), Streamed(9, "x", "m"), TimerFired("commit", step.run), TimerFired("no", 0)):
        assert machine.deliver(late) == []
    assert machine.deliver(structs.replace(done(step), run=9)) == []


# ---------------------------------------------------------------- what a running turn shows


def test_a_streamed_text_and_the_message_that_ends_it_share_their_id() -> None:
    machine, step = running()
    first = the(machine.deliver(Streamed(step.run, "an", "s1")), Show).frame
    second = the(machine.deliver(Streamed(step.run, "swer", "s2")), Show).frame
    assert (first.type, first.message_id, second.message_id) == ("stream_delta", "s1", "s1")
    assert first.payload == {"turn": 3, "attempt": 1, "n": 1, "text": "an", "reset": False}
    assert second.payload["n"] == 2
    card = Frame("action_request", {})
    commit = the(machine.deliver(done(step, card, chat("answer"), chat("more"))), Commit)
    assert [event.message_id for event in commit.write.events] == ["id0", "s1", "id2", "id3"]


def test_a_message_keeps_the_id_that_its_first_piece_announced_even_if_that_was_empty() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "", "s1"))
    assert the(machine.deliver(done(step)), Commit).write.events[0].message_id == "s1"


def test_a_stream_that_ends_in_no_message_names_none() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "an", "s1"))
    commit = the(machine.deliver(done(step, Frame("slide_update", {}, "known"))), Commit)
    assert [event.message_id for event in commit.write.events] == ["known", "id1"]


def test_whoever_comes_while_a_turn_runs_sees_its_status_and_its_text_so_far() -> None:
    machine, step = running()
    assert [frame.type for frame in machine.catch_up()] == ["status_update"]
    machine.deliver(Shown(step.run, Progress("Half", 50, 3)))
    for text in ("an", "swer"):
        machine.deliver(Streamed(step.run, text, "s1"))
    status, text_so_far = machine.catch_up()
    assert status == protocol.status(3, "generating", "Half", 50, 3)
    assert text_so_far.payload == {"turn": 3, "attempt": 1, "n": 2, "text": "answer", "reset": True}


def test_whoever_comes_while_no_turn_runs_sees_nothing_of_one() -> None:
    assert idle().catch_up() == []
    machine, _ = committing()
    assert machine.catch_up() == []


def test_a_turn_that_takes_a_while_says_that_it_thinks() -> None:
    machine, step = running()
    shown = the(machine.deliver(TimerFired("status", step.run)), Show).frame
    assert (shown.type, shown.payload["status"]) == ("status_update", "thinking")
    assert machine.deliver(TimerFired("status", step.run)) == []
    assert machine.deliver(TimerFired("status", step.run + 1)) == []


def test_a_step_that_speaks_for_itself_is_not_spoken_for() -> None:
    machine, step = running()
    machine.deliver(Shown(step.run, Progress("Half")))
    assert machine.deliver(TimerFired("status", step.run)) == []


def test_a_quick_turn_shows_no_status_and_a_shown_one_is_taken_back() -> None:
    machine, step = running()
    commit = the(machine.deliver(done(step)), Commit)
    assert machine.deliver(TimerFired("status", step.run)) == []
    assert every(finish(machine, commit, 3), Show) == []
    step = the(accept(machine, say(client_id="c6"), 6), RunStep)
    machine.deliver(Shown(step.run, Progress("Half")))
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 6, version=3), Show).frame.payload["status"] == "idle"


def test_a_status_is_taken_back_when_another_process_answers() -> None:
    machine, step = running()
    machine.deliver(Shown(step.run, Progress("Half")))
    effects = machine.deliver(Remote([event(4, turn=3), ended(5, 3)]))
    assert kinds(effects) == ["CancelStep", "Show", "Load"]
    assert the(effects, Show).frame.payload["status"] == "idle"


# ---------------------------------------------------------------- cancel


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
    assert machine.deliver(asked) == [Find(asked, "not_running")]
    assert machine.deliver(Found(asked, "not_running", None)) == [Reject(8, "x1", "not_running")]


def test_a_cancellation_sent_again_gets_the_first_promise_again() -> None:
    machine = idle(seq=5, cursor=3)
    find = the(machine.deliver(cancel()), Find)
    before = event(4, "turn_cancelled", turn=3, client_id="x1")
    assert machine.deliver(Found(find.asked, find.refusal, before)) == [Ack(8, "x1", 4, duplicate=True)]


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


def test_a_cancellation_that_met_a_conflict_is_judged_by_what_the_store_says() -> None:
    for inbox, wanted in (((line(3),), ["RunStep", "SetTimer", "CancelStep", "Commit"]), ((), ["Find"])):
        machine, _ = running()
        commit = the(machine.deliver(cancel()), Commit)
        effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
        assert kinds(reload(machine, effects, loaded(*inbox, seq=6, version=2))) == wanted


def test_a_cancellation_that_comes_while_the_session_is_read_waits() -> None:
    machine = cold()
    assert kinds(machine.deliver(cancel())) == ["Load"]
    effects = machine.deliver(LoadDone(1, loaded(line(3), seq=3, lined=3)))
    assert kinds(effects) == ["RunStep", "SetTimer", "CancelStep", "Commit"]


# ---------------------------------------------------------------- rest


def test_a_session_at_rest_is_forgotten() -> None:
    machine = idle()
    assert machine.deliver(Rest()) == [Evict()]
    assert machine.phase is Phase.COLD


def test_a_session_with_anything_under_way_is_not() -> None:
    waiting = idle(limits={"takeover_ms": 50})
    waiting.deliver(Remote([line(3)]))
    appending = idle()
    appending.deliver(say())
    finding = idle()
    finding.deliver(cancel())
    reading = idle()
    reading.deliver(Remote([line(4)]))
    for machine in (waiting, appending, finding, reading, running()[0], committing()[0], cold()):
        assert machine.deliver(Rest()) == []
    finding.deliver(Found(cancel(), "not_running", None))
    assert finding.deliver(Rest()) == [Evict()]


def test_a_read_that_is_due_does_not_disturb_a_session_that_is_read_again() -> None:
    machine = idle()
    read = the(machine.deliver(Remote([line(4)])), Read)
    machine.deliver(ReadDone(read.number, None))
    machine.deliver(Opened(None))
    assert machine.deliver(TimerFired("read", 0)) == []


def test_a_card_is_told_only_by_a_session_that_is_known() -> None:
    machine = cold()
    assert machine.deliver(Found(press(), "stale_action", None)) == [Reject(7, "c3", "stale_action", None)]


# ---------------------------------------------------------------- a line's write


def payload(message: Message, before: Snapshot) -> dict[str, Any]:
    [said] = accept_write(message, before, ECHO).events
    return said.payload


def test_a_line_is_stored_as_it_was_received() -> None:
    write = accept_write(say("hello"), snapshot(), ECHO)
    [said] = write.events
    assert (write.client_id, write.expected_version, write.update) == ("c3", None, None)
    assert (said.type, said.role, said.message_id, said.created_at) == ("chat_message", "user", "m-c3", T0_MS)
    assert said.payload == {
        "text": "hello",
        "sub_title": None,
        "list_items": None,
        "format": "plain",
        "client_id": "c3",
    }


def test_a_line_without_an_id_is_keyed_by_its_message_id() -> None:
    write = accept_write(say(client_id=None), snapshot(), ECHO)
    assert write.client_id == write.events[0].client_id == "m-None"
    assert "client_id" not in write.events[0].payload


def test_a_press_is_stored_with_its_action_and_its_card() -> None:
    stored = payload(press(), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"], stored["action_message_id"]) == ("Go left", "left", LEFT_CARD)


def test_a_buttons_value_sent_as_text_is_stored_as_its_label() -> None:
    stored = payload(say("left"), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"]) == ("Go left", "left")


def test_words_that_come_with_a_button_are_stored() -> None:
    stored = payload(say("because", action="right"), snapshot(state="CHOICE"))
    assert (stored["text"], stored["action_value"]) == ("because", "right")


def test_an_action_that_no_table_knows_is_stored_as_it_came() -> None:
    stored = payload(say("up", action="up"), snapshot())
    assert (stored["text"], stored["action_value"]) == ("up", "up")


@pytest.mark.parametrize(
    ("again", "stored", "same"),
    [
        (say("hello"), line(3), True),
        (say("hullo"), line(3), False),
        (say("hello", action="left"), line(3), False),
        (say("hello"), event(3), False),
        (say("left"), line(3, "Go left", action_value="left"), True),
        (say("left", action="left"), line(3, "Go left", action_value="left"), True),
        (say("Go left"), line(3, "Go left", action_value="left"), True),
        (say("Go left", action="right"), line(3, "Go left", action_value="left"), False),
        (say("up", action="up"), line(3, "up", action_value="up"), True),
        (press(), line(3, "Go left", action_value="left", action_message_id=LEFT_CARD), True),
        (press("card2"), line(3, "Go left", action_value="left", action_message_id=LEFT_CARD), False),
        (cancel(3), event(4, "turn_cancelled", turn=3), True),
        (cancel(2), event(4, "turn_cancelled", turn=3), False),
        (cancel(3), line(3), False),
    ],
)
def test_what_is_the_same_again(again: Message | Cancel, stored: Event, same: bool) -> None:
    assert is_same(again, stored, ECHO) is same


# ---------------------------------------------------------------- the log that a session follows


def test_an_inbox_takes_what_joins_and_keeps_the_lines() -> None:
    inbox = Inbox()
    inbox.begin(2, [])
    assert inbox.take([event(2), line(3), event(4), ended(5, 3), line(7)]) == 3
    assert (inbox.head, inbox.lines) == (5, [line(3)])
    inbox.drop_answered(3)
    assert inbox.lines == []


def test_an_inbox_is_behind_from_what_it_hears_until_it_has_it() -> None:
    inbox = Inbox()
    inbox.begin(2, [])
    inbox.hear([])
    assert not inbox.is_behind
    inbox.hear([line(4)])
    inbox.hear([line(3)])
    assert inbox.is_behind
    assert inbox.take([line(3), line(4)]) is None
    assert not inbox.is_behind


def test_what_the_store_will_tell_need_not_be_remembered() -> None:
    inbox = Inbox()
    inbox.hear([line(9)])
    inbox.forget()
    inbox.begin(2, [])
    assert not inbox.is_behind


# ---------------------------------------------------------------- the fold law


def test_what_a_turn_leaves_is_what_its_log_folds_to() -> None:
    machine = cold()
    log: list[Event] = []
    results: list[dict[str, Any]] = [
        {"to": "HELLO", "memory": {"a": 1, "b": 2}, "intent": "Open"},
        {"to": "CHOICE", "memory": {"a": None}, "frames": (Frame("action_request", {}),)},
        {"to": "CHOICE", "memory": {}},
        {"to": "HELLO", "memory": {"c": 3}},
    ]

    def store(write: Write) -> Committed:
        placed = place(write.events, len(log), log[-1].created_at if log else 0)
        log.extend(placed)
        return Committed(placed, len([event for event in log if event.type == "state_update"]))

    effects = machine.deliver(Opened(None))
    for number, result in enumerate(results):
        step = the(effects, RunStep)
        frames = result.pop("frames", (chat("x"),))
        ids = [f"{number}-{place}" for place in range(4)]
        commit = the(machine.deliver(structs.replace(done(step, *frames, **result), ids=ids)), Commit)
        machine.deliver(TurnCommitted(commit.run, store(commit.write)))
        folded, left = fold(log, USER), machine.snapshot
        assert folded is not None
        assert left == structs.replace(folded, lined=0, visible=0)
        message = say(client_id=f"c{number}")
        write = the(machine.deliver(message), Append).write
        effects = machine.deliver(Appended(message, store(write)))
