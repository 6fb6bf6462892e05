"""Reading a session beside a server, after its end, after its death: everything is seen, nothing is changed."""

import asyncio
import shutil
from pathlib import Path

import pytest

from server.errors import StoreUnavailable
from server.records import Snapshot
from server.store.inspect.contract import PAGE_LIMIT
from server.store.sqlite.inspector import SqliteInspector
from tests.support.absent import without_power_over_files
from tests.support.process import ROOT, ServerProcess
from tests.support.stored import KEY, SESSION, Talk, check, check_file, opened, stopped, talk_until_plan
from tests.support.wire import Client


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    return await stopped(tmp_path)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_stopped_servers_file_is_left_as_it_is(database: Path) -> None:
    before = contents(database.parent)
    assert list(before) == [database.name]
    assert check_file(database).status == 0
    assert contents(database.parent) == before


async def test_beside_a_writer_and_after_its_death(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await talk_until_plan(Talk(store))
        before = contents(tmp_path)
        assert before["x.db-wal"][1]
        assert check_file(tmp_path / "x.db").status == 0
        after = contents(tmp_path)
        assert after.keys() == before.keys()
        assert (after["x.db"], after["x.db-wal"]) == (before["x.db"], before["x.db-wal"])
        copy = tmp_path / "killed"
        copy.mkdir()
        for name in ("x.db", "x.db-wal"):
            shutil.copy2(tmp_path / name, copy)
    before = contents(copy)
    assert check_file(copy / "x.db", "--json").report["session"]["seq"] == 9
    assert contents(copy)["x.db-wal"] == before["x.db-wal"]
    assert contents(copy)["x.db"] == before["x.db"]


async def test_a_killed_servers_file_in_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await talk_until_plan(Talk(store))
        copy = tmp_path / "killed"
        copy.mkdir()
        for name in ("x.db", "x.db-wal"):
            shutil.copy2(tmp_path / name, copy)
    copy.chmod(0o555)
    seen = check_file(copy / "x.db", prefix=without_power_over_files())
    assert seen.status == 2
    assert "x.db-shm must be written" in seen.err


def test_a_relative_path_is_the_servers(tmp_path: Path) -> None:
    seen = check(SESSION, environ={"STORE_URL": "sqlite:///var/not-there.db"}, cwd=tmp_path)
    assert f"there is no file {ROOT / 'var' / 'not-there.db'}" in seen.err


async def test_a_file_that_a_server_opens_meanwhile(database: Path) -> None:
    with SqliteInspector(str(database)) as inspector:
        look = inspector.look(KEY)
        assert isinstance(look.snapshot, Snapshot)
        async with opened(database):
            with pytest.raises(StoreUnavailable, match="changed while it was read"):
                next(look.log)


async def test_one_moment_is_seen_beside_a_writer(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        talk = Talk(store)
        await talk_until_plan(talk)
        with SqliteInspector(str(tmp_path / "x.db")) as inspector:
            look = inspector.look(KEY)
            await talk.say("one more")
            assert [event.seq for event in look.log] == list(range(1, 10))
            assert inspector.look(KEY).snapshot == look.snapshot
        with SqliteInspector(str(tmp_path / "x.db")) as inspector:
            assert len(list(inspector.look(KEY).log)) == 10


async def test_a_log_of_several_pages(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        talk = Talk(store)
        await talk_until_plan(talk)
        for _ in range(2 * PAGE_LIMIT):
            await talk.say("and?")
    report = check_file(tmp_path / "x.db", "--json").report
    assert [entry["seq"] for entry in report["history"]] == list(range(1, 10 + 2 * PAGE_LIMIT))
    assert report["sound"] is True


async def test_beside_a_running_server_and_after_a_kill(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    await server.start()
    try:
        async with Client(server.port, session_id=SESSION, user_id="u") as client:
            await client.turn("one")
            await client.turn("choose")
            await client.turn("boom")
            running = await asyncio.to_thread(check_file, server.database, "--json")
            assert running.status == 0
            assert running.report["memory"] == {"last": "one"}
            await client.turn("two")
            await client.say("sleep 60")
            await client.until_type("ack")
            waiting = await asyncio.to_thread(check_file, server.database, "--json")
            assert waiting.status == 0
            assert waiting.report["restoration"]["unanswered"] == 1
            assert waiting.report["restoration"]["will_be_answered"] is True
            await server.kill()
        killed = await asyncio.to_thread(check_file, server.database, "--json")
        assert killed.status == 0
        assert killed.report["session"] == waiting.report["session"]
    finally:
        await server.close()
