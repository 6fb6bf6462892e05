"""Damage to one session's part of the file, or a write that the store refuses: its neighbours do not notice."""

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from server.store.sqlite.store import SqliteStore
from tests.durability.conftest import Prepare
from tests.durability.process import WrappedProcess
from tests.durability.soundness import sound_logs, texts
from tests.durability.test_troubles import QUICK, calm, warnings
from tests.durability.troubles import write_lock
from tests.support.wire import Client
from tests.support.writes import T0_MS, accept, greeting

PAGE: Final = 4096
#: The first byte of a page of rows at the end of a branch: nobody's way to his own events leads through it.
LEAF: Final = 0x0D
VICTIM, NEIGHBOUR = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
MARK: Final = "the words of the victim "
ANSWER_S: Final = 10.0


async def two_sessions(database: Path) -> None:
    """A stopped server's file: two sessions, each with long lines that were never answered, the victim's older."""
    store = SqliteStore(str(database))
    await store.open()
    for number, session_id in enumerate((VICTIM, NEIGHBOUR)):
        text = MARK * 20 if session_id == VICTIM else "the words of the neighbour"
        said = {"text": text, "sub_title": None, "list_items": None, "format": "plain"}
        await store.commit([greeting(session_id, user_id="anonymous", to="HELLO")])
        # Enough that the victim fills pages that are its own.
        then_ms = T0_MS + number * 1_000_000
        count = 60 if session_id == VICTIM else 12
        lines = [
            accept(session_id, f"c{n}", user_id="anonymous", payload=said, created_at=then_ms) for n in range(count)
        ]
        await store.commit(lines)
    await store.close()


def overwrite_a_page(database: Path) -> None:
    """A page becomes noise that stands among others of the victim: none that a neighbour's writes touch."""
    content = bytearray(database.read_bytes())
    pages = range(0, len(content), PAGE)
    own = [start for start in pages if content[start] == LEAF and MARK.encode() in content[start : start + PAGE]]
    own = [start for start in own if NEIGHBOUR.encode() not in content[start : start + PAGE]]
    middle = own[len(own) // 2]
    content[middle : middle + PAGE] = b"\xa5" * PAGE
    database.write_bytes(content)


def spoil_the_json(database: Path) -> None:
    """One byte of one payload is another: the page is sound, what it holds is no JSON."""
    _replace_one(database, b'{"text":"the words of the victim', b'{#text":"the words of the victim')


def spoil_the_text(database: Path) -> None:
    """One byte of one payload is no UTF-8."""
    _replace_one(database, b"the words of the victim", b"the words of the \xffictim")


def _replace_one(database: Path, before: bytes, after: bytes) -> None:
    content = database.read_bytes()
    assert before in content
    database.write_bytes(content.replace(before, after, 1))


DAMAGES: Final = {"page": overwrite_a_page, "JSON": spoil_the_json, "text": spoil_the_text}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_to_one_session_is_its_own(prepare: Prepare, name: str) -> None:
    """It can be neither read nor waited for, its client is told to come back later; all others are served."""
    server = prepare(**QUICK)
    await two_sessions(server.database)
    DAMAGES[name](server.database)
    await server.start()
    async with Client(server.port, session_id=NEIGHBOUR) as neighbour:
        await neighbour.until_type("live")
        async with Client(server.port, session_id=VICTIM) as victim:
            error = await victim.until_type("error")
            # A page that SQLite cannot read may be the whole file's trouble; a text is the session's own.
            code, closed = ("session_unreadable", 4100) if name in ("JSON", "text") else ("store_unavailable", 4103)
            assert (error["payload"]["code"], error["payload"]["temporary"]) == (code, True)
            assert await victim.until_closed() == closed
            assert victim.durable == [], "what cannot all be read is not shown in part"
        await neighbour.turn("are you there?")
        assert neighbour.texts()[-1] == "you said are you there?"
    async with Client(server.port) as newcomer:
        await newcomer.until_type("live")
        await newcomer.turn("hello")
    assert calm(server), server.log()


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_to_one_session_does_not_stop_the_sweep(prepare: Prepare, name: str) -> None:
    """The damaged session waits longest, so the sweep comes to it first; nobody else is connected."""
    server = prepare(**QUICK, SWEEP_MS="100")
    await two_sessions(server.database)
    DAMAGES[name](server.database)
    await server.start()
    async with asyncio.timeout(ANSWER_S):
        while not answered(server.database, NEIGHBOUR):
            await asyncio.sleep(0.02)  # polling a file that another process writes
    assert calm(server), server.log()
    assert warnings(server, "sweep_failed") or warnings(server, "load_failed")


def answered(database: Path, session_id: str) -> bool:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        waits = "select lined > cursor from sessions where session_id = ?"
        return bool(connection.execute(waits, (session_id,)).fetchone() == (0,))


@contextlib.asynccontextmanager
async def clients(server: WrappedProcess, count: int) -> AsyncIterator[list[Client]]:
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Client(server.port)) for _ in range(count)]
        for client in opened:
            await client.until_type("live")
        yield opened


async def test_a_line_that_the_store_refuses_is_refused_alone(prepare: Prepare) -> None:
    """Ten lines in one transaction, one of them poison: nine acks, one refusal."""
    server = prepare(**{**QUICK, "STORE_TIMEOUT_MS": "10000"})
    await server.start()
    async with clients(server, 10) as talking:
        with contextlib.closing(sqlite3.connect(server.database)) as connection:
            connection.execute(
                "create trigger poison before insert on events when new.role = 'user' and new.payload like '%poison%'"
                " begin select raise(abort, 'poison'); end"
            )
        first, *others = talking
        with write_lock(server):
            await first.say("first", "1")  # its transaction waits for the lock, and behind it the next one fills
            await first.send({"type": "ping", "n": 1})
            await first.until_type("pong", n=1)
            for number, client in enumerate(others):
                await client.say("poison" if number == 4 else "good", "1")
                await client.send({"type": "ping", "n": 1})
                await client.until_type("pong", n=1)
        for number, client in enumerate(others):
            if number == 4:
                error = await client.until_type("error", id="1")
                assert (error["payload"]["code"], error["payload"]["temporary"]) == ("store_unavailable", True)
            else:
                assert (await client.until_type("ack", id="1"))["payload"]["duplicate"] is False
        for client in talking:
            await client.turn("and now")
    failed = warnings(server, "commit_failed")
    assert [one["writes"] for one in failed] == [9, 1]
    assert calm(server)
    await server.stop()
    said = sorted(tuple(texts(log, "user")) for log in sound_logs(server.database).values())
    assert said == [("and now",), ("first", "and now"), *[("good", "and now")] * 8]
