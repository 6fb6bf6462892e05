"""Whatever befalls the server at a fault point: a client that sends its outbox again ends with every line answered
once, in order, with true acks. The soak's judge says so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from server.store.sqlite.store import SqliteStore
from tests.faults.points import ACTIONS, Fault, read_faults
from tests.soak.calm import read_final, read_stored
from tests.soak.checker import judge, report
from tests.soak.conversation import Conversation, Habits, line
from tests.soak.fleet import Fleet
from tests.soak.history import History, Recorded
from tests.soak.run import ROOT

TEST_S: Final = 40.0
#: Enough lines that every point is passed several times, a slow one among them.
LINES: Final = ("one", "two", "sleep 0.1", "stream 0.01 a b c", "three", "four", "boom", "five", "six")
#: At which pass a fault comes, where the third will not do.
AT: Final = {"replay": (2,), "recovery": (1, 2), "drain": (1, 2, 3)}
CASES: Final = [
    Fault(point, action, first=first, times=1 if action in ("kill", "stall") else 3)
    for point, actions in ACTIONS.items()
    for action in actions
    for first in AT.get(point, (3,))
]


class Run:
    """One conversation with one server, that is started again whenever it ends."""

    def __init__(self, folder: Path) -> None:
        self.history = History(folder / "history.jsonl")
        self.path = folder / "log.db"
        self.fleet = Fleet(folder, ROOT, self.history, {"STORE_URL": f"sqlite:///{self.path}"})
        self.place = self.fleet.places[0]
        self.conversation = Conversation(self.fleet, self.history, habits=Habits(cursor=lambda _: {}))

    async def start(self, faults: str) -> None:
        await self.fleet.start(self.place, faults, REPLAY_PAGE_LIMIT="3")

    async def keep_up(self) -> None:
        """Start it again, without faults, when it ends."""
        while True:
            assert self.place.current is not None
            await self.place.current.process.wait()
            await self.start("")

    def has_met(self, fault: Fault) -> bool:
        return f"fault {fault} pass {fault.first}" in self.fleet.log_path.read_text()

    async def talk(self, conversation: Conversation) -> AsyncIterator[None]:
        """Say everything, a few lines at a time, with a reconnect that replays the log in pages."""
        for number, text in enumerate(LINES):
            await conversation.send(f"id-{number}", line(f"id-{number}", text))
            if number == len(LINES) // 2:
                conversation.main.drop()
            yield

    async def finish(self) -> None:
        conversation = self.conversation
        await read_final(self.fleet, self.history, conversation.session_id, conversation.user_id)
        store = SqliteStore(str(self.path))
        await store.open()
        await read_stored(store, self.history, conversation.session_id, conversation.user_id)
        await store.close()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    begun = Run(tmp_path)
    yield begun
    await begun.fleet.close()
    begun.history.close()


@pytest.mark.parametrize("fault", CASES, ids=str)
async def test_a_fault_loses_nothing(run: Run, fault: Fault) -> None:
    async with asyncio.timeout(TEST_S):
        if fault.point == "recovery":
            await leave_a_line(run)
        await run.start(str(fault))
        keeping = asyncio.create_task(run.keep_up())
        if fault.point == "recovery":
            while not run.has_met(fault):
                await asyncio.sleep(0.02)
        ending = asyncio.create_task(end_in_the_middle(run)) if fault.point == "drain" else None
        await run.conversation.run(run.talk)
        if ending is not None:
            await ending
        await run.finish()
        keeping.cancel()
    run.history.flush()
    assert run.has_met(fault)
    recorded = Recorded(run.history.path)
    verdict = judge(recorded)
    assert verdict.violations == [], report(recorded, verdict)
    assert set(run.conversation.heard.seqs) >= {f"id-{number}" for number in range(len(LINES))}
    assert verdict.figures()["kills"] == (fault.action == "kill") + (fault.point == "recovery")


async def leave_a_line(run: Run) -> None:
    """A line is acknowledged and its process killed while it thinks; nobody is there when the next one starts."""
    session_id = run.conversation.session_id
    conversation = Conversation(run.fleet, run.history, session_id=session_id, name="first")

    async def talk(conversation: Conversation) -> AsyncIterator[None]:
        await conversation.send("slow", line("slow", "sleep 0.5"))
        await conversation.until(lambda: "slow" in conversation.heard.seqs and bool(conversation.heard.lines))
        yield

    server = await run.fleet.start(run.place)
    talking = asyncio.create_task(conversation.run(talk))
    await conversation.until(lambda: bool(conversation.heard.lines))
    await run.fleet.kill(server)
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)


async def end_in_the_middle(run: Run) -> None:
    """SIGTERM while a slow answer is on its way."""
    conversation, server = run.conversation, run.place.current
    assert server is not None
    await conversation.until(lambda: "id-2" in conversation.heard.seqs)
    await run.fleet.terminate(server)


@pytest.mark.parametrize("text", ["turn:after", "turn:after=fail", "somewhere=kill", "step=stall:soon", "step=kill@-1"])
def test_what_is_not_in_the_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="FAULTS"):
        read_faults(text)


def test_the_language() -> None:
    assert read_faults("") == []
    assert read_faults("turn:after=cut@3*2, step=stall:40") == [
        Fault("turn:after", "cut", first=3, times=2),
        Fault("step", "stall", stall_ms=40),
    ]
    assert [read_faults(str(fault)) for fault in CASES] == [[fault] for fault in CASES]
