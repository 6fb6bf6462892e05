"""A line whose step does not wait: it is committed together with its answer."""

import pytest

from server.errors import CloseCode, ErrorCode
from server.machines.effects import Ack, AnswerAtOnce, Append, Commit, Evict, Gone, Publish, Reject, RunStep
from server.machines.inputs import (
    MAY_WAIT,
    OVERLOADED,
    AtOnce,
    Done,
    Failed,
    Message,
    Refused,
    Remote,
    Rest,
    TurnCommitted,
)
from server.machines.lines import accept_write
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import UNKNOWN, Conflict, Duplicate, Missing, Unknown
from tests.pure.sessions import accept, broken, done, finish, idle, loaded, news, reload, running, say
from tests.support.builders import USER, kinds, line, the


def asked(machine: Session, message: Message | None = None) -> AnswerAtOnce:
    return the(machine.deliver(message or say()), AnswerAtOnce)


def answer(machine: Session, effect: AnswerAtOnce, ended: Done | Failed | None = None) -> Commit:
    """The step has ended without a wait; what is to be committed."""
    ended = ended or done(effect.step, memory={"a": 1})
    return the(machine.deliver(AtOnce(effect.message, effect.line, ended)), Commit)


def under_way() -> tuple[Session, Commit]:
    machine = idle()
    return machine, answer(machine, asked(machine))


def test_a_line_and_its_answer_are_one_write_for_the_place_behind_the_head() -> None:
    machine = idle()
    effect = asked(machine)
    assert (effect.step.turn, effect.step.attempt, effect.step.line) == (3, 1, effect.line)
    write = answer(machine, effect).write
    assert [event.type for event in write.events] == ["chat_message", "chat_message", "state_update"]
    assert [event.role for event in write.events] == ["user", "assistant", "system"]
    assert (write.client_id, write.expected_version) == ("c3", 1)
    assert write.update is not None
    assert (write.update.cursor, write.update.memory) == (3, {"a": 1})


def test_what_is_heard_of_meanwhile_is_waited_for() -> None:
    machine, commit = under_way()
    assert kinds(machine.deliver(Remote(9))) == ["Read"]
    assert kinds(finish(machine, commit, 2)) == ["Ack", "Publish"]
    assert machine.inbox.is_behind
    assert kinds(machine.deliver(say(client_id="c9"))) == ["Append"], "it is not alone"


def test_the_sender_is_acked_before_anybody_hears_of_it() -> None:
    machine, commit = under_way()
    effects = finish(machine, commit, 2)
    assert kinds(effects) == ["Ack", "Publish"]
    assert the(effects, Ack) == Ack(7, "c3", 3, duplicate=False)
    assert [event.seq for event in the(effects, Publish).events] == [3, 4, 5]
    assert machine.phase is Phase.IDLE
    assert machine.snapshot is not None
    assert (machine.snapshot.cursor, machine.snapshot.version, machine.inbox.head) == (3, 2, 5)


def test_the_next_line_builds_on_it() -> None:
    machine, commit = under_way()
    finish(machine, commit, 2)
    effect = asked(machine, say(client_id="c4"))
    assert effect.step.turn == 6
    assert answer(machine, effect).write.expected_version == 2


def test_a_step_that_breaks_at_once_is_told_with_its_line() -> None:
    machine = idle()
    effect = asked(machine)
    write = answer(machine, effect, broken(effect.step)).write
    assert [event.type for event in write.events] == ["chat_message", "turn_failed", "chat_message", "state_update"]


def test_a_step_that_may_wait_is_run_when_its_line_is_durable() -> None:
    machine = idle()
    effect = asked(machine)
    write = accept_write(effect.line, USER)
    assert machine.deliver(AtOnce(effect.message, effect.line, MAY_WAIT)) == [Append(effect.message, write)]


def test_a_line_that_comes_while_a_turn_runs_is_stored_at_once() -> None:
    machine, _ = running()
    assert kinds(machine.deliver(say(client_id="c4"))) == ["Append"]


