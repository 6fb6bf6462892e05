"""What is wrong with an output of a step, in words; the engine's tests show what becomes of its turn."""

import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from server.errors import ERROR_CODES, StepError
from server.machines.broken_turn import CODE, IDS, broken_turn
from server.machines.effects import Commit
from server.records import SessionKey, check_write, fold, place
from server.workflows import move
from server.workflows.move import step, step_at_once
from server.workflows.outputs import shown, where, wrong_key, wrong_output
from server.workflows.table import Ask, Delta, Frame, Line, Output, Progress, Remember, Result, Turn, chat
from tests.pure.sessions import cancel, cold, running
from tests.support.builders import SESSION, USER, snapshot, the
from tests.support.example_workflows import ECHO

TURN = Turn(
    session_id="s", number=3, attempt=1, line=Line("hello", "hello"), intent="", came_from="HELLO", state="HELLO",
    memory={}, events=(), new_id=str, public_url="",
)  # fmt: skip
#: The same without their types, which a step need not keep to.
frame: Any = Frame
progress: Any = Progress
remember: Any = Remember
ask: Any = Ask
delta: Any = Delta
RIGHT: list[Any] = [
    frame("note", {}),
    frame("note", {}, "m1"),
    chat("hello"),
    frame("chat_message", {"text": "x"}, "m1"),
    progress("Brewing …"),
    progress("Brewing …", progress=10, estimated_time=3),
    progress("Brewing …", progress=1.5),
]
WRONG: list[Any] = [
    None, "text", b"bytes", 5, 10**30, True, 1.5, math.nan, object(), [], {}, (),
    frame(5, {}), frame("", {}), frame("x" * 65, {}), frame("a\0", {}), frame("\ud800", {}), frame("ack", {}),
    frame("note", []), frame("chat_message", {}), frame("chat_message", {"text": None}),
    frame("note", {}, ""), frame("note", {}, 5), frame("note", {}, "x" * 256), frame("note", {}, "a\0"),
    progress(5), progress("\ud800"), progress("x", status=5), progress("x", progress="x"), progress("x", progress=True),
    progress("x", progress=10**400), progress("x", estimated_time=math.inf),
    remember([]), ask(5), delta(b"x"),
]  # fmt: skip


@pytest.mark.parametrize("output", RIGHT)
def test_a_right_output(output: Output) -> None:
    assert wrong_output(output) is None
    assert step_at_once(saying(output, chat("fine")), TURN) is not None


@pytest.mark.parametrize("output", WRONG)
def test_a_wrong_output_is_named_in_a_line(output: Any) -> None:
    reason = wrong_output(output)
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) < 250
    with pytest.raises(StepError, match=r"^workflow echo, state HELLO: yielded "):
        step_at_once(saying(output), TURN)


@pytest.mark.parametrize("key", ["@usage", "@", 5, None, ("a",)])
def test_a_wrong_key_is_named(key: Any) -> None:
    with pytest.raises(StepError, match="yielded a Remember of the key "):
        step_at_once(saying(Remember({"fine": 1, key: 2})), TURN)
    assert wrong_key(key).startswith("a Remember of the key ")


def saying(*outputs: Any) -> Any:
    def answer(turn: Turn) -> Iterator[Any]:
        yield from outputs

    return replace(ECHO, answer=answer)


def test_a_value_is_shown_on_a_line_without_running_its_code() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

    assert shown(Loud()) == "a value of type Loud"
    assert shown("x" * 61) == f"str {'x' * 60!r}…"
    assert shown(b"x") == "bytes b'x'"
    assert shown(10**20) == "a value of type int"
    assert where(ECHO, TURN) == "workflow echo, state HELLO"


def test_outputs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move, "MOST_OUTPUTS", 3)
    assert step_at_once(saying(*[chat("x")] * 3), TURN) is not None
    with pytest.raises(StepError, match="more than 3 outputs") as raised:
        step_at_once(saying(*[chat("x")] * 4), TURN)
    assert raised.value.code == "answer_too_large"


async def results(workflow: Any) -> list[Any]:
    return [output async for output in step(workflow, TURN)]


async def coroutine() -> Any:
    return 5


@pytest.mark.parametrize("answer", [lambda _: None, lambda _: [chat("x")], lambda _: coroutine()])
async def test_a_step_that_is_no_generator(answer: Any) -> None:
    workflow = replace(ECHO, answer=answer)
    assert step_at_once(workflow, TURN) is None
    with pytest.raises(StepError, match=r"the step gave .*, expected a generator"):
        await results(workflow)


@pytest.mark.parametrize("classify", [lambda *_: 5, lambda *_: None, lambda *_: coroutine()])
async def test_a_classifier_that_names_no_intent(classify: Any) -> None:
    workflow = replace(ECHO, classify=classify)
    assert step_at_once(workflow, TURN) is None
    with pytest.raises(StepError, match=r"classify gave .*, expected an intent"):
        await results(workflow)


async def test_a_waiting_step_shows_and_ends() -> None:
    async def answer(turn: Turn) -> AsyncIterator[Output]:
        yield Progress("x")
        yield Delta("y")
        yield Remember({"a": 1})
        yield Ask("And?")
        yield chat("y")

    *seen, result = await results(replace(ECHO, answer=answer))
    assert seen == [Progress("x"), Delta("y")]
    assert isinstance(result, Result)
    assert (result.memory, [said.type for said in result.frames]) == ({"a": 1}, ["action_request", "chat_message"])


# ------------------------------------------------------------ the end of a turn that broke its machine


@pytest.mark.parametrize("known", [None, snapshot(seq=3, lined=3, card="m1", memory={"a": 1})])
def test_the_end_of_a_broken_turn_is_a_turn_like_any_other(known: Any) -> None:
    turn = 3 if known else 0
    write = broken_turn(
        SessionKey(USER, SESSION), known, ECHO, turn=turn, correlation_id="c" * 32, ids=["a", "b", "c"], now_ms=5
    )
    check_write(write)
    assert len(write.events) == IDS
    failed, said, ended = write.events
    assert failed.payload == {
        "turn": turn, "code": CODE, "correlation_id": "c" * 32, "retryable": ERROR_CODES[CODE].temporary
    }  # fmt: skip
    assert said.payload["text"].endswith("(Reference cccccccc.)")
    assert ended.payload["to"] == "HELLO"
    assert write.update is not None
    assert (write.update.cursor, write.update.card) == (turn, "m1" if known else None)
    assert write.update.memory == (None if known else {})
    if known is None:
        folded = fold(place(write.events, 0, 0), USER)
        assert folded is not None
        assert (folded.workflow, folded.state, folded.memory, folded.version) == ("echo", "HELLO", {}, 1)


def test_a_machine_names_those_who_wait() -> None:
    machine, _ = running()
    assert machine.waiting() == cold().waiting() == []
    stop = cancel()
    the(machine.deliver(stop), Commit)
    machine.deliver(again := cancel(client_id="another"))
    assert machine.waiting() == [again, stop]
