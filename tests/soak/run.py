"""One soak: servers, clients and a nemesis over one store; then a quiet end, a last kill, the final read, the judge."""

import asyncio
import contextlib
import random
import sys
import time
from pathlib import Path
from typing import Final

from tests.soak.checker import Verdict, judge, report
from tests.soak.conversation import Conversation
from tests.soak.fleet import Fleet
from tests.soak.history import History, Recorded
from tests.soak.nemesis import Nemesis
from tests.soak.options import Options
from tests.soak.server_log import complaints
from tests.soak.tab import Frame, Identity, Tab, Where
from tests.soak.talk import Talk, random_habits
from tests.soak.view import FINAL

ROOT: Final = Path(__file__).parents[2]
#: After the nemesis: how long conversations may take to settle, and a final read to find every line answered.
SETTLE_S: Final = 20.0
FINAL_S: Final = 10.0
#: Final reads at a time.
READERS: Final = 8
PROGRESS_S: Final = 10.0
MEAN_THINK_S: Final = 0.05


class Soak:
    """A run: where its files are, and what takes part in it."""

    def __init__(self, options: Options, folder: Path, root: Path) -> None:
        self._options = options
        self._rng = random.Random(options.seed)
        self._stop = asyncio.Event()
        self._sessions: list[Conversation] = []
        self._acked = 0
        self.history = History(folder / "history.jsonl")
        store = options.store or f"sqlite:///{folder / 'soak.db'}"
        self.fleet = Fleet(folder, root, self.history, {"STORE_URL": store})

    async def run(self) -> None:
        """Everything up to the final read; the history is complete then."""
        began = time.monotonic()

        def is_over() -> bool:
            seconds = self._options.seconds
            late = seconds is not None and time.monotonic() - began >= seconds
            return late or self.fleet.kills >= self._options.kills

        talking = [
            asyncio.create_task(self._talk(random.Random(self._rng.random()))) for _ in range(self._options.clients)
        ]
        watching = asyncio.create_task(self._show_progress(began))
        try:
            await Nemesis(self.fleet, self._rng, self._options.life_s).run(is_over)
            self._stop.set()
            _, late = await asyncio.wait(talking, timeout=SETTLE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in talking:
                if not task.cancelled():
                    task.result()  # what went wrong in a client is not to be missed
            await self._read_all()
        finally:
            watching.cancel()
            for task in talking:
                task.cancel()
            await asyncio.gather(watching, *talking, return_exceptions=True)
            await self.fleet.close()
            self.history.close()

    async def _talk(self, rng: random.Random) -> None:
        """One conversation after the other, until the nemesis has had enough."""
        while not self._stop.is_set():
            native = rng.random() < 0.75
            conversation = Conversation(self.fleet, self.history, native=native, habits=random_habits(rng))
            self._sessions.append(conversation)
            lines = rng.randrange(min(3, self._options.lines), self._options.lines + 1)
            try:
                await conversation.run(Talk(rng, lines, self._stop, think_s=MEAN_THINK_S))
            finally:
                self._acked += len(conversation.heard.seqs)

    async def _read_all(self) -> None:
        """The final log of every session, read by a fresh client of a fresh process: nothing is left in any memory."""
        if self.fleet.current is not None:
            await self.fleet.kill(self.fleet.current)
        await self.fleet.ready(await self.fleet.start())
        gate = asyncio.Semaphore(READERS)

        async def read(conversation: Conversation) -> None:
            async with gate:
                await read_final(self.fleet, self.history, conversation.session_id, conversation.user_id)

        await asyncio.gather(*(read(conversation) for conversation in self._sessions))

    async def _show_progress(self, began: float) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            acked = self._acked + sum(len(one.heard.seqs) for one in self._sessions if not one.done)
            seconds = time.monotonic() - began
            sys.stderr.write(f"{seconds:6.0f} s  {self.fleet.kills} kills, {acked:,} acknowledged\n")


class FinalReader:
    """Hears a session from its beginning until every line in it has its answer."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.is_live = False
        self.moved = asyncio.Event()

    async def opened(self, tab: Tab) -> None:
        """There is nothing to send."""

    async def received(self, tab: Tab, frame: Frame) -> None:
        """Note lines and answers."""
        if "seq" in frame and frame["role"] == "user":
            self.waiting.add(frame["seq"])
        elif frame["type"] == "state_update":
            self.waiting.discard(frame["payload"]["turn"])
        self.is_live = self.is_live or frame["type"] == "live"
        self.moved.set()


async def read_final(where: Where, history: History, session_id: str, user_id: str) -> None:
    """Read a session to its head, and wait for what is still to be answered."""
    reader = FinalReader()
    tab = Tab(Identity(session_id, user_id, FINAL), where, history, reader)
    connected = asyncio.create_task(tab.connect({}))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINAL_S):
            while not reader.is_live or reader.waiting:
                reader.moved.clear()
                if connected.done():
                    connected = asyncio.create_task(tab.connect({}))
                moved = asyncio.create_task(reader.moved.wait())
                try:
                    await asyncio.wait([connected, moved], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    moved.cancel()
    await tab.leave()
    await asyncio.wait([connected], timeout=2)
    connected.cancel()
    await asyncio.gather(connected, return_exceptions=True)


async def soak(options: Options, folder: Path, root: Path = ROOT) -> tuple[Verdict, str]:
    """Run and judge: the verdict, and the report if anything is wrong."""
    run = Soak(options, folder, root)
    await run.run()
    recorded = Recorded(run.history.path)
    verdict = judge(recorded)
    verdict.violations += complaints(run.fleet.log_path)
    return verdict, report(recorded, verdict)
