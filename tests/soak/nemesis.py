"""What befalls the server processes of one place, drawn at random from a seed.

Kills (also during the start-up), stops, drains, armed fault points, and deploys that overlap: an old process that
stands still, and wakes beside its successor on the same store. Each place has a nemesis of its own, at its own pace.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tests.faults.points import ACTIONS, Fault
from tests.soak.fleet import Fleet, Place, Server

#: The share of processes that start with an armed fault.
ARMED: Final = 0.3
#: How late in the life of a process a fault can come, in passes of its point.
PASSES: Final = {"step": 20, "replay": 6, "recovery": 3, "drain": 3}
#: The wait before a process is started again that could not start.
AGAIN_S: Final = 0.3


class Nemesis:
    """Ends one process of a place after the other until enough were killed or the time is over."""

    def __init__(self, fleet: Fleet, place: Place, rng: random.Random, life_s: tuple[float, float]) -> None:
        self._fleet = fleet
        self._place = place
        self._rng = rng
        self._life_s = life_s

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Start processes and end them."""
        while not is_over():
            server = await self._start()
            if not await self._fleet.ready(server):
                await asyncio.sleep(AGAIN_S)  # an armed fault ended it, or its store was away
                continue
            if await self._fleet.ended(server, self._rng.uniform(*self._life_s)):
                continue
            [end] = self._rng.choices([end for _, end in ENDS], [weight for weight, _ in ENDS])
            await end(self, server)

    async def settle(self) -> None:
        """Leave a process running that nothing will befall."""
        current = self._place.current
        if current is not None and current.is_up and current.faults:
            await self._fleet.kill(current)
        while True:
            current = self._place.current
            if current is None or not current.is_up:
                current = await self._fleet.start(self._place)
            if await self._fleet.ready(current):
                return

    async def _start(self) -> Server:
        if self._place.current is not None and self._place.current.is_up:
            return self._place.current
        return await self._fleet.start(
            self._place,
            str(random_fault(self._rng)) if self._rng.random() < ARMED else "",
            REPLAY_PAGE_LIMIT=str(self._rng.choice((3, 20, 500))),
            SESSION_IDLE_MS=str(self._rng.choice((200, 60_000))),
            BATCH_LIMIT=str(self._rng.choice((1, 8, 128))),
            STORE_CONNECTIONS=str(self._rng.choice((1, 8))),
            SUPABASE_CALLS=str(self._rng.choice((2, 4))),
            HINT_MAX_BYTES=str(self._rng.choice((64, 8192))),
            BROKER_QUEUE_LIMIT=str(self._rng.choice((1, 10_000))),
        )

    # ------------------------------------------------------------ ends

    async def _kill(self, server: Server) -> None:
        await self._fleet.kill(server)

    async def _kill_again(self, server: Server) -> None:
        """Kill it, and its successor while that recovers."""
        await self._fleet.kill(server)
        successor = await self._fleet.start(self._place)
        if not await self._fleet.ended(successor, self._rng.uniform(0, 0.8)):
            await self._fleet.kill(successor)

    async def _stop(self, server: Server) -> None:
        """Let it stand still for a while, and live on: its turns may be taken over meanwhile."""
        self._fleet.stop(server)
        await asyncio.sleep(self._rng.uniform(0.05, 1.6))
        self._fleet.go_on(server)

    async def _terminate(self, server: Server) -> None:
        """A deploy: drain and end, or be killed in the middle of the drain."""
        if self._rng.random() < 0.7:
            await self._fleet.terminate(server)
            return
        self._fleet.ask_to_end(server)
        if not await self._fleet.ended(server, self._rng.uniform(0, 0.3)):
            await self._fleet.kill(server)

    async def _overlap(self, server: Server) -> None:
        """Stop it, start a successor beside it, wake it: what it still believes is old, and it must not write it."""
        self._fleet.stop(server)
        successor = await self._fleet.start(self._place)
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
