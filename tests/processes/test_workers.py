"""WEB_CONCURRENCY: several processes behind one port."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Client

WORKERS = 3
WAIT_S = 60


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Three workers over one SQLite file, with nothing between them."""
    quick = {"TAKEOVER_MS": "1500", "SWEEP_MS": "1000", "HEAD_POLL_MS": "200"}
    server = ServerProcess(tmp_path, {"WEB_CONCURRENCY": str(WORKERS), **quick})
    await server.start()
    yield server
    await server.close()


def events(server: ServerProcess, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def workers(server: ServerProcess) -> set[int]:
    return {child.pid for child in psutil.Process(server.pid).children()}


async def all_started(server: ServerProcess, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(events(server, "started")) < count:
            await asyncio.sleep(0.02)  # other processes write the log


async def test_a_conversation_goes_through_several_workers_and_survives_the_death_of_one(
    server: ServerProcess, tmp_path: Path
) -> None:
    await all_started(server, WORKERS)
    session_id, notes = str(uuid.uuid4()), tmp_path / "notes"
    lines = [f"note {notes} 0" for _ in range(24)]
    for number, line in enumerate(lines):  # each line over a connection of its own, which any worker may accept
        async with Client(server.port, session_id=session_id) as client:
            await client.until_type("live")
            await client.turn(line, f"line {number}")
            assert len(client.texts()) == number + 2
    served = set(map(int, notes.read_text().split()))
    assert len(served) > 1
    assert served <= workers(server)

    victim = served.pop()
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        os.kill(victim, signal.SIGKILL)
        await all_started(server, WORKERS + 1)
        assert len(workers(server)) == WORKERS
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.turn("still there")
        assert client.texts("user") == [*lines, "still there"]
        assert len(client.texts()) == len(lines) + 2
    assert [entry["status"] for entry in events(server, "worker_ended")] == [-signal.SIGKILL]


async def test_a_signal_to_the_parent_drains_every_worker(server: ServerProcess) -> None:
    await all_started(server, WORKERS)
    tabs = [Client(server.port) for _ in range(12)]
    for tab in tabs:
        await tab.__aenter__()
        await tab.until_type("live")
    assert await server.stop() == 0
    assert [await tab.until_closed() for tab in tabs] == [4200] * len(tabs)
    assert len(events(server, "stopped")) == WORKERS
    for tab in tabs:
        await tab.close()


async def test_workers_do_not_outlive_their_parent(server: ServerProcess) -> None:
    await all_started(server, WORKERS)
    orphans = [psutil.Process(pid) for pid in workers(server)]
    await server.kill()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, orphans, WAIT_S)
    assert (len(gone), alive) == (WORKERS, [])


async def test_what_is_wrong_is_said_once_and_nothing_is_left(tmp_path: Path) -> None:
    for environ, sentence in (
        ({"STORE_URL": "sqlite:///:memory:"}, "memory belongs to one process"),
        ({"STORE_URL": f"sqlite:///{tmp_path}"}, "cannot open"),  # a folder
    ):
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        server = ServerProcess(folder, {"WEB_CONCURRENCY": "2", **environ})
        with pytest.raises(AssertionError, match="the server ended"):
            await server.start()
        assert sentence in server.log()


async def test_a_port_that_is_taken_is_said_in_a_sentence(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = ServerProcess(tmp_path / "second", {"WEB_CONCURRENCY": "2", "PORT": str(server.port)})
    second.port = 1  # so that it is not taken for the first one
    with pytest.raises(AssertionError, match="cannot listen on"):
        await second.start()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/healthz")).status_code == 200
