"""Pieces of a streamed answer are rolled up, and none is lost, doubled or overtaken."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from server.rollup import roll_up
from server.signals import Input, Shown, Streamed
from server.workflow import Progress

LONG_MS = 60_000
SHOWN = Shown(1, Progress("…"))


class Step:
    """A step that says what the test puts in; `ended` tells that it was closed."""

    def __init__(self) -> None:
        self.outputs: asyncio.Queue[Input | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def run(self) -> AsyncGenerator[Input, None]:
        try:
            while (output := await self.outputs.get()) is not None:
                yield output
        finally:
            self.ended.set()

    def says(self, *outputs: str | Input) -> None:
        for output in outputs:
            self.outputs.put_nowait(Streamed(1, output, "m") if isinstance(output, str) else output)

    def ends(self) -> None:
        self.outputs.put_nowait(None)


def brief(output: Input) -> str | Input:
    return output.text if isinstance(output, Streamed) else output


async def everything(step: Step, wait_ms: int, max_chars: int) -> list[str | Input]:
    step.ends()
    return [brief(output) async for output in roll_up(step.run(), wait_ms=wait_ms, max_chars=max_chars)]


async def test_the_first_piece_goes_at_once_and_the_others_together() -> None:
    step = Step()
    step.says("a", "b", "c", "d")
    assert await everything(step, LONG_MS, 100) == ["a", "bcd"]


async def test_a_long_piece_goes_at_once() -> None:
    step = Step()
    step.says("a", "bb", "cc", "dd", "e")
    assert await everything(step, LONG_MS, 4) == ["a", "bbcc", "dde"]


async def test_what_is_shown_goes_behind_the_text_before_it() -> None:
    step = Step()
    step.says("a", "b", "c", SHOWN, "d", SHOWN)
    assert await everything(step, LONG_MS, 100) == ["a", "bc", SHOWN, "d", SHOWN]


async def test_without_text_nothing_is_held() -> None:
    step = Step()
    step.says(SHOWN, SHOWN)
    assert await everything(step, LONG_MS, 100) == [SHOWN, SHOWN]
    assert await everything(Step(), LONG_MS, 100) == []


async def test_a_pause_lets_go_of_what_is_held() -> None:
    step = Step()
    step.says("a", "b")
    rolled = roll_up(step.run(), wait_ms=5, max_chars=100)
    async with asyncio.timeout(10):
        assert [brief(await anext(rolled)) for _ in range(2)] == ["a", "b"]
        step.says("c", "d", SHOWN)
        step.ends()
        assert "".join(str(brief(output)) for output in [o async for o in rolled] if output != SHOWN) == "cd"


@pytest.mark.parametrize("held", [("a",), ("a", "b")], ids=["nothing held", "text held"])
async def test_cancelling_ends_the_step(held: tuple[str, ...]) -> None:
    step = Step()
    step.says(*held)
    seen: list[Input] = []

    async def consume() -> None:
        async for output in roll_up(step.run(), wait_ms=LONG_MS, max_chars=100):
            seen.append(output)

    task = asyncio.create_task(consume())
    async with asyncio.timeout(10):
        while not seen or not step.outputs.empty():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await step.ended.wait()
