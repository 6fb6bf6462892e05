"""A workflow with a tool, which does what a tool may do well or badly, as the line asks it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from msgspec import Struct

from server.workflows.table import STAY, Output, State, Turn, Workflow, chat
from server.workflows.tools import ToolContext, ToolFailed, ToolLimits, ToolSpec


class Place(Struct):
    """What the weather is asked for. `how` is what the tool shall do."""

    how: str
    city: str = "Oslo"


class Forecast(Struct):
    city: str
    degrees: int


class Weather:
    """Answers, fails, raises, hangs, floods. `story` is what happened to all of them, for tests in the same process."""

    story: ClassVar[list[str]] = []

    def __init__(self, context: ToolContext) -> None:
        self.context = context

    async def call(self, given: Place, /) -> Any:
        self.story.append(f"call {given.how}")
        match given.how:
            case "fail":
                return ToolFailed("failed", "There is no such city.")
            case "raise":
                raise RuntimeError("the secret reason")
            case "exit":
                raise SystemExit(3)
            case "cancelled":
                raise asyncio.CancelledError
            case "flood":
                return {"city": "x" * 2_000_000, "degrees": 1}
            case "odd":
                return {"city": given.city}
            case "strange":
                return object()
            case "hang":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.story.append("stopped")
            case "deaf":
                await _deaf(self.story)
            case "slow":
                await asyncio.sleep(0.2)
        return Forecast(given.city, 12)


async def _deaf(story: list[str]) -> None:
    """Ignores that it is cancelled, for a while that is longer than everybody's patience in the tests."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.5
    while (left := end - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            story.append("deaf")


@asynccontextmanager
async def open_weather(context: ToolContext) -> AsyncIterator[Weather]:
    Weather.story.append("open")
    try:
        yield Weather(context)
    finally:
        Weather.story.append("close")


@asynccontextmanager
async def open_late(context: ToolContext) -> AsyncIterator[Weather]:
    """Its closing hangs."""
    try:
        yield Weather(context)
    finally:
        try:
            await asyncio.Event().wait()
        finally:
            Weather.story.append("closed late")


@asynccontextmanager
async def open_never(context: ToolContext) -> AsyncIterator[Weather]:
    """It cannot be opened."""
    Weather.story.append("no")
    raise OSError("the secret reason")
    yield Weather(context)


@asynccontextmanager
async def open_hanging(context: ToolContext) -> AsyncIterator[Weather]:
    """Its opening hangs."""
    try:
        await asyncio.Event().wait()
    finally:
        Weather.story.append("not opened")
    yield Weather(context)


def greet(turn: Turn) -> Iterator[Output]:
    yield chat("Which weather?")


async def answer(turn: Turn) -> AsyncIterator[Output]:
    """`weather slow` calls the tool and says what came; several pairs of words are calls one after the other.

    `both weather a late b` calls two tools at once; `ask nothing` calls none; `dict weather …` gives it a wrong input.
    """
    words = turn.line.text.split()
    match words:
        case ["ask", "nothing"]:
            yield chat("nothing asked")
        case ["time"]:
            yield chat(f"{turn.line.at_ms} {turn.now_ms} {turn.now.isoformat()}")
        case ["both", *rest]:
            calls = [(name, Place(how)) for name, how in zip(rest[::2], rest[1::2], strict=True)]
            yield chat(" | ".join(_told(found) for found in await turn.tools.call_all(*calls)))
        case ["dict", name]:
            yield chat(_told(await turn.tools.call(name, {"how": 5})))
        case ["object", name]:
            yield chat(_told(await turn.tools.call(name, object())))
        case ["long", name, count]:
            yield chat(_told(await turn.tools.call(name, Place("x", "y" * int(count)))))
        case _:
            found = [await turn.tools.call(name, Place(how)) for name, how in zip(words[::2], words[1::2], strict=True)]
            yield chat(" | ".join(_told(one) for one in found))


def _told(found: Any) -> str:
    return f"{found.code}: {found.words}" if isinstance(found, ToolFailed) else f"{found.degrees} in {found.city}"


def classify(turn: Turn, allowed: Sequence[str]) -> str:
    return "Say"


def _spec(name: str, opening: Any, **limits: int) -> ToolSpec:
    return ToolSpec(name, opening, "The weather of a city.", takes=Place, gives=Forecast, limits=ToolLimits(**limits))


WEATHER = Workflow(
    "weather",
    start="ASKING",
    states=[State("ASKING", greet, final=True)],
    always={"Say": STAY},
    fallback="Say",
    classify=classify,
    answer=answer,
    tools=[
        _spec("weather", open_weather),
        _spec("brief", open_weather, timeout_ms=50),
        _spec("small", open_weather, input_max_bytes=40, output_max_bytes=20),
        _spec("late", open_late, timeout_ms=50),
        _spec("never", open_never),
        _spec("hanging", open_hanging, timeout_ms=50),
    ],
)
