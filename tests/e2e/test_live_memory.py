"""Many live answers at once, with a tab of each that does not read: what the server keeps for it has a bound.

`LIVE_STREAMS=200` asks for more of them than every day.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import psutil  # type: ignore[import-untyped]
import pytest

from server.errors import CloseCode
from tests.e2e.conftest import Start
from tests.e2e.live import environment, talk
from tests.e2e.long_talk import is_summary
from tests.e2e.stalled import StalledTab
from tests.support.process import ServerProcess
from tests.support.wire import Frame
from tests.vendors import Call, Play, Vendors, say

STREAMS: Final = int(os.environ.get("LIVE_STREAMS", "40"))
ANSWER_CHARS: Final = 16_000
PIECE_CHARS: Final = 4_000
PER_S: Final = 40
TURNS: Final = 16
#: Turns before the count begins: what so many answers at once take by themselves.
WARM_UP: Final = 4
SOFT_BYTES: Final = 8_192
HARD_BYTES: Final = 32_768
#: A durable frame is the answer in its envelope.
FRAME_BYTES: Final = ANSWER_CHARS + 1_000
#: asyncio's and uvloop's transports take what is written until they hold so much.
TRANSPORT_BYTES: Final = 65_536
#: What may wait for a tab that takes nothing: its queue, and one frame that came to an empty one; behind it the
#: transport, and the frame that filled that.
TAB_BYTES: Final = HARD_BYTES + FRAME_BYTES + TRANSPORT_BYTES + FRAME_BYTES
#: Allocators keep what they have; and nothing of this hangs on the number of streams.
SLACK_BYTES: Final = 8 * 2**20
QUEUES: Final = {"SEND_QUEUE_SOFT_BYTES": str(SOFT_BYTES), "SEND_QUEUE_HARD_BYTES": str(HARD_BYTES)}
#: Whatever grows with the length of a conversation is not what is looked at here.
SHORT: Final = {"CHAT_CONTEXT_LIMIT": "1", "REPLAY_PAGE_LIMIT": "4"}
#: A tab that does not read does not answer a heartbeat either; here it may live.
PINGED_S: Final = 40  # uvicorn's own ping, which no setting of ours reaches
PATIENT: Final = {"HEARTBEAT_MS": "3600000", "HEARTBEAT_LOST_MS": "3700000"}


def answer(line: str) -> str:
    """What the vendor says to a line: to each something else."""
    return (f"{line} " * (ANSWER_CHARS // len(line)))[:ANSWER_CHARS]


def play(call: Call) -> Play:
    if is_summary(
        call
    ):  # one that were longer than an answer here would be none, and a vendor that says nothing is away
        return say("They talk.")
    text = answer(call.said[-1][1])
    return Play(tuple(text[at : at + PIECE_CHARS] for at in range(0, ANSWER_CHARS, PIECE_CHARS)), PER_S)


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    with Vendors(play) as vendors:
        yield vendors


class Pair:
    """A session with a tab that reads and, after `stall`, one that does not."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        self.number = number
        self.turns = 0
        self._port = server.port
        self._session_id = str(uuid.uuid4())
        self.reads = talk(server.port, self._session_id)
        self.stalls: StalledTab | None = None
        self.head = 0

    async def open(self) -> None:
        await self.reads.__aenter__()
        await self.reads.until_type("live")

    async def turn(self) -> None:
        """One answer, whole and unchanged to the tab that reads."""
        self.turns += 1
        line = f"line {self.turns} of session {self.number}"
        await self.reads.turn(line)
        assert self.reads.texts()[-1] == answer(line)

    async def stall(self) -> None:
        """A tab comes that has everything until now, and reads nothing from then on.

        One that had read before would have larger buffers in the kernel.
        """
        self.head = len(self.reads.durable)
        self.stalls = StalledTab(self._port, session_id=self._session_id, workflow="chat", after=str(self.head))
        await self.stalls.open()
        await self.stalls.read_until("live")

    async def close(self) -> None:
        await self.reads.close()
        if self.stalls is not None:
            self.stalls.close()

    def unread(self) -> tuple[StalledTab, list[Frame]]:
        """The tab that did not read, and the events that it came before."""
        assert self.stalls is not None
        return self.stalls, self.reads.durable[self.head :]


class Memory:
    """The most that a process has had since it was last asked."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._most = 0

    async def watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(0.05)

    def take(self) -> int:
        self._look()
        most, self._most = self._most, 0
        return most

    def _look(self) -> None:
        self._most = max(self._most, int(self._process.memory_info().rss))


Begin = Callable[..., Awaitable[tuple[ServerProcess, list[Pair]]]]


@pytest.fixture
async def begin(start: Start, vendors: Vendors) -> AsyncIterator[Begin]:
    """Start a server with these settings, and so many sessions on it."""
    pairs: list[Pair] = []

    async def opened(count: int, **environ: str) -> tuple[ServerProcess, list[Pair]]:
        server = await start(**environment(vendors, **QUEUES, **SHORT, **PATIENT, **environ))
        for number in range(count):
            pairs.append(Pair(server, number))
            await pairs[-1].open()
        return server, pairs

    yield opened
    await asyncio.gather(*(pair.close() for pair in pairs))


async def test_what_waits_for_tabs_that_do_not_read_has_a_bound(begin: Begin) -> None:
    """The bound follows from the settings: TAB_BYTES for each of those tabs, over what answers to readers take."""
    server, pairs = await begin(STREAMS, SEND_STALL_MS="600000")
    memory = Memory(server.pid)
    watching = asyncio.create_task(memory.watch())
    for _ in range(WARM_UP):
        await asyncio.gather(*(pair.turn() for pair in pairs))
    await asyncio.gather(*(pair.stall() for pair in pairs))
    before, stalled = memory.take(), time.monotonic()
    for _ in range(TURNS):
        await asyncio.gather(*(pair.turn() for pair in pairs))
    grown = memory.take() - before
    watching.cancel()
    bound, unread = STREAMS * TAB_BYTES + SLACK_BYTES, STREAMS * TURNS * 2 * ANSWER_CHARS
    figures = [f"{number / 1e6:.1f} MB" for number in (before, grown, bound, unread)]
    print("{} before, {} more, at most {}; {} unread".format(*figures), f"({STREAMS} streams)")  # noqa: T201  figures
    assert grown < bound
    for pair in pairs:  # whoever reads again is fed from the store
        tab, missed = pair.unread()
        try:
            await tab.read_until("state_update", turn=missed[-1]["payload"]["turn"])
        except ConnectionError:
            assert time.monotonic() - stalled > PINGED_S
        else:
            assert tab.durable == missed
        assert tab.durable == missed[: len(tab.durable)]
        assert [frame["seq"] for frame in pair.reads.durable] == list(range(1, pair.head + len(missed) + 1))


async def test_tabs_that_take_nothing_for_too_long_are_cut_and_the_others_go_on(begin: Begin) -> None:
    server, pairs = await begin(4, SEND_STALL_MS="1000")
    await asyncio.gather(*(pair.stall() for pair in pairs))
    cut = f'"code":{int(CloseCode.SLOW_CONSUMER)}'
    while server.log().count(cut) < len(pairs):
        assert pairs[0].turns < 3 * TURNS, "nobody is cut"
        await asyncio.gather(*(pair.turn() for pair in pairs))
    await asyncio.gather(*(pair.turn() for pair in pairs))
    for pair in pairs:
        tab, missed = pair.unread()
        await tab.read_to_the_end()
        assert tab.durable == missed[: len(tab.durable)]
        assert len(tab.durable) < len(missed)
