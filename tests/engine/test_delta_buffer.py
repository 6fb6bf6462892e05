"""Pieces of a streamed answer are rolled up, and none is lost, doubled or overtaken."""

import asyncio

from server.engine.delta_buffer import DeltaBuffer
from server.machines.inputs import Input, Shown, Streamed
from server.workflows.table import Progress

LONG_MS = 60_000
SHOWN = Shown(1, Progress("…"))


class Rolled:
    """A roll-up, and what came out of it."""

    def __init__(self, wait_ms: int = LONG_MS, max_chars: int = 100) -> None:
        self.out: list[str | Input] = []
        self.roll_up = DeltaBuffer(self._deliver, wait_ms=wait_ms, max_chars=max_chars)

    def says(self, *outputs: str | Input) -> None:
        for output in outputs:
            self.roll_up.take(Streamed(1, output, "m") if isinstance(output, str) else output)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.out) < count:
                await asyncio.sleep(0.001)  # polling a timer of the loop

    def _deliver(self, output: Input) -> None:
        self.out.append(output.text if isinstance(output, Streamed) else output)


async def test_the_first_piece_goes_at_once_and_the_others_together() -> None:
    rolled = Rolled()
    rolled.says("a", "b", "c", "d")
    assert rolled.out == ["a"]
    rolled.says(SHOWN)
    assert rolled.out == ["a", "bcd", SHOWN]


async def test_a_long_piece_goes_at_once() -> None:
    rolled = Rolled(max_chars=4)
    rolled.says("a", "bb", "cc", "dd", "e", SHOWN)
    assert rolled.out == ["a", "bbcc", "dde", SHOWN]


async def test_what_is_shown_goes_behind_the_text_before_it() -> None:
    rolled = Rolled()
    rolled.says("a", "b", "c", SHOWN, "d", SHOWN)
    assert rolled.out == ["a", "bc", SHOWN, "d", SHOWN]


async def test_without_text_nothing_is_held() -> None:
    rolled = Rolled()
    rolled.says(SHOWN, SHOWN)
    assert rolled.out == [SHOWN, SHOWN]


async def test_a_pause_lets_go_of_what_is_held() -> None:
    rolled = Rolled(wait_ms=5)
    rolled.says("a", "b")
    await rolled.until(2)
    rolled.says("c", SHOWN)
    assert "".join(output for output in rolled.out if isinstance(output, str)) == "abc"
    assert rolled.out[-1] == SHOWN


async def test_nothing_comes_behind_the_close() -> None:
    rolled, later = Rolled(wait_ms=1), Rolled(wait_ms=1)
    rolled.says("a", "b")
    rolled.roll_up.close()
    later.says("a", "b")
    await later.until(2)  # its timer was set after the one that was left
    assert rolled.out == ["a"]
