"""`kill -9` while a server starts: makes the file, its tables, and recovers the log of the one that was killed before.

Once at random moments of a real server's start, and once exactly, at every single write and sync of an open.
"""

import asyncio
import random
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

import pytest

from server.records import SessionKey
from server.store.sqlite.store import SqliteStore
from tests.durability.conftest import Prepare
from tests.durability.process import WrappedProcess
from tests.durability.soundness import Logs, sound_logs
from tests.durability.syscalls import strace
from tests.durability.troubles import wal
from tests.support.process import ROOT, START_S
from tests.support.wire import Client
from tests.support.writes import accept, greeting, new_session

KILLS: Final = 20
SEED: Final = 20_250_101
OPEN: Final = """
import asyncio, sys
from server.store.sqlite.store import SqliteStore
async def opened_and_closed():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.close()  # by itself at the end of the process, now and then: the log goes into the file then
asyncio.run(opened_and_closed())
"""
#: What an open may do to its files; a kill strikes at the nth of these.
TOUCHES: Final = "pwrite64,fsync,fdatasync,ftruncate,unlink,unlinkat"
TOUCHES_MOST: Final = 80


async def start_and_kill(server: WrappedProcess, after_s: float) -> None:
    """Start it, and end it so long after its first sign of life in the file."""
    before = signs(server.database)
    await server.begin()
    async with asyncio.timeout(START_S):
        while signs(server.database) == before:
            await asyncio.sleep(0.001)  # polling files that another process makes
    await asyncio.sleep(after_s)  # the moment of the kill is what is chosen at random here
    await server.kill()


def signs(database: Path) -> list[tuple[str, int]]:
    """When a server opens the file, this changes: the index of the log is made anew."""
    beside = sorted(database.parent.glob(f"{database.name}*"))
    return [(file.name, file.stat().st_mtime_ns) for file in beside]


async def test_a_server_that_is_killed_at_its_start_leaves_a_sound_file(prepare: Prepare) -> None:
    """Between the kills it talks, and is killed then, too: each start has a log to recover."""
    server = prepare()
    chance = random.Random(SEED)
    told: dict[str, list[str]] = {}
    for number in range(KILLS):
        await start_and_kill(server, chance.choice((0.0, 0.002, 0.02, 0.1)) * chance.random())
        if number % 7 == 6:
            session_id = str(uuid.uuid4())
            await server.start()
            async with Client(server.port, session_id=session_id) as client:
                await client.until_type("live")
                for text in ("one", "two"):
                    await client.turn(text)
                told[session_id] = [frame["message_id"] for frame in client.durable]
                await server.kill()
            assert wal(server.database).stat().st_size > 0, "there is a log to recover"
    await server.start()
    assert await server.stop() == 0
    logs = sound_logs(server.database)
    assert {session_id: [event.message_id for event in log] for session_id, log in logs.items()} == told
    assert len(told) == KILLS // 7


def killed_open(folder: Path, database: Path, nth: int) -> bool:
    """Open the store in a process that is killed at the nth time that it touches a file; whether it came to that."""
    trace = folder / f"trace-{nth}"
    files = [option for suffix in ("", "-wal", "-journal") for option in ("-P", f"{database}{suffix}")]
    kill = ("-e", f"trace={TOUCHES}", "-e", f"inject={TOUCHES}:signal=SIGKILL:when={nth}")
    command = [*strace(trace, *kill, *files), sys.executable, "-c", OPEN, str(database)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == -9


@pytest.mark.parametrize("before", ["no file", "a log to recover"])
async def test_an_open_may_end_at_any_touch_of_a_file(tmp_path: Path, before: str) -> None:
    logs: Logs = {}
    nth = 0
    while True:
        nth += 1
        database = tmp_path / f"{nth}.db"
        if before == "a log to recover":
            logs = await crashed(database)
        if not killed_open(tmp_path, database, nth):
            break
        store = SqliteStore(str(database))
        await store.open()
        await store.close()
        assert sound_logs(database) == logs
    print(f"\n{before}: killed at each of {nth - 1} touches")  # noqa: T201
    assert (10 if before == "no file" else 1) <= nth - 1 <= TOUCHES_MOST


async def crashed(database: Path) -> Logs:
    """The files of a server that was killed: nothing of what it wrote is in the file proper yet."""
    store = SqliteStore(str(database))
    await store.open()
    session_id = new_session()
    await store.commit([greeting(session_id, to="HELLO"), accept(session_id, "c1")])
    names = [database, wal(database)]
    left = {name: name.read_bytes() for name in names}
    logs = {session_id: await store.read(SessionKey("ann", session_id), 0, 10)}
    await store.close()
    for name, content in left.items():
        name.write_bytes(content)
    return logs
