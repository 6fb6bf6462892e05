"""What befalls the services behind the servers, drawn at random from a seed: one trouble after the other."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.history import History

LOOK_S: Final = 0.05
#: From so many kills on, a run has a stall of this length: once for each so many.
LONG_STALL_KILLS: Final = 200
LONG_STALL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """`befall` returns when it is over, and leaves the service as it was. `name` is what it is counted under."""

    name: str
    weight: float
    befall: Callable[[random.Random], Awaitable[None]]


class Weather:
    """The troubles of one service, until the run is over; `pause_s` is the mean pause between two of them."""

    def __init__(self, history: History, rng: random.Random, troubles: Sequence[Trouble], *, pause_s: float) -> None:
        self._history = history
        self._rng = rng
        self._troubles = troubles
        self._pause_s = pause_s

    async def run(self, progress: Callable[[], float], planned: Sequence[tuple[float, Trouble]] = ()) -> None:
        """One trouble after the other until `progress` is 1; `planned` ones when it comes so far."""
        waiting = list(planned)
        while progress() < 1:
            if waiting and progress() >= waiting[0][0]:
                await self._befall(waiting.pop(0)[1])
                continue
            if not await self._pause(progress):
                return
            weights = [trouble.weight for trouble in self._troubles]
            [trouble] = self._rng.choices(self._troubles, weights)
            await self._befall(trouble)

    async def _pause(self, progress: Callable[[], float]) -> bool:
        """Wait for a while; False when the run is over before."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._rng.expovariate(1 / self._pause_s)
        while progress() < 1 and loop.time() < until_s:
            await asyncio.sleep(LOOK_S)
        return progress() < 1

    async def _befall(self, trouble: Trouble) -> None:
        self._history.note_process("trouble", what=trouble.name)
        try:
            await trouble.befall(self._rng)
        finally:
            self._history.note_process("relief", what=trouble.name)


def stall_s(rng: random.Random, longest_s: float) -> float:
    """How long a stall lasts: from 1 s to the longest, mostly short."""
    return float(longest_s ** (rng.random() ** 2.5))
