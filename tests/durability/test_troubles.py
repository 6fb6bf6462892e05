"""A server that cannot write for a while: it says so in stable words, serves what it can, and needs no restart."""

import asyncio
import contextlib
import json
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.durability.conftest import Prepare
from tests.durability.process import WrappedProcess
from tests.durability.soundness import sound_logs, texts
from tests.durability.troubles import TROUBLES, small_disk, wal
from tests.support.absent import without_power_over_files
from tests.support.wire import Client

#: Short waits, so that a trouble is over in the time of a test.
QUICK: Final = {"STORE_TIMEOUT_MS": "200", "STORE_RETRY_MS": "50", "STATUS_AFTER_MS": "0"}


def warnings(server: WrappedProcess, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name and line["level"] == "warning"]


def calm(server: WrappedProcess) -> bool:
    """Nothing in the log that looks like an accident of ours."""
    return "Traceback" not in server.log() and '"level": "error"' not in server.log()


async def refused(client: Client, text: str, message_id: str) -> None:
    """Say a line that is refused for now."""
    await client.say(text, message_id)
    error = await client.until_type("error", id=message_id)
    assert (error["payload"]["code"], error["payload"]["temporary"]) == ("store_unavailable", True)
    assert error["payload"]["retry_ms"] > 0


@pytest.mark.parametrize("name", TROUBLES)
async def test_what_cannot_be_written_is_refused_until_it_can(tmp_path: Path, prepare: Prepare, name: str) -> None:
    async with contextlib.AsyncExitStack() as disks:
        server = prepare(**QUICK)
        if name == "disk full":
            server.database = disks.enter_context(small_disk(tmp_path / "small")) / "rejoinder.db"
            server.environ["STORE_URL"] = f"sqlite:///{server.database}"
        disks.push_async_callback(server.close)  # before its disk goes
        await server.start()
        await through_trouble(server, name)
        await server.stop()
        logs = sound_logs(server.database)
    said = {tuple(texts(log, "user")): texts(log) for log in logs.values()}
    assert said == {
        ("sleep 0.3", "one", "two"): ["Welcome.", "slept 0.3", "you said one", "you said two"],
        ("hello",): ["Welcome.", "you said hello"],
    }
    assert calm(server), server.log()
    assert warnings(server, "commit_failed")


async def through_trouble(server: WrappedProcess, name: str) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id) as client, Client(server.port) as other:
        await client.until_type("live")
        await other.until_type("live")
        acked = await client.say("sleep 0.3", "slow")
        turn = (await client.until_type("ack", id=acked))["payload"]["seq"]
        await client.until_type("status_update")
        with TROUBLES[name](server):
            await refused(client, "one", "1")
            await refused(client, "one", "1")
            await other.send({"type": "ping", "n": 7})
            await other.until_type("pong", n=7)
            async with Client(server.port, session_id=session_id) as reader:
                await reader.until_type("live")
                assert reader.texts("user") == ["sleep 0.3"], "what is stored can be read"
            async with Client(server.port) as newcomer:
                assert await newcomer.until_closed() == 4103
                assert newcomer.durable == []
            assert client.texts() == ["Welcome."], "no answer is shown that is not durable"
        await client.say("one", "1")
        assert (await client.until_type("ack", id="1"))["payload"]["duplicate"] is False
        await client.say("one", "1")
        assert (await client.until_type("ack", id="1"))["payload"]["duplicate"] is True
        await client.turn("two")
        await other.turn("hello")
        assert [frame["payload"]["turn"] for frame in client.durable if frame["type"] == "state_update"][1] == turn


async def test_a_reader_that_stays_holds_up_nobody(prepare: Prepare) -> None:
    """The log grows while another process reads an old moment, and shrinks when that is over."""
    server = prepare(LINE_RATE_PER_S="1000", LINE_BURST="1000", FRAME_RATE_PER_S="1000", FRAME_BURST="1000")
    await server.start()
    text = "x" * 15_000

    async def talk(turns: int) -> int:
        """Many long turns in several sessions; the size of the log then."""
        await asyncio.gather(*(converse(client, turns) for client in clients))
        return wal(server.database).stat().st_size

    async def converse(client: Client, turns: int) -> None:
        for _ in range(turns):
            await client.turn(text)

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server.port)) for _ in range(8)]
        for client in clients:
            await client.until_type("live")
        usual = await talk(15)  # less than the log may take before it begins anew
        with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as reader:
            reader.execute("begin")
            events = reader.execute("select count(*) from events").fetchone()
            grown = await talk(45)
            assert reader.execute("select count(*) from events").fetchone() == events, "it still sees its moment"
            reader.execute("rollback")
        after = await talk(45)
    print(f"\nlog: {usual:,} bytes as usual, {grown:,} beside a reader, {after:,} after as much again without it")  # noqa: T201
    assert grown > usual
    assert after < grown, "it has given back what it took"
    assert await server.stop() == 0
    assert not wal(server.database).exists()
    assert all(len(texts(log, "user")) == 105 for log in sound_logs(server.database).values())
    assert calm(server)


async def ended(server: WrappedProcess) -> tuple[int, Sequence[str]]:
    """How a server ended that could not start, and what it said."""
    await server.begin()
    return await server.wait(), server.log().splitlines()


@pytest.mark.parametrize("part", ["file", "folder"])
async def test_a_store_that_may_not_be_written_stops_the_start(tmp_path: Path, prepare: Prepare, part: str) -> None:
    """A server that is ready and refuses every line would be worse. With the permission back, it starts."""
    (tmp_path / "store").mkdir()
    server = prepare(prefix=without_power_over_files())
    server.database = tmp_path / "store" / "rejoinder.db"
    server.environ["STORE_URL"] = f"sqlite:///{server.database}"
    session_id = str(uuid.uuid4())
    await server.start()
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        await client.turn("hello")
    await server.stop()
    locked = server.database if part == "file" else server.database.parent
    mode = locked.stat().st_mode
    locked.chmod(mode & ~0o222)
    try:
        status, lines = await ended(server)
        assert status != 0
        assert "cannot open" in "\n".join(lines)
    finally:
        locked.chmod(mode)
    await server.start()
    async with Client(server.port, session_id=session_id) as client, httpx.AsyncClient() as http:
        await client.until_type("live")
        assert client.texts() == ["Welcome.", "you said hello"]
        assert (await http.get(f"{server.url}/readyz")).status_code == 200
