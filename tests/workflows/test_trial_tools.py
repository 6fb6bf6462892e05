"""The tools of a workflow whose lines `check_workflow` plays: called, bounded, closed, and what it complains of."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from server.engine.turn_tools import bounds_of
from server.settings import Settings
from server.workflows import trial_tools
from server.workflows.check import Checked, check_workflow
from server.workflows.table import Output, Remember, State, Turn, Workflow, chat
from server.workflows.tools import OpenTool, Tool, ToolContext, ToolFailed, ToolLimits, ToolSpec

Call = Callable[[Any], Awaitable[Any]]
Speak = Callable[[Turn], Awaitable[Any]]
AT: Final = "line 1 ('go'): "


class Probe:
    """A tool that answers with `answer`, and notes what becomes of it."""

    def __init__(self, answer: Call) -> None:
        self.events: list[Any] = []
        self._answer = answer

    async def call(self, given: Any, /) -> Any:
        self.events.append(("call", given))
        return await self._answer(given)

    @asynccontextmanager
    async def open(self, context: ToolContext) -> AsyncIterator[Tool]:
        self.events.append(("open", context.turn))
        try:
            yield self
        finally:
            self.events.append("close")


async def echo(given: Any) -> Any:
    return given


def play(tool: ToolSpec, speak: Speak, *, lines: int = 1, step_ms: int = 5_000) -> Checked:
    """A workflow of one state that waits, and whose step remembers what `speak` gives."""

    async def say(turn: Turn) -> AsyncIterator[Output]:
        if turn.line.text:
            found = await speak(turn)
            yield Remember({"found": found.code if isinstance(found, ToolFailed) else found})
        yield chat("Here.")

    workflow = Workflow("trial", start="ONLY", states=[State("ONLY", say, on={"Go": "ONLY"}, final=True)], tools=[tool])
    return check_workflow(workflow, ["go"] * lines, step_ms=step_ms)


def spec(open_tool: OpenTool, **more: Any) -> ToolSpec:
    return ToolSpec("probe", open_tool, **more)


async def once(turn: Turn) -> Any:
    return await turn.tools.call("probe", {"a": (1, 2)})


def test_a_tool_is_opened_once_a_turn_and_closed_at_its_end() -> None:
    async def twice(turn: Turn) -> Any:
        return [await once(turn), await once(turn)]

    probe = Probe(echo)
    checked = play(spec(probe.open), twice, lines=2)
    assert checked.complaints == []
    assert checked.moves[-1].memory == {"found": [{"a": [1, 2]}] * 2}  # as JSON keeps it
    called = ("call", {"a": [1, 2]})
    assert probe.events == [("open", 1), called, called, "close", ("open", 2), called, called, "close"]


def test_several_are_called_at_once() -> None:
    meet = asyncio.Barrier(2)

    async def wait(given: Any) -> Any:
        await meet.wait()
        return given

    async def both(turn: Turn) -> Any:
        return list(await turn.tools.call_all(("probe", 1), ("probe", 2)))

    assert play(spec(Probe(wait).open), both).moves[-1].memory == {"found": [1, 2]}


async def breaks(given: Any) -> Any:
    raise ValueError("no beans")


async def exits(given: Any) -> Any:
    raise SystemExit(3)


async def no_json(given: Any) -> Any:
    return object()


async def is_sorry(given: Any) -> Any:
    return ToolFailed("failed", "Sold out.")


async def gives_up(given: Any) -> Any:
    raise asyncio.CancelledError


async def hangs(given: Any) -> Any:
    await asyncio.Event().wait()


async def large(given: Any) -> Any:
    return "x" * 300


async def is_sorry_at_length(given: Any) -> Any:
    return ToolFailed("failed", "w" * 300)


async def is_sorry_oddly(given: Any) -> Any:
    return ToolFailed("weird", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "more", "code", "complaint"),
    [
        (breaks, {}, "failed", "tool probe: ValueError: no beans (test_trial_tools.py, line "),
        (exits, {}, "failed", "tool probe: SystemExit: 3 (test_trial_tools.py, line "),
        (no_json, {}, "failed", "tool probe: TypeError: Encoding objects of type object is unsupported"),
        (echo, {"gives": int}, "failed", "tool probe: ValidationError: Expected `int`, got `object`"),
        (gives_up, {}, "failed", "tool probe: it cancelled its own call"),
        (echo, {"takes": int}, "refused", "tool probe: it does not take such an input: Expected `int`, got `object`"),
        (hangs, {"limits": ToolLimits(timeout_ms=30)}, "timeout", "tool probe: it took longer than 30 ms"),
        (
            echo,
            {"limits": ToolLimits(input_max_bytes=3)},
            "too_large",
            "tool probe: its input has more than 3 bytes",
        ),
        (is_sorry_oddly, {}, "failed", "tool probe: TypeError: a ToolFailed has a FailureCode and a str"),
        (
            is_sorry_at_length,
            {"limits": ToolLimits(output_max_bytes=299)},
            "too_large",
            "tool probe: its answer has more than 299 bytes",
        ),
        (
            large,
            {"limits": ToolLimits(output_max_bytes=299)},
            "too_large",
            "tool probe: its answer has more than 299 bytes",
        ),
    ],
)
def test_what_is_wrong_with_a_call_is_said(answer: Call, more: dict[str, Any], code: str, complaint: str) -> None:
    probe = Probe(answer)
    checked = play(spec(probe.open, **more), once)
    assert checked.moves[-1].memory == {"found": code}
    [told] = checked.complaints
    assert told.startswith(AT + complaint)
    assert probe.events == [] or probe.events[-1] == "close"


def test_a_failure_that_the_tool_tells_is_no_fault() -> None:
    checked = play(spec(Probe(is_sorry).open), once)
    assert checked.complaints == []
    assert checked.moves[-1].memory == {"found": "failed"}


def test_calls_have_a_bound() -> None:
    async def often(turn: Turn) -> Any:
        return [isinstance(await turn.tools.call("probe"), ToolFailed) for _ in range(trial_tools.BOUNDS.calls_max + 1)]

    checked = play(spec(Probe(is_none).open), often)
    assert checked.moves[-1].memory == {"found": [*[False] * trial_tools.BOUNDS.calls_max, True]}
    assert checked.complaints == [f"{AT}tool probe: a turn makes at most 20 calls"]


async def is_none(given: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("speak", "complaint"),
    [
        (lambda turn: turn.tools.call("prob"), "there is no tool 'prob'; this step can call: probe"),
        (lambda turn: turn.tools.call("probe", object()), "the input of tool 'probe' is not JSON: "),
        (lambda turn: turn.tools.call_all(("probe", 1), ("prob", 2)), "there is no tool 'prob'; this step can call: "),
    ],
)
def test_a_mistake_of_the_step_fails_the_turn(speak: Speak, complaint: str) -> None:
    checked = play(spec(Probe(echo).open), speak)
    assert len(checked.moves) == 1
    assert checked.complaints[0].startswith(AT + complaint)


def test_a_call_after_the_end_of_its_turn() -> None:
    kept: list[Turn] = []

    async def late(turn: Turn) -> Any:
        kept.append(turn)
        return await once(kept[0])

    checked = play(spec(Probe(echo).open), late, lines=2)
    assert checked.complaints == [f"{AT.replace('1', '2')}tool 'probe' was called after the turn's end"]


def test_a_tool_that_cannot_be_opened_is_tried_again() -> None:
    probe, tries = Probe(echo), iter([True, False])

    @asynccontextmanager
    async def open_tool(context: ToolContext) -> AsyncIterator[Tool]:
        if next(tries):
            raise OSError("no power")
        yield probe

    async def twice(turn: Turn) -> Any:
        return [(await once(turn)).code, await once(turn)]

    checked = play(spec(open_tool), twice)
    assert checked.moves[-1].memory == {"found": ["failed", {"a": [1, 2]}]}
    assert [told.split(" (")[1] for told in checked.complaints] == ["'go'): tool probe: OSError: no power"]


def test_a_tool_that_does_not_close_is_cancelled_and_has_ended_before_the_next_turn() -> None:
    events: list[Any] = []

    @asynccontextmanager
    async def open_tool(context: ToolContext) -> AsyncIterator[Tool]:
        events.append(("open", context.turn))
        yield Probe(echo)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            events.append("ended")

    checked = play(spec(open_tool, limits=ToolLimits(timeout_ms=30)), once, lines=2)
    assert checked.moves[-1].memory == {"found": {"a": [1, 2]}}
    assert events == [("open", 1), "ended", ("open", 2), "ended"]
    assert checked.complaints == [f"{at}tool probe did not end with its turn" for at in (AT, AT.replace("1", "2"))]


def test_a_call_that_ignores_its_cancellation_holds_nothing_up() -> None:
    async def ignores(given: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    began = time.monotonic()
    checked = play(spec(Probe(ignores).open, limits=ToolLimits(timeout_ms=30)), once)
    assert checked.moves[-1].memory == {"found": "timeout"}
    assert checked.complaints == [
        f"{AT}tool probe: it took longer than 30 ms",
        f"{AT}call probe did not end with its turn",
    ]
    assert time.monotonic() - began < 5


def test_a_step_that_is_stopped_leaves_no_tool_open() -> None:
    probe, began = Probe(hangs), time.monotonic()
    checked = play(spec(probe.open), once, step_ms=50)
    assert checked.complaints == [f"{AT}the step did not end within 50 ms (`step_ms`)"]
    assert probe.events[-1] == "close"
    assert time.monotonic() - began < 5


def test_the_bounds_are_the_defaults_of_the_settings() -> None:
    assert bounds_of(Settings()) == trial_tools.BOUNDS
