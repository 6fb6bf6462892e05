"""The machine of one conversation: two lines at once, in workflows that do not queue them."""

from collections.abc import Sequence

import pytest

from server.errors import ErrorCode
from server.machines.effects import (
    Ack,
    AnswerAtOnce,
    CancelStep,
    Commit,
    Effect,
    Find,
    Interrupt,
    Load,
    Read,
    Reject,
    RunStep,
    TakeOver,
)
from server.machines.inputs import (
    NOT_THERE,
    Appended,
    AtOnce,
    Found,
    Interrupted,
    LoadDone,
    Opened,
    ReadDone,
    Remote,
    Streamed,
    TimerFired,
    TurnCommitted,
)
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import UNKNOWN, Conflict, Event
from tests.pure.sessions import (
    IDS,
    accept,
    append,
    cancel,
    cold,
    done,
    finish,
    idle,
    loaded,
    news,
    reload,
    running,
    say,
)
from tests.support.builders import T0_MS, committed, ended, event, kinds, line, snapshot, the
from tests.support.example_workflows import ECHO_INTERRUPT, ECHO_REJECT

SPENT = {"usage": {"input_tokens": 1, "output_tokens": 2, "cost_micro_usd": None, "calls": 1}}


def ready(interrupt: Interrupt, **fields: object) -> Interrupted:
    return Interrupted(interrupt.run, IDS, T0_MS, **fields)  # type: ignore[arg-type]


def stop(machine: Session, effects: list[Effect]) -> list[Effect]:
    """The engine answers that the turn may end."""
    return machine.deliver(ready(the(effects, Interrupt)))


def told(events: Sequence[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.payload.get("reason")) for event in events]


# ---------------------------------------------------------------- interrupt


def test_a_second_line_is_acked_at_once_and_ends_the_turn_that_runs() -> None:
    machine, step = running(workflow=ECHO_INTERRUPT)
    machine.deliver(Streamed(step.run, "so f", "s1"))
    effects = accept(machine, say("stop", "c4"), 4)
    assert kinds(effects) == ["Ack", "Publish", "Interrupt"]
    effects = machine.deliver(ready(the(effects, Interrupt), spent=SPENT))
    assert kinds(effects) == ["CancelStep", "Commit"]
    assert the(effects, CancelStep).run == step.run
    write = the(effects, Commit).write
    said, stopped, end = write.events
    assert (said.message_id, said.payload["text"], said.payload["cancelled"]) == ("s1", "so f", True)
    assert (stopped.type, stopped.role, stopped.client_id) == ("turn_cancelled", "system", None)
    assert stopped.payload == {"turn": 3, "reason": "interrupted"}
    assert (end.payload["intent"], end.payload["to"], end.payload["usage"]) == ("Cancelled", "HELLO", SPENT["usage"])
    assert (write.client_id, write.expected_version) == (None, 1)
    effects = finish(machine, the(effects, Commit), 4)
    assert the(effects, RunStep).turn == 4
    assert not [effect for effect in effects if isinstance(effect, Ack)]


def test_of_the_lines_that_came_meanwhile_only_the_newest_is_answered() -> None:
    machine, _ = running(workflow=ECHO_INTERRUPT)
    effects = stop(machine, accept(machine, say(client_id="c4"), 4))
    first = the(effects, Commit)
    for seq in (5, 6):
        assert kinds(accept(machine, say(client_id=f"c{seq}"), seq)) == ["Ack", "Publish"]
    effects = finish(machine, first, 6)  # its events are 7 and 8
    assert kinds(effects) == ["Publish", "Interrupt"]
    effects = stop(machine, effects)
    assert told(the(effects, Commit).write.events) == [("turn_cancelled", "interrupted"), ("state_update", None)]
    effects = stop(machine, finish(machine, the(effects, Commit), 8, version=3))
    assert [event.turn for event in the(effects, Commit).write.events] == [5, 5]
    assert the(finish(machine, the(effects, Commit), 10, version=4), RunStep).turn == 6


def test_lines_that_a_dead_process_left_are_ended_without_their_steps_but_the_last() -> None:
    machine = cold(ECHO_INTERRUPT)
    effects = machine.deliver(Opened(loaded(line(3), line(4), seq=4, lined=4)))
    assert kinds(effects) == ["Tell", "Interrupt"]
    effects = stop(machine, effects)
    assert the(finish(machine, the(effects, Commit), 4), RunStep).turn == 4


def test_an_answer_that_is_being_committed_is_kept() -> None:
    machine, step = running(workflow=ECHO_INTERRUPT)
    commit = the(machine.deliver(done(step)), Commit)
    assert kinds(accept(machine, say(client_id="c4"), 4)) == ["Ack", "Publish"]
    assert told(commit.write.events) == [("chat_message", None), ("state_update", None)]
    assert the(finish(machine, commit, 4), RunStep).turn == 4


