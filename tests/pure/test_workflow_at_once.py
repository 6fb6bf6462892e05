"""Steps that do not wait: plain generators, answered in the moment they are asked."""

import inspect
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from server.errors import StepError
from server.workflows.move import step, step_at_once
from server.workflows.table import OPEN, Delta, Output, Progress, Remember, Result, State, Step, Turn, chat
from tests.pure.test_workflow import HALL, ROOF, ROOM, classify, saying, table, turn


def at_once(*outputs: Output) -> Step:
    def say(asked: Turn) -> Iterator[Output]:
        yield from outputs or (chat(f"{asked.intent} in {asked.state}"),)

    return say


def guess(asked: Turn, intents: Sequence[str]) -> str:
    return asked.line.text


QUICK_ROOM = State("ROOM", at_once(), {"Back": "HALL"})
QUICK = table(HALL, QUICK_ROOM, ROOF, classify=guess, answer=at_once(chat("still here")))


async def outputs(workflow: Any, asked: Turn) -> list[Progress | Delta | Result]:
    return [output async for output in step(workflow, asked)]


def test_a_plain_generator_is_answered_at_once() -> None:
    result = step_at_once(QUICK, turn("Left"))
    assert result is not None
    assert (result.intent, result.to, result.memory) == ("Left", "ROOM", {})
    assert result.frames[0].payload["text"] == "Left in ROOM"


async def test_it_is_the_same_where_somebody_waits_for_it() -> None:
    assert await outputs(QUICK, turn("Left")) == [step_at_once(QUICK, turn("Left"))]


def test_a_step_that_may_wait_has_not_begun() -> None:
    begun = []

    async def wait(asked: Turn) -> AsyncIterator[Output]:
        begun.append(asked)
        yield chat("later")

    assert step_at_once(table(HALL, State("ROOM", wait, {"Back": "HALL"}), ROOF, classify=guess), turn("Left")) is None
    assert begun == []


def test_a_classifier_that_may_wait_is_not_asked() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a coroutine that nobody waits for would warn
        assert step_at_once(table(HALL, QUICK_ROOM, ROOF), turn("Left")) is None
    assert inspect.iscoroutinefunction(classify)


def test_a_button_needs_no_classifier() -> None:
    result = step_at_once(table(HALL, QUICK_ROOM, ROOF), turn("Go left", action="go_left"))
    assert result is not None
    assert result.to == "ROOM"


async def test_what_it_shows_on_the_way_is_over_at_once() -> None:
    busy = at_once(Progress("Looking", 10), Delta("o"), chat("ok"), Remember({"seen": True}))
    workflow = table(State("HALL", busy, {"Left": "ROOM", "Climb": "ROOF"}), ROOM, ROOF, classify=guess)
    result = step_at_once(workflow, turn(intent=OPEN))
    assert result is not None
    assert ([frame.type for frame in result.frames], result.memory) == (["chat_message"], {"seen": True})
    assert await outputs(workflow, turn(intent=OPEN)) == [result]


async def test_one_that_says_nothing_has_failed() -> None:
    workflow = table(State("HALL", at_once(Remember({})), {"Left": "ROOM", "Climb": "ROOF"}), ROOM, ROOF)
    with pytest.raises(StepError):
        step_at_once(workflow, turn(intent=OPEN))
    with pytest.raises(StepError):
        await outputs(workflow, turn(intent=OPEN))


def test_a_closed_card_is_answered_where_the_session_stands() -> None:
    result = step_at_once(QUICK, turn("Go left", action="go_left"), stale=True)
    assert result is not None
    assert result.to == "HALL"


async def test_a_step_that_may_wait_is_waited_for() -> None:
    workflow = table(HALL, State("ROOM", saying(chat("later")), {"Back": "HALL"}), ROOF, classify=guess)
    [result] = await outputs(workflow, turn("Left"))
    assert isinstance(result, Result)
    assert result.frames[0].payload["text"] == "later"
