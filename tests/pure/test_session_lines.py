"""The machine of one conversation: the lines that it accepts, holds and refuses."""

import pytest

from server.errors import ErrorCode
from server.machines.effects import (
    Ack,
    AnswerAtOnce,
    Append,
    Commit,
    Effect,
    Evict,
    Find,
    Publish,
    Read,
    Reject,
    RunStep,
)
from server.machines.inputs import (
    MAY_WAIT,
    NOT_THERE,
    OVERLOADED,
    UNREADABLE,
    Appended,
    AtOnce,
    Found,
    ReadDone,
    Refused,
    Rest,
    TurnCommitted,
)
from server.machines.lines import accept_write, line_event
from server.machines.session import Session
from server.records import UNKNOWN, Committed, Conflict, Duplicate, Missing, Unknown
from server.workflows.table import Frame
from tests.pure.sessions import (
    LEFT_CARD,
    accept,
    append,
    cancel,
    cold,
    committing,
    done,
    finish,
    idle,
    loaded,
    news,
    press,
    reload,
    running,
    say,
)
from tests.support.builders import USER, ended, event, kinds, line, snapshot, the
from tests.support.example_workflows import ECHO

# ---------------------------------------------------------------- lines


def test_an_ack_comes_after_the_commit_and_before_anything_else() -> None:
    machine = idle()
    message = say()
    said = line_event(message, snapshot(), ECHO)
    write = accept_write(said, USER)
    assert machine.deliver(message) == [AnswerAtOnce(message, said, RunStep(1, 3, 1, said, snapshot(), False))]
    assert machine.deliver(AtOnce(message, said, MAY_WAIT)) == [Append(message, write)]
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
    assert machine.deliver(Appended(message, Duplicate(line(3)))) == [Reject(7, "c3", ErrorCode.ID_REUSE)]


def test_a_line_that_was_stored_unseen_runs_when_it_is_sent_again() -> None:
    machine = idle()
    message = say()
    machine.deliver(message)
    assert kinds(machine.deliver(Appended(message, UNKNOWN))) == ["Reject"]
    machine.deliver(message)
    effects = machine.deliver(Appended(message, Duplicate(line(3))))
    assert kinds(effects) == ["Ack", "Read"]  # and the connections are told, once it is there
    assert the(machine.deliver(ReadDone(the(effects, Read).number, [line(3)])), RunStep).turn == 3


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (UNKNOWN, ErrorCode.STORE_UNAVAILABLE),
        (Conflict(1), ErrorCode.STORE_UNAVAILABLE),
        (OVERLOADED, ErrorCode.OVERLOADED),
    ],
)
def test_a_line_that_was_not_stored_is_refused_and_why(outcome: Unknown | Conflict | Refused, code: ErrorCode) -> None:
    machine = idle()
    message = append(machine, say()).message
    assert machine.deliver(Appended(message, outcome)) == [Reject(7, "c3", code)]
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
    assert kinds(effects) == ["Tell", "Read"]
    read = the(effects, Read)
    assert read.after == 6
    assert the(machine.deliver(ReadDone(read.number, [line(7)])), RunStep).turn == 7


# ---------------------------------------------------------------- the inbox is bounded


def test_a_full_inbox_refuses_new_lines() -> None:
    machine = idle(limits={"inbox": 2})
    accept(machine, say(client_id="c3"), 3)
    machine.deliver(say(client_id="c4"))  # on its way to the store: it counts
    message = say(client_id="c5")
    assert machine.deliver(message) == [Find(message, ErrorCode.INBOX_FULL)]
    assert machine.deliver(Found(message, NOT_THERE)) == [Reject(7, "c5", ErrorCode.INBOX_FULL)]


def test_a_line_sent_again_to_a_full_inbox_is_told_that_it_is_there() -> None:
    machine = idle(limits={"inbox": 1})
    accept(machine, say(), 3)
    find = the(machine.deliver(say()), Find)
    assert machine.deliver(Found(find.asked, line(3))) == [Ack(7, "c3", 3, duplicate=True)]


def test_room_that_was_made_while_we_looked_is_used() -> None:
    machine, step = running(inbox=1)
    message = say(client_id="c4")
    machine.deliver(message)
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert kinds(machine.deliver(Found(message, NOT_THERE))) == ["AnswerAtOnce"]


def test_an_answer_makes_room() -> None:
    machine, step = running(inbox=1)
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert kinds(machine.deliver(say(client_id="c4"))) == ["AnswerAtOnce"]


def test_a_look_that_failed_is_a_temporary_refusal() -> None:
    machine = idle(limits={"inbox": 0})
    find = the(machine.deliver(say()), Find)
    refused = the(machine.deliver(Found(find.asked, UNREADABLE)), Reject)
    assert refused.code == "store_unavailable"


def test_what_waits_for_the_session_is_bounded_too() -> None:
    machine = cold(inbox=2)
    machine.deliver(say(client_id="c1"))
    machine.deliver(cancel())
    assert machine.deliver(say(client_id="c2")) == [Reject(7, "c2", ErrorCode.INBOX_FULL)]
    assert machine.deliver(cancel(client_id="x2")) == [Reject(8, "x2", ErrorCode.INBOX_FULL)]


# ---------------------------------------------------------------- buttons


def test_a_press_on_the_open_card_is_accepted() -> None:
    assert kinds(idle(state="CHOICE", card=LEFT_CARD).deliver(press())) == ["AnswerAtOnce"]


