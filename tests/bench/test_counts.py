"""What a turn and a connection cost in numbers that no load can blur: statements, syncs, calls, blocks of memory.

They are ceilings. Whoever gets below one lowers it, so that the gain stays. tests/e2e/test_store_calls.py counts calls.
"""

import asyncio
import contextlib
import cProfile
import gc
import pstats
import re
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
import uvicorn

from server import clock
from server.records import Write
from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from tests.bench import floor
from tests.bench.speech import speech
from tests.bench.tab import Tab, Times
from tests.durability.syscalls import moments, strace, whole
from tests.support.example_workflows import WORKFLOWS
from tests.support.process import ROOT, free_port
from tests.support.wire import Client
from tests.support.wrapped import serve
from tests.support.writes import accept, event, open_session, turn

SESSIONS: Final = 32
NATIVE: Final = {"Sec-WebSocket-Protocol": "rejoinder.v1"}
#: Turns that are not counted: something is made once.
WARM: Final = 5
#: The files of the server and of its packages; what becomes of a log line depends on what was tested before.
IS_COUNTED: Final = re.compile(rf"^{re.escape(str(ROOT))}/server/(?!telemetry)|/site-packages/(?!structlog)")
#: Of sessions that are not known: begin, the heads, the ids that were used, commit.
FIXED: Final = 4
#: Retained blocks of memory of a connection that does nothing, in those of the floor's.
BLOCKS_VS_FLOOR: Final = 1.05
#: Calls of functions of the server and of its packages in the event loop, for one turn of one conversation. What the
#: writer's thread called before is among them: it calls nothing more for sessions that are known.
CALLS_A_TURN: Final = 162.0
#: Retained blocks a turn: what the allocator and the timers leave behind now and then, and not a frame or an event.
BLOCKS_A_TURN: Final = 5.0


async def both_batches(store: SqliteStore, sessions: int) -> list[list[Write]]:
    """A line of each of so many sessions, and the turns that answer them."""
    before = [await open_session(store) for _ in range(sessions)]
    lines = [accept(snapshot.session_id, "line") for snapshot in before]
    turns = [turn(one, event(one.session_id), answers=3, memory={"last": "words"}) for one in before]
    return [lines, turns]


def inserts(rows: int) -> int:
    """The statements that insert so many rows: of 64, 16, 4 and 1 at a time."""
    count = 0
    for size in (64, 16, 4, 1):
        count, rows = count + rows // size, rows % size
    return count


@pytest.mark.parametrize("sessions", [1, SESSIONS])
async def test_a_batch_is_a_few_statements_however_large(tmp_path: Path, sessions: int) -> None:
    store = SqliteStore(str(tmp_path / "counted.db"), known_limit=0)
    await store.open()
    said: list[str] = []
    try:
        batches = await both_batches(store, sessions)
        store._connections[0].set_trace_callback(said.append)
        for batch in batches:
            said.clear()
            await store.commit(batch)
            events = sum(len(write.events) for write in batch)
            kinds = Counter(re.sub(r"\bvalues \(.*|'\[.*", "", text, flags=re.DOTALL) for text in said)
            assert len(said) <= FIXED + inserts(events) + inserts(sessions)
            assert len(kinds) <= FIXED + 2
    finally:
        await store.close()


@pytest.mark.parametrize("sessions", [1, SESSIONS])
async def test_a_batch_of_known_sessions_is_one_statement_however_large(tmp_path: Path, sessions: int) -> None:
    store = SqliteStore(str(tmp_path / "counted.db"))
    await store.open()
    said: list[str] = []
    try:
        batches = await both_batches(store, sessions)
        store._connections[0].set_trace_callback(said.append)
        for batch in batches:
            said.clear()
            await store.commit(batch)
            (kind,) = {text.partition(" values ")[0] for text in said}
            assert kind.startswith("insert into batch_")
    finally:
        await store.close()


COMMITS: Final = """
import asyncio, sys
from server.store.sqlite.store import SqliteStore
from tests.support.writes import accept, open_session

async def main() -> None:
    store = SqliteStore(sys.argv[1])
    await store.open()
    sessions = [(await open_session(store)).session_id for _ in range(4)]
    for number in range(int(sys.argv[2])):
        await store.commit([accept(session, f"line {number}") for session in sessions])
    await store.close()

asyncio.run(main())
"""


