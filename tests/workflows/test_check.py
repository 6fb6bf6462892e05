"""An author's check of a workflow: what it plays, and each thing that it finds wrong."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from server.workflows.builder import BUILDER
from server.workflows.check import Press, check_workflow, try_workflow
from server.workflows.table import (
    STALE,
    STAY,
    Ask,
    Button,
    Delta,
    Frame,
    Output,
    Progress,
    Remember,
    State,
    Step,
    Turn,
    Workflow,
    chat,
)


def greet(turn: Turn) -> Iterator[Output]:
    yield chat("Who are you?")


def offer(turn: Turn) -> Iterator[Output]:
    yield Remember({"name": turn.line.words, "seen": (1, 2)})
    yield chat(f"Hello {turn.line.words}.")
    yield Ask("Tea?")


async def pour(turn: Turn) -> AsyncIterator[Output]:
    yield Progress("Boiling", 50)
    await asyncio.sleep(0)
    yield Delta("Here ")
    yield Delta("it is.")
    yield Remember({"seen": None, "milk": turn.line.words})
    yield chat("Here it is.")


TEA = Workflow(
    "tea",
    start="NAME",
    states=[
        State("NAME", greet, {"Name": "OFFER"}),
        State(
            "OFFER",
            offer,
            {"Tea": "POUR", "Milk": "POUR"},
            [Button("tea", "Yes, tea", "Tea"), Button("milk", "With milk", "Milk", requires_input=True)],
        ),
        State("POUR", pour, final=True),
    ],
)
LINES = ["Ann", "yes, TEA"]


def saying(*outputs: Any) -> Step:
    def say(turn: Turn) -> Iterator[Output]:
        yield from outputs

    return say


def with_step(step: Any, state: str = "POUR") -> Workflow:
    return replace(TEA, states=[replace(one, run=step) if one.name == state else one for one in TEA.states])


def complaints(workflow: Workflow, lines: Sequence[str | Press] = tuple(LINES), **limits: int) -> list[str]:
    return check_workflow(workflow, lines, **limits).complaints


def test_the_moves_are_those_of_the_server() -> None:
    checked = check_workflow(TEA, ["Ann", "milk?", Press("milk", "a drop")])
    assert checked.complaints == []
    assert [(move.line, move.intent, move.came_from, move.to) for move in checked.moves] == [
        ("", "Open", "NAME", "NAME"),
        ("Ann", "Name", "NAME", "OFFER"),
        ("milk?", "Other", "OFFER", "OFFER"),
        ("a drop", "Milk", "OFFER", "POUR"),
    ]
    opened, offered, _, poured = checked.moves
    assert opened.texts == ["Who are you?"]
    assert offered.memory == {"name": "Ann", "seen": [1, 2]}  # as JSON keeps it
    assert [frame.type for frame in offered.frames] == ["chat_message", "action_request"]
    assert poured.memory == {"name": "Ann", "milk": "a drop"}
    assert poured.shown == (Progress("Boiling", 50), Delta("Here "), Delta("it is."))


def test_a_button_may_be_typed_by_its_label_or_its_value() -> None:
    for text in ("Yes, tea", "tea"):
        checked = check_workflow(TEA, ["Ann", text])
        assert (checked.moves[-1].intent, checked.complaints) == ("Tea", [])
    assert check_workflow(TEA, ["Ann", Press("tea")]).moves[-1].line == "Yes, tea"


def test_the_builder_passes() -> None:
    lines: list[str | Press] = [
        "Bees",
        "Children, 10 min",
        "accept_plan",
        Press("request_refinement", "shorter"),
        "accept_strawman",
    ]
    assert complaints(BUILDER, lines) == []


async def test_inside_a_loop_it_is_awaited() -> None:
    assert (await try_workflow(TEA, LINES)).complaints == []


def test_a_state_that_no_line_leads_to() -> None:
    assert complaints(TEA, ["Ann"]) == ["no line leads to state POUR: add lines that do"]


def test_a_button_that_the_state_does_not_have() -> None:
    checked = check_workflow(TEA, [Press("cake"), "Ann", Press("cake"), "tea"])
    assert checked.complaints == [
        "line 1 ('cake'): state NAME has no button 'cake'; it has none",
        "line 3 ('cake'): state OFFER has no button 'cake'; its buttons are tea, milk",
    ]
    assert checked.moves[1].intent == STALE


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("hello", "workflow tea, state POUR: yielded str 'hello': write `yield chat('hello')`"),
        ({"a": 1}, "workflow tea, state POUR: yielded a value of type dict: write `yield Remember(…)`, or"),
        (
            Frame("chart", {"by": object()}),
            "what the step yields must be JSON: Encoding objects of type object",
        ),
        (Remember({"a": 1}), "Tea in OFFER said nothing: yield a chat(…)"),
    ],
)
def test_a_step_that_yields_what_cannot_be_kept(output: Any, told: str) -> None:
    [first, second] = complaints(with_step(saying(output)))
    assert first.startswith(f"line 2 ('yes, TEA'): {told}")
    assert second == "no line leads to state POUR: add lines that do"


def test_a_step_that_raises_is_told_with_its_line() -> None:
    def broken(turn: Turn) -> Iterator[Output]:
        yield chat(turn.memory["nmae"])

    [first, _] = complaints(with_step(broken))
    line = broken.__code__.co_firstlineno + 1
    assert first == f"line 2 ('yes, TEA'): KeyError: 'nmae' (test_check.py, line {line})"


def test_a_function_that_is_no_generator_is_told() -> None:
    def no_step(turn):  # type: ignore[no-untyped-def]
        chat("said to nobody")

    assert complaints(with_step(no_step))[0] == (
        "line 2 ('yes, TEA'): the step of POUR returns a NoneType: it has no `yield`"
    )


def test_a_step_that_waits_too_long() -> None:
    async def sleepy(turn: Turn) -> AsyncIterator[Output]:
        await asyncio.sleep(60)
        yield chat("good morning")

    told = "line 2 ('yes, TEA'): the step did not end within 20 ms (`step_ms`)"
    assert complaints(with_step(sleepy), step_ms=20)[0] == told


def test_a_step_that_works_too_long_without_waiting() -> None:
    def busy(turn: Turn) -> Iterator[Output]:
        time.sleep(0.06)
        yield chat("done")

    [complaint] = complaints(with_step(busy), step_ms=50)
    assert complaint.startswith("line 2 ('yes, TEA'): the step took ")
    assert complaint.endswith(" ms without waiting, and all others stood still meanwhile")


def test_buttons_that_nobody_sees() -> None:
    assert complaints(with_step(saying(chat("Hello.")), "OFFER")) == [
        "line 1 ('Ann'): the buttons of state OFFER are not shown: `yield Ask(…)` in its step"
    ]


def test_an_answer_that_stays_leaves_the_open_buttons_as_they_are() -> None:
    assert complaints(replace(TEA, answer=saying(chat("Tea or milk?"))), ["Ann", "water", "tea"]) == []


def test_a_question_without_buttons() -> None:
    assert complaints(with_step(saying(chat("Here."), Ask("More?")))) == [
        "line 2 ('yes, TEA'): Ask in state POUR, which has no buttons: give it some, or use chat(…)"
    ]


@pytest.mark.parametrize("kind", ["state_update", "turn_failed", "turn_cancelled"])
def test_a_frame_of_the_servers_own(kind: str) -> None:
    [first, _] = complaints(with_step(saying(chat("Here."), Frame(kind, {}))))
    assert first.endswith(f"yielded a Frame of the type {kind}, which is the server's own")


def test_a_frame_that_is_not_declared() -> None:
    workflow = with_step(saying(chat("Here."), Frame("chart", {})))
    assert complaints(workflow) == [
        "line 2 ('yes, TEA'): a Frame of type chart: declare it, as Workflow(…, frames={'chart': …})"
    ]
    assert complaints(replace(workflow, frames={"chart": str})) == []


def test_a_stream_whose_text_is_not_said() -> None:
    async def hasty(turn: Turn) -> AsyncIterator[Output]:
        yield Delta("Here it ")
        yield chat("Here it is.")

    assert complaints(with_step(hasty)) == [
        "line 2 ('yes, TEA'): streamed 'Here it ', and no chat(…) has just that text: what was shown would vanish"
    ]


def test_progress_of_a_step_that_never_waits() -> None:
    assert complaints(with_step(saying(Progress("Boiling"), chat("Here.")))) == [
        "line 2 ('yes, TEA'): Progress in a step that never waits is not shown: write `async def`"
    ]


async def slowly(turn: Turn, allowed: Sequence[str]) -> str:
    return "Nmae"


@pytest.mark.parametrize("classify", [lambda turn, allowed: "Nmae", slowly])
def test_a_classifier_that_names_what_the_state_does_not_understand(classify: Any) -> None:
    told = complaints(replace(TEA, classify=classify, fallback="Say", always={"Say": STAY}), ["Ann"])
    assert told[0] == "line 1 ('Ann'): classify names 'Nmae', and state NAME understands Say, Name"


def test_numbers_that_json_lacks_are_kept_as_the_server_keeps_them() -> None:
    checked = check_workflow(with_step(saying(Remember({"score": math.nan}), chat("Here."))), LINES)
    assert "score" not in checked.moves[-1].memory


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (asyncio.CancelledError(), "CancelledError: "),
        (Unspeakable(), "Unspeakable: (its words cannot be read)"),
    ],
)
def test_a_step_that_would_end_the_checker_is_a_complaint(error: BaseException, told: str) -> None:
    def ends(turn: Turn) -> Iterator[Output]:
        yield chat("Here.")
        raise error

    assert complaints(with_step(ends))[0].startswith(f"line 2 ('yes, TEA'): {told}")