def test_a_press_on_a_closed_card_is_refused_with_the_card_that_is_open() -> None:
    machine = idle(state="CHOICE", card="card2")
    message = press()
    assert machine.deliver(message) == [Find(message, ErrorCode.STALE_ACTION)]
    refused = machine.deliver(Found(message, snapshot(state="CHOICE", card="card2")))
    assert refused == [Reject(7, "c3", ErrorCode.STALE_ACTION, "card2")]


def test_a_press_in_a_session_that_was_deleted_is_refused() -> None:
    machine = idle(state="CHOICE", card="card2")
    machine.deliver(press())
    assert machine.deliver(Found(press(), NOT_THERE)) == [Reject(7, "c3", ErrorCode.STALE_ACTION, "card2")]


def test_a_press_sent_again_after_its_card_was_closed_is_told_that_it_is_there() -> None:
    machine = idle(state="HELLO", card=None, seq=5, cursor=3)
    stored = line(3, "Go left", action_value="left", action_message_id=LEFT_CARD)
    find = the(machine.deliver(press()), Find)
    assert machine.deliver(Found(find.asked, stored)) == [Ack(7, "c3", 3, duplicate=True)]


def test_a_full_inbox_is_told_before_a_stale_card() -> None:
    machine = idle(limits={"inbox": 0}, card="card2")
    assert the(machine.deliver(press()), Find).refusal == "inbox_full"
    assert machine.deliver(Found(press(), NOT_THERE)) == [Reject(7, "c3", ErrorCode.INBOX_FULL, None)]


def test_a_card_that_closed_while_its_press_waited_makes_the_step_stale() -> None:
    machine = idle(state="CHOICE", card=LEFT_CARD)
    first = the(accept(machine, press(), 3), RunStep)
    assert not first.stale
    accept(machine, press(client_id="c4"), 4)
    commit = the(machine.deliver(done(first, to="HELLO", intent="Left")), Commit)
    second = the(finish(machine, commit, 4), RunStep)
    assert (second.turn, second.stale) == (4, True)


@pytest.mark.parametrize("card", [None, LEFT_CARD])
def test_words_of_ones_own_answer_no_card_so_they_are_never_stale(card: str | None) -> None:
    machine = idle(state="CHOICE", card=card)
    assert not the(accept(machine, say(), 3), RunStep).stale


def test_a_press_on_a_card_that_is_newer_than_what_we_know_waits_for_the_read() -> None:
    machine = idle(state="CHOICE", card=LEFT_CARD)
    effects = machine.deliver(news(line(3), ended(4, 3)))
    assert machine.deliver(press("card2")) == []
    effects = reload(machine, effects, loaded(state="CHOICE", card="card2", seq=4, cursor=3))
    assert kinds(effects) == ["Tell", "AnswerAtOnce"]


def card_made_elsewhere() -> tuple[Session, list[Effect]]:
    """Another process answered line 3 with card 2, and the news were lost; the user presses it here."""
    machine = idle(state="CHOICE", card=LEFT_CARD)
    message = press("card2")
    assert kinds(machine.deliver(message)) == ["Find"]
    stored = snapshot(state="CHOICE", card="card2", seq=5, cursor=3, version=2)
    return machine, machine.deliver(Found(message, stored))


def test_a_press_on_a_card_that_another_process_made_waits_until_the_news_of_it_are_read() -> None:
    machine, effects = card_made_elsewhere()
    read = the(effects, Read)
    assert read.after == 2
    effects = machine.deliver(ReadDone(read.number, [line(3), event(4, turn=3), ended(5, 3)]))
    assert kinds(effects) == ["Tell", "Load"]
    known = loaded(state="CHOICE", card="card2", seq=5, cursor=3, version=2)
    assert kinds(reload(machine, effects, known)) == ["Tell", "AnswerAtOnce"]


def test_a_press_that_waits_for_news_that_cannot_be_read_is_refused_for_now() -> None:
    machine, effects = card_made_elsewhere()
    effects = machine.deliver(ReadDone(the(effects, Read).number, UNREADABLE))
    assert kinds(effects) == ["Reject", "SetTimer"]
    assert the(effects, Reject).code == "store_unavailable"


def test_a_press_that_the_news_make_no_better_is_refused_after_another_look() -> None:
    machine, effects = card_made_elsewhere()
    effects = machine.deliver(ReadDone(the(effects, Read).number, [line(3), event(4, turn=3), ended(5, 3)]))
    effects = reload(machine, effects, loaded(state="HELLO", seq=5, cursor=3, version=2))
    assert kinds(effects) == ["Tell", "Find"]
    found = Found(the(effects, Find).asked, snapshot(seq=5, cursor=3, version=2))
    assert machine.deliver(found) == [Reject(7, "c3", ErrorCode.STALE_ACTION)]


def test_a_press_on_a_card_whose_turn_is_being_committed_waits_for_the_outcome() -> None:
    """Another connection may have read the turn from the store before we know that it is there."""
    machine, step = running()
    commit = the(machine.deliver(done(step, Frame("action_request", {}), to="CHOICE", intent="Choose")), Commit)
    message = press("id0", "c6")
    assert machine.deliver(message) == []
    assert kinds(finish(machine, commit, 3)) == ["Publish", "AnswerAtOnce"]


def test_what_waits_for_a_commit_that_fails_is_refused_for_now() -> None:
    machine, commit = committing()
    machine.deliver(press("card2", "c6"))
    effects = machine.deliver(TurnCommitted(commit.run, UNKNOWN))
    assert kinds(effects) == ["Reject", "SetTimer"]
    assert the(effects, Reject).code == "store_unavailable"