def test_an_interruption_that_comes_too_late_is_dropped() -> None:
    machine, step = running(workflow=ECHO_INTERRUPT)
    interrupt = the(accept(machine, say(client_id="c4"), 4), Interrupt)
    commit = the(machine.deliver(done(step)), Commit)
    assert machine.deliver(ready(interrupt)) == []
    assert the(finish(machine, commit, 4), RunStep).turn == 4
    assert machine.deliver(ready(interrupt)) == []  # it is another turn's


def test_two_lines_interrupt_a_turn_once() -> None:
    machine, _ = running(workflow=ECHO_INTERRUPT)
    first = accept(machine, say(client_id="c4"), 4)
    second = accept(machine, say(client_id="c5"), 5)
    assert kinds(stop(machine, first)) == ["CancelStep", "Commit"]
    assert stop(machine, second) == []


def test_a_cancellation_by_a_user_comes_before_the_interruption() -> None:
    machine, _ = running(workflow=ECHO_INTERRUPT)
    interrupt = accept(machine, say(client_id="c4"), 4)
    commit = the(machine.deliver(cancel()), Commit)
    assert told(commit.write.events) == [("turn_cancelled", None), ("state_update", None)]
    assert stop(machine, interrupt) == []
    assert kinds(finish(machine, commit, 4))[:2] == ["Publish", "Ack"]


def test_a_line_of_another_process_interrupts_too_and_runs_there() -> None:
    machine, step = running(workflow=ECHO_INTERRUPT, takeover_ms=50)
    machine.deliver(Streamed(step.run, "so f", "s1"))
    effects = machine.deliver(news(line(4)))
    assert kinds(effects) == ["Interrupt"]
    commit = the(stop(machine, effects), Commit)
    assert told(commit.write.events)[1] == ("turn_cancelled", "interrupted")
    effects = finish(machine, commit, 4)
    assert kinds(effects) == ["Publish", "TakeOver"]
    assert the(effects, TakeOver).seq == 4


def test_a_line_of_which_only_the_head_was_heard_interrupts_when_it_is_read() -> None:
    machine, _ = running(workflow=ECHO_INTERRUPT, takeover_ms=50)
    read = the(machine.deliver(Remote(4)), Read)
    assert kinds(machine.deliver(ReadDone(read.number, [line(4)]))) == ["Tell", "Interrupt"]