async def syncs(folder: Path, batches: int) -> int:
    """How often the log is synced by a program that commits so many batches, its end not counted."""
    prefix = strace(folder / "trace", "-e", "trace=fsync,fdatasync")
    command = (*prefix, sys.executable, "-c", COMMITS, str(folder / "synced.db"), str(batches))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    lines = await whole(folder / "trace", process.pid)
    return sum(one.begins and one.path.endswith("synced.db-wal") for one in moments(lines))


async def test_a_batch_is_one_sync(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        folder.mkdir()
    assert await syncs(many, 60) - await syncs(few, 10) == 50


@contextlib.asynccontextmanager
async def serve_floor() -> AsyncIterator[int]:
    """The floor in this event loop."""
    port = free_port()
    config = uvicorn.Config(floor.app, port=port, ws="websockets-sansio", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)  # uvicorn has no event for this
    try:
        yield port
    finally:
        server.should_exit = True
        await serving


async def blocks_of_a_connection(port: int) -> float:
    """Retained blocks of memory, ours of both ends, for each connection to a session of its own."""
    tabs: list[Tab] = []
    kept: list[int] = []
    for count in (50, 200):
        for _ in range(count):
            opened = asyncio.Event()
            tab = Tab(speech("native"), Times(), lambda _: None)
            tab.on_open = _setter(opened)
            path = f"/ws?workflow=echo&session_id={uuid.uuid4()}"
            await tab.connect(port, path, NATIVE)
            await opened.wait()
            tab.on_open = None
            tabs.append(tab)
        kept.append(blocks())
    for tab in tabs:
        tab.close()
    return (kept[1] - kept[0]) / 200


def _setter(opened: asyncio.Event) -> Callable[[Tab], None]:
    return lambda _: opened.set()


def blocks() -> int:
    """Blocks of memory that are in use once the collector has been through; of no ids that only wait to be used."""
    gc.collect()
    return sys.getallocatedblocks() - len(clock._ids)


async def test_a_connection_that_does_nothing_keeps_few_blocks_more_than_a_bare_one() -> None:
    async with serve_floor() as port:
        bare = await blocks_of_a_connection(port)
    async with serve(SqliteStore(MEMORY), WORKFLOWS, Settings()) as port:
        ours = await blocks_of_a_connection(port)
    assert ours <= BLOCKS_VS_FLOOR * bare


async def test_a_conversation_keeps_no_memory_of_its_turns() -> None:
    many = 1_000_000
    unhurried = Settings(line_rate_per_s=many, line_burst=many, frame_rate_per_s=many, frame_burst=many)
    async with serve(SqliteStore(MEMORY), WORKFLOWS, unhurried) as port, Client(port) as client:
        await client.until_type("live")

        async def after(turns: int) -> int:
            for number in range(turns):
                await client.turn(f"line {number:06d}")
            client.frames.clear()
            client._seen = 0
            return blocks()

        await after(100)
        early = await after(1)
        late = await after(300)
    assert (late - early) / 300 <= BLOCKS_A_TURN


async def calls(turns: int) -> float:
    """Calls of the server's functions and its packages' for each turn; those of asyncio vary with the moment."""
    many = 1_000_000
    unhurried = Settings(line_rate_per_s=many, line_burst=many, frame_rate_per_s=many, frame_burst=many)
    async with serve(SqliteStore(MEMORY), WORKFLOWS, unhurried) as port:
        opened, ended = asyncio.Event(), asyncio.Event()
        tab = Tab(speech("native"), Times(), lambda _: None)
        tab.on_open, tab.on_end = _setter(opened), _setter(ended)
        await tab.connect(port, f"/ws?workflow=echo&session_id={uuid.uuid4()}", NATIVE)
        await opened.wait()
        profile = cProfile.Profile()
        for number in range(turns + WARM):
            if number == WARM:
                profile.enable()
            ended.clear()
            tab.say()
            await ended.wait()
        profile.disable()
        tab.close()
    found = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    counts: list[int] = [cost[1] for (file, _, _), cost in found if IS_COUNTED.search(file)]
    return sum(counts) / turns


async def test_a_turn_is_so_many_calls() -> None:
    assert await calls(200) <= CALLS_A_TURN
