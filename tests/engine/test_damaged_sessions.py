"""A session that the store cannot read, or only in part: its user hears of it, and the others do not notice."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from server.errors import CloseCode
from server.records import SessionKey
from server.store.sqlite.store import SqliteStore
from server.workflows.table import Output, Turn, chat
from tests.engine.test_wrong_steps import at_once, tea
from tests.support.rooms import room

KEY = SessionKey("ann", "s1")


@pytest.fixture
def records() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as kept:
        yield kept


def events(records: list[Any], name: str) -> list[Any]:
    return [record for record in records if record["event"] == name]


DAMAGES = {
    "a memory that is a list": "update sessions set memory = '[1]' where {}",
    "a memory that is no JSON": "update sessions set memory = 'x' where {}",
    "a memory that is null": "update sessions set memory = 'null' where {}",
    "a memory that is bytes": "update sessions set memory = x'ff00' where {}",
    "a bomb of a memory": "update sessions set memory = '{{\"a\":' || replace(hex(zeroblob(5000)), '00', '[') where {}",
    "a version that is text": "update sessions set version = 'x' where {}",
    "a cursor that is text": "update sessions set cursor = 'x' where {}",
    "a state that is bytes": "update sessions set state = x'00' where {}",
    "a card that is a number": "update sessions set card = x'01' where {}",
    "an unknown workflow": "update sessions set workflow = 'gone' where {}",
    "a payload that is a list": "update events set payload = '[]' where {} and seq = 3",
    "a payload that is text": "update events set payload = '\"tea\"' where {} and seq = 3",
    "a turn that is text": "update events set turn = 'x' where {} and seq = 3",
    "a line that is no UTF-8": "update events set payload = cast(x'7bff7d' as text) where {} and seq = 3",
    "a type that is bytes": "update events set type = x'00' where {} and seq = 3",
}
ODDITIES = {
    "an unknown state": ("update sessions set state = 'GONE' where {}", "Failed"),
    "a memory with junk of the server": (
        """update sessions set memory = '{{"@usage":[1],"@summary":{{}}}}' where {}""",
        "Say",
    ),
    "a memory with old usage": ("""update sessions set memory = '{{"usage":"x","summary":5}}' where {}""", "Say"),
    "a state_update without to": ("update events set payload = '{{}}' where {} and seq = 2", "Say"),
    "a frame of an unknown type": ("update events set type = 'riddle' where {} and seq = 1", "Say"),
    "a chat_message without text": ("update events set payload = '{{}}' where {} and seq = 1", "Say"),
    "a line without text": ("update events set payload = '{{}}' where {} and seq = 3", "Failed"),
    "a line whose text is a list": ("""update events set payload = '{{"text":[]}}' where {} and seq = 3""", "Say"),
}


def _of(statement: str, key: SessionKey) -> str:
    """The condition that the session's rows fulfil in the table of a statement."""
    its = f"session_id = '{key.session_id}'"
    return its if statement.startswith("update sessions") else f"session in (select number from sessions where {its})"


async def with_damage(path: Path, statement: str, key: SessionKey) -> None:
    """A session whose line has no answer yet, changed by hand."""
    async with room(tea(never), store=SqliteStore(str(path))) as here:
        user = await here.enter("tea", key)
        user.say("left over", "c1")
        await user.until("ack")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute(statement.format(_of(statement, key)))
        assert changed.rowcount == 1


async def never(turn: Turn) -> AsyncIterator[Output]:
    await asyncio.sleep(60)
    yield chat("never")


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_session_that_cannot_be_read_is_told_of_and_left_alone(
    tmp_path: Path, records: list[Any], name: str
) -> None:
    await with_damage(tmp_path / "x.db", DAMAGES[name], KEY)
    records.clear()
    async with room(tea(at_once(lambda: chat("one"))), store=SqliteStore(str(tmp_path / "x.db"))) as here:
        neighbour, victim = await here.enter("tea"), here.join("tea", KEY)
        code = await victim.until_closed()
        assert code is CloseCode.INTERNAL
        assert victim.of("error")[-1]["code"] == "session_unreadable"
        assert "not_found" not in str(victim.frames)
        for number in range(5):
            assert await neighbour.turn(f"hello {number}")
        await asyncio.sleep(0.6)  # so many sweeps as would be a hot loop
        assert not events(records, "task_failed")
        assert 1 <= len(events(records, "session_unreadable")) <= 8, "the wait doubles"


@pytest.mark.parametrize("name", ODDITIES)
async def test_an_odd_row_is_answered(tmp_path: Path, records: list[Any], name: str) -> None:
    statement, intent = ODDITIES[name]
    await with_damage(tmp_path / "x.db", statement, KEY)
    async with room(tea(at_once(lambda: chat("one"))), store=SqliteStore(str(tmp_path / "x.db"))) as here:
        neighbour, victim = await here.enter("tea"), await here.enter("tea", KEY)
        ended = await victim.until("state_update", 1 if "without to" in name else 2)
        while ended.get("turn") != 3:
            ended = await victim.until("state_update", len(victim.of("state_update")) + 1)
        assert ended["intent"] == intent
        if intent == "Failed":
            assert victim.words[-1].endswith(".)")
        assert await neighbour.turn("hello")
    assert not events(records, "task_failed")


async def test_the_same_id_as_a_line_without_text_is_refused(tmp_path: Path, records: list[Any]) -> None:
    await with_damage(tmp_path / "x.db", "update events set payload = '{{}}' where {} and seq = 3", KEY)
    async with room(tea(at_once(lambda: chat("one"))), store=SqliteStore(str(tmp_path / "x.db"))) as here:
        victim = await here.enter("tea", KEY)
        victim.say("left over", "c1")
        assert (await victim.until("error"))["code"] == "id_reuse"
        assert (await victim.turn("another"))["intent"] == "Say"


async def test_a_hole_in_the_log_sends_the_client_away_for_a_while(tmp_path: Path, records: list[Any]) -> None:
    await with_damage(tmp_path / "x.db", "delete from events where {} and seq = 2", KEY)
    async with room(tea(at_once(lambda: chat("one"))), store=SqliteStore(str(tmp_path / "x.db"))) as here:
        victim = here.join("tea", KEY)
        assert await victim.until_closed() is CloseCode.INTERNAL
        assert victim.of("error")[-1]["code"] == "session_unreadable"
        assert "hole" in events(records, "session_unreadable")[-1]["reason"]


async def test_an_owner_that_is_no_utf8_does_not_keep_the_sweep_from_the_others(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await with_damage(path, "update sessions set user_id = cast(x'ff' as text) where {}", SessionKey("ann", "bad"))
    await with_damage(path, "update sessions set visible = visible where {}", SessionKey("ann", "good"))
    store = SqliteStore(str(path))
    await store.open()
    assert SessionKey("ann", "good") in await store.pending(2**53, 10)
    await store.close()


async def test_many_damaged_sessions_do_not_keep_the_sweep_from_the_others(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for number in range(3):
        await with_damage(path, DAMAGES["a memory that is a list"], SessionKey("ann", f"bad{number}"))
    await with_damage(path, "update sessions set visible = visible where {}", SessionKey("ann", "good"))
    async with room(tea(at_once(lambda: chat("one"))), store=SqliteStore(str(path)), sweep_limit=1) as here:
        async with asyncio.timeout(20):
            while True:
                loaded = await here.store.load(SessionKey("ann", "good"), 0, 0)
                if loaded is not None and loaded.snapshot.cursor == 3:
                    break
                await asyncio.sleep(0.02)