def test_a_turn_of_another_process_is_its_own_to_interrupt() -> None:
    machine = idle(workflow=ECHO_INTERRUPT, limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    assert kinds(accept(machine, say(client_id="c4"), 4)) == ["Ack", "Publish"]
    effects = machine.deliver(news(event(5, "turn_cancelled", turn=3), ended(6, 3)))
    assert kinds(effects) == ["Show", "Load"]
    effects = reload(machine, effects, loaded(line(4), seq=6, lined=4, cursor=3, version=2))
    assert the(effects, RunStep).turn == 4


def test_a_line_that_is_taken_over_is_not_run_when_it_was_overtaken() -> None:
    machine = idle(workflow=ECHO_INTERRUPT, limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    accept(machine, say(client_id="c4"), 4)
    effects = machine.deliver(TimerFired("takeover", 3))
    effects = reload(machine, effects, loaded(line(3), line(4), seq=4, lined=4))
    commit = the(stop(machine, effects), Commit)
    assert the(finish(machine, commit, 4), RunStep).turn == 4


def test_an_interruption_that_meets_another_end_of_the_turn_is_given_up() -> None:
    machine, _ = running(workflow=ECHO_INTERRUPT, takeover_ms=50)
    commit = the(stop(machine, accept(machine, say(client_id="c4"), 4)), Commit)
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    effects = reload(machine, effects, loaded(line(4), seq=6, lined=4, cursor=3, version=2))
    assert the(effects, RunStep).turn == 4


# ---------------------------------------------------------------- reject


def test_a_line_is_refused_while_a_turn_runs_but_after_a_look_for_it() -> None:
    machine, step = running(workflow=ECHO_REJECT)
    second = say(client_id="c4")
    assert machine.deliver(second) == [Find(second, ErrorCode.TURN_RUNNING)]
    known = snapshot(seq=3, lined=3)
    assert machine.deliver(Found(second, known)) == [Reject(7, "c4", ErrorCode.TURN_RUNNING)]
    finish(machine, the(machine.deliver(done(step)), Commit), 3)
    assert kinds(machine.deliver(second)) == ["AnswerAtOnce"]


def test_a_line_that_took_effect_is_acked_again_while_its_turn_runs() -> None:
    machine, _ = running(workflow=ECHO_REJECT)
    again = say(client_id="c3")
    assert kinds(machine.deliver(again)) == ["Find"]
    assert machine.deliver(Found(again, line(3))) == [Ack(7, "c3", 3, duplicate=True)]


def test_a_line_that_comes_while_another_is_stored_waits_for_what_becomes_of_that() -> None:
    machine = idle(workflow=ECHO_REJECT)
    write = append(machine, say()).write
    assert machine.deliver(say()) == []  # the same once more
    assert machine.deliver(say(client_id="c4")) == []
    effects = machine.deliver(Appended(say(), committed(write, 2)))
    assert kinds(effects) == ["Ack", "Publish", "RunStep", "SetTimer", "Find", "Find"]


def test_a_line_takes_the_place_of_one_that_could_not_be_stored() -> None:
    machine = idle(workflow=ECHO_REJECT)
    append(machine, say())
    second = say(client_id="c4")
    machine.deliver(second)
    effects = machine.deliver(Appended(say(), UNKNOWN))
    assert kinds(effects) == ["Reject", "AnswerAtOnce"]
    assert the(effects, AnswerAtOnce).message == second


def test_a_line_that_comes_while_one_is_answered_at_once_waits_for_that_and_is_taken() -> None:
    machine = idle(workflow=ECHO_REJECT)
    asked = the(machine.deliver(say()), AnswerAtOnce)
    assert machine.deliver(say(client_id="c4")) == []
    commit = the(machine.deliver(AtOnce(asked.message, asked.line, done(asked.step))), Commit)
    assert machine.deliver(say(client_id="c5")) == []
    effects = finish(machine, commit, 2)
    assert kinds(effects) == ["Ack", "Publish", "AnswerAtOnce"]


def test_a_line_that_comes_while_an_answer_is_committed_waits_for_it() -> None:
    machine, step = running(workflow=ECHO_REJECT)
    commit = the(machine.deliver(done(step)), Commit)
    assert machine.deliver(say(client_id="c4")) == []
    assert kinds(finish(machine, commit, 3)) == ["Publish", "AnswerAtOnce"]


def test_lines_that_come_during_the_greeting_are_held_and_the_first_is_taken() -> None:
    machine = cold(ECHO_REJECT)
    step = the(machine.deliver(Opened(NOT_THERE)), RunStep)
    assert machine.deliver(say(client_id="c1")) == []
    commit = the(machine.deliver(done(step)), Commit)
    effects = finish(machine, commit, 0, version=1)
    assert kinds(effects) == ["Publish", "AnswerAtOnce"]


def test_a_line_is_refused_while_another_process_runs_a_turn() -> None:
    machine = idle(workflow=ECHO_REJECT, limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    second = say(client_id="c4")
    assert the(machine.deliver(second), Find).refusal == "turn_running"
    known = snapshot(seq=3, lined=3)
    assert machine.deliver(Found(second, known)) == [Reject(7, "c4", ErrorCode.TURN_RUNNING)]


def test_a_line_is_taken_when_the_store_knows_that_the_turn_elsewhere_is_over() -> None:
    machine = idle(workflow=ECHO_REJECT, limits={"takeover_ms": 50})
    machine.deliver(news(line(3)))
    second = say(client_id="c4")
    machine.deliver(second)
    read = the(machine.deliver(Found(second, snapshot(seq=5, lined=3))), Read)
    effects = machine.deliver(ReadDone(read.number, [event(4, turn=3), ended(5, 3)]))
    load = the(effects, Load)
    effects = machine.deliver(LoadDone(load.number, loaded(seq=5, lined=3, cursor=3, version=2)))
    assert kinds(effects) == ["Tell", "AnswerAtOnce"]
    assert machine.phase is Phase.IDLE


def test_a_line_waits_for_the_news_of_another_process() -> None:
    machine = idle(workflow=ECHO_REJECT, limits={"takeover_ms": 50})
    read = the(machine.deliver(Remote(3)), Read)
    assert machine.deliver(say(client_id="c4")) == []
    effects = machine.deliver(ReadDone(read.number, [line(3)]))
    assert the(effects, Find).refusal == "turn_running"


def test_lines_that_two_processes_took_at_once_are_answered_one_after_the_other() -> None:
    machine, step = running(workflow=ECHO_REJECT, takeover_ms=50)
    assert machine.deliver(news(line(4))) == []
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 4), TakeOver).seq == 4


@pytest.mark.parametrize("turn", [3, 4])
def test_a_cancellation_is_no_line(turn: int) -> None:
    machine, _ = running(workflow=ECHO_REJECT)
    assert kinds(machine.deliver(cancel(turn))) == (["CancelStep", "Commit"] if turn == 3 else ["Find"])
