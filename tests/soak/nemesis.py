"""What befalls the server processes, drawn at random from a seed.

Kills (also during the start-up), stops, drains, armed fault points, and deploys that overlap: an old process that
stands still, and wakes beside its successor on the same store.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tests.faults.points import ACTIONS, Fault
from tests.soak.fleet import Fleet, Server

#: The share of processes that start with an armed fault.
ARMED: Final = 0.3
#: How late in the life of a process a fault can come, in passes of its point.
PASSES: Final = {"step": 20, "replay": 6, "recovery": 3, "drain": 3}


class Nemesis:
    """Ends one process after the other until enough were killed or the time is over."""

    def __init__(self, fleet: Fleet, rng: random.Random, life_s: tuple[float, float]) -> None:
        self._fleet = fleet
        self._rng = rng
        self._life_s = life_s

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Start processes and end them. The last one is left running."""
        while not is_over():
            server = await self._start()
            if not await self._fleet.ready(server):
                continue  # an armed fault ended it
            if await self._fleet.ended(server, self._rng.uniform(*self._life_s)):
                continue
            [end] = self._rng.choices([end for _, end in ENDS], [weight for weight, _ in ENDS])
            await end(self, server)
        if self._fleet.current is None or not self._fleet.current.is_up:
            await self._fleet.ready(await self._fleet.start())

    async def _start(self) -> Server:
        faults = str(random_fault(self._rng)) if self._rng.random() < ARMED else ""
        if self._fleet.current is not None and self._fleet.current.is_up:
            return self._fleet.current
        return await self._fleet.start(
            faults,
            REPLAY_PAGE_LIMIT=str(self._rng.choice((3, 20, 500))),
            SESSION_IDLE_MS=str(self._rng.choice((200, 60_000))),
            BATCH_LIMIT=str(self._rng.choice((1, 8, 128))),
        )

    # ------------------------------------------------------------ ends

    async def _kill(self, server: Server) -> None:
        await self._fleet.kill(server)

    async def _kill_again(self, server: Server) -> None:
        """Kill it, and its successor while that recovers."""
        await self._fleet.kill(server)
        successor = await self._fleet.start()
        if not await self._fleet.ended(successor, self._rng.uniform(0, 0.8)):
            await self._fleet.kill(successor)

    async def _stop(self, server: Server) -> None:
        """Let it stand still for a while, and live on."""
        self._fleet.stop(server)
        await asyncio.sleep(self._rng.uniform(0.05, 1.6))
        self._fleet.go_on(server)

    async def _terminate(self, server: Server) -> None:
        """A deploy: drain and end, or be killed in the middle of the drain."""
        if self._rng.random() < 0.7:
            await self._fleet.terminate(server)
        elif not await self._fleet.terminate(server, self._rng.uniform(0, 0.3)):
            await self._fleet.kill(server)

    async def _overlap(self, server: Server) -> None:
        """Stop it, start a successor beside it, wake it: what it still believes is old, and it must not write it."""
        self._fleet.stop(server)
        successor = await self._fleet.start()
        await self._fleet.ready(successor)
        await asyncio.sleep(self._rng.uniform(0.1, 1.6))
        self._fleet.go_on(server)
        await asyncio.sleep(self._rng.uniform(0.2, 1.0))
        if self._rng.random() < 0.5:
            await self._fleet.terminate(server)
        else:
            await self._fleet.kill(server)


End = Callable[[Nemesis, Server], Awaitable[None]]
ENDS: Final[Sequence[tuple[float, End]]] = (
    (66, Nemesis._kill),
    (10, Nemesis._kill_again),
    (8, Nemesis._stop),
    (8, Nemesis._terminate),
    (8, Nemesis._overlap),
)


def random_fault(rng: random.Random) -> Fault:
    """Any point, anything that can happen there, early or late, once or a few times on end."""
    point = rng.choice(sorted(ACTIONS))
    action = rng.choice(ACTIONS[point])
    first = rng.randrange(1, PASSES.get(point, 30) + 1)
    return Fault(point, action, rng.randrange(20, 900), first, 1 if action == "kill" else rng.choice((1, 1, 2, 3)))