def test_lines_keep_their_order_behind_one_that_is_asked_about() -> None:
    machine = idle()
    first = asked(machine)
    assert machine.deliver(say(client_id="c4")) == []
    assert machine.deliver(say(client_id="c5")) == []
    commit = answer(machine, first)
    assert machine.deliver(say(client_id="c6")) == []
    effects = finish(machine, commit, 2)
    assert kinds(effects) == ["Ack", "Publish", "AnswerAtOnce"]
    second = the(effects, AnswerAtOnce)
    assert second.message.say.client_id == "c4"
    effects = machine.deliver(AtOnce(second.message, second.line, MAY_WAIT))
    assert [effect.message.say.client_id for effect in effects if isinstance(effect, Append)] == ["c4", "c5", "c6"]


def test_news_that_come_between_let_the_line_be_stored_alone() -> None:
    machine = idle(limits={"takeover_ms": 50})
    effect = asked(machine)
    machine.deliver(news(line(3)))
    late = AtOnce(effect.message, effect.line, done(effect.step))
    assert machine.deliver(late) == [Append(effect.message, accept_write(effect.line, USER))]


def test_a_conflict_is_judged_again_before_the_lines_behind_it() -> None:
    machine, commit = under_way()
    machine.deliver(say(client_id="c4"))
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(effects) == ["Load"]
    effects = reload(machine, effects, loaded(seq=6, version=2))
    assert the(effects, AnswerAtOnce).message.say.client_id == "c3"
    assert the(effects, AnswerAtOnce).step.turn == 7


def test_room_for_it_is_made_by_the_last_of_those_that_wait() -> None:
    machine = idle(limits={"inbox": 2})
    commit = answer(machine, asked(machine))
    for client_id in ("c4", "c5"):
        assert machine.deliver(say(client_id=client_id)) == []
    assert machine.deliver(say(client_id="c6")) == [Reject(7, "c6", ErrorCode.INBOX_FULL)]
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(effects) == ["Reject", "Load"]
    assert the(effects, Reject) == Reject(7, "c5", ErrorCode.INBOX_FULL)


def test_one_that_took_effect_before_is_acked_again_and_the_store_is_asked() -> None:
    machine, commit = under_way()
    effects = machine.deliver(TurnCommitted(commit.run, Duplicate(line(3))))
    assert the(effects, Ack) == Ack(7, "c3", 3, duplicate=True)
    assert kinds(effects) == ["Ack", "Load"]


@pytest.mark.parametrize(
    ("outcome", "code"), [(UNKNOWN, ErrorCode.STORE_UNAVAILABLE), (OVERLOADED, ErrorCode.OVERLOADED)]
)
def test_where_nobody_knows_the_sender_is_told_and_the_store_is_asked(
    outcome: Unknown | Refused, code: ErrorCode
) -> None:
    machine, commit = under_way()
    machine.deliver(say(client_id="c4"))
    effects = machine.deliver(TurnCommitted(commit.run, outcome))
    assert kinds(effects) == ["Reject", "Load"]
    assert the(effects, Reject) == Reject(7, "c3", code)
    effects = reload(machine, effects, loaded(seq=5, cursor=3, lined=3, version=2))
    assert the(effects, AnswerAtOnce).message.say.client_id == "c4"
    assert the(effects, AnswerAtOnce).step.turn == 6


def test_a_session_that_is_gone_refuses_it() -> None:
    machine, commit = under_way()
    effects = machine.deliver(TurnCommitted(commit.run, Missing()))
    assert kinds(effects) == ["Reject", "CancelStep", "Gone", "Evict"]
    assert the(effects, Gone).code is CloseCode.NOT_FOUND


def test_news_of_another_turn_wait_for_its_outcome() -> None:
    machine, commit = under_way()
    assert machine.deliver(news(line(3), line(4))) == []
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(1)))
    assert kinds(effects) == ["Load"]


def test_a_session_does_not_rest_while_it_is_asked() -> None:
    machine = idle()
    effect = asked(machine)
    assert machine.deliver(Rest()) == []
    commit = answer(machine, effect)
    finish(machine, commit, 2)
    assert machine.deliver(Rest()) == [Evict()]


def test_lines_that_wait_for_a_turn_are_not_answered_before_it() -> None:
    machine, step = running()
    accept(machine, say(client_id="c4"), 4)
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 4), RunStep).turn == 4


def test_committed_lines_have_the_place_that_their_turn_names() -> None:
    machine, commit = under_way()
    assert {event.turn for event in the(finish(machine, commit, 2), Publish).events} == {3}
