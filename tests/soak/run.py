"""One soak: servers, clients and their nemeses over one store; then a calm, a last kill, the final reads, the judge."""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.store.open import open_store
from tests.soak.between import Between, open_between
from tests.soak.calm import converge, read_all
from tests.soak.checker import Verdict, judge, report
from tests.soak.conversation import Calm, Conversation
from tests.soak.fleet import Fleet
from tests.soak.history import History, Recorded
from tests.soak.nemesis import Nemesis
from tests.soak.options import Options
from tests.soak.server_log import complaints
from tests.soak.stores import Backing, Run, open_backing
from tests.soak.talk import Talk, random_habits
from tests.soak.view import Processes
from tests.soak.weather import LONG_STALL_KILLS, Trouble, Weather

ROOT: Final = Path(__file__).parents[2]
PROGRESS_S: Final = 10.0
MEAN_THINK_S: Final = 0.05
#: Several processes share the cores, so each has a longer life: so many times as long for each of them.
LIFE: Final = 2


class Soak:
    """A run: where its files are, and what takes part in it."""

    def __init__(self, options: Options, folder: Path, root: Path, backing: Backing, between: Between) -> None:
        self._options = options
        self._began = time.monotonic()
        self._calm = Calm()
        self._sessions: list[Conversation] = []
        self._acked = 0
        self._backing = backing
        self._between = between
        self.history = History(folder / "history.jsonl")
        self.fleet = Fleet(
            folder,
            root,
            self.history,
            {**backing.environ, **between.environ},
            places=options.processes,
            as_workers=backing.is_file and options.processes > 1,
            rng=self._rng("clients"),
        )

    async def run(self) -> None:
        """Everything up to the final reads; the history is complete then."""
        talking = [asyncio.create_task(self._talk(self._rng(f"talk {n}"))) for n in range(self._options.clients)]
        watching = asyncio.create_task(self._show_progress())
        store = open_store(self._backing.settings)
        try:
            await self._storm()
            await store.open()  # not before the servers did: theirs is the schema
            await converge(self._calm, self._sessions[:], store, self.history)
            _, late = await asyncio.wait(talking, timeout=PROGRESS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in talking:
                if not task.cancelled():
                    task.result()  # what went wrong in a client is not to be missed
            await self._end_servers()
            await read_all(self._sessions, self.fleet.places[0], store, self.history)
        finally:
            watching.cancel()
            for task in talking:
                task.cancel()
            await asyncio.gather(watching, *talking, return_exceptions=True)
            await self.fleet.close()
            await store.close()
            self.history.close()

    async def _storm(self) -> None:
        """Whatever befalls processes, store and Redis, each at its own pace; then everything is well again."""
        scale = len(self.fleet.places) * LIFE if len(self.fleet.places) > 1 else 1
        life_s = (self._options.life_s[0] * scale, self._options.life_s[1] * scale)
        nemeses = [
            Nemesis(self.fleet, place, self._rng(f"place {number}"), life_s)
            for number, place in enumerate(self.fleet.places)
        ]
        storms = [nemesis.run(lambda: self._progress() >= 1) for nemesis in nemeses]
        if self._backing.troubles:
            storms.append(self._weather("store", self._backing.troubles).run(self._progress, self._planned()))
        if self._between.troubles:
            storms.append(self._weather("redis", self._between.troubles).run(self._progress))
        async with asyncio.TaskGroup() as group:
            for storm in storms:
                group.create_task(storm)
        for nemesis in nemeses:
            await nemesis.settle()

    def _weather(self, name: str, troubles: Sequence[Trouble]) -> Weather:
        return Weather(self.history, self._rng(name), troubles, pause_s=self._options.pause_s)

    def _planned(self) -> Sequence[tuple[float, Trouble]]:
        """The long stalls: one for so many kills, spread over the run."""
        count = self._options.kills // LONG_STALL_KILLS if self._backing.planned is not None else 0
        return [((n + 0.5) / count, self._backing.planned) for n in range(count) if self._backing.planned]

    def _progress(self) -> float:
        """How much of the run is over, up to 1 and more."""
        seconds = self._options.seconds
        by_time = (time.monotonic() - self._began) / seconds if seconds else 0.0
        return max(by_time, self.fleet.kills / self._options.kills)

    def _rng(self, name: str) -> random.Random:
        """Chances of their own for everything that goes at its own pace."""
        return random.Random(f"{self._options.seed} {name}")

    async def _talk(self, rng: random.Random) -> None:
        """One conversation after the other, until the nemesis has had enough."""
        while not self._calm.begun.is_set():
            native = rng.random() < 0.75
            conversation = Conversation(self.fleet, self.history, native=native, habits=random_habits(rng))
            self._sessions.append(conversation)
            lines = rng.randrange(min(3, self._options.lines), self._options.lines + 1)
            try:
                await conversation.run(Talk(rng, lines, self._calm.begun, think_s=MEAN_THINK_S), self._calm)
            finally:
                self._acked += len(conversation.heard.seqs)

    async def _end_servers(self) -> None:
        """Kill them all and start a fresh one: nothing is left in any memory."""
        for place in self.fleet.places:
            if place.current is not None:
                await self.fleet.kill(place.current)
        if not await self.fleet.ready(await self.fleet.start(self.fleet.places[0])):
            raise RuntimeError(f"the last server does not start: {self.fleet.log_path}")

    async def _show_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            acked = self._acked + sum(len(one.heard.seqs) for one in self._sessions if not one.done)
            seconds = time.monotonic() - self._began
            sys.stderr.write(f"{seconds:6.0f} s  {self.fleet.kills} kills, {acked:,} acknowledged\n")


async def soak(options: Options, folder: Path, root: Path = ROOT) -> tuple[Verdict, str]:
    """Run and judge: the verdict, and the report if anything is wrong."""
    began = time.monotonic()
    place = Run(folder, root, options.stall_s)
    async with open_backing(options.store, place) as backing, open_between(options.redis) as between:
        run = Soak(options, folder, root, backing, between)
        await run.run()
    recorded = Recorded(run.history.path)
    verdict = judge(recorded)
    verdict.violations += complaints(run.fleet.log_path, Processes(recorded.of("")).excused_starts)
    verdict.seconds = time.monotonic() - began
    return verdict, report(recorded, verdict)
