"""After a crash nobody has to come back: the sweep answers every line, once, while clients are served."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from server.records import Write
from server.store.sqlite.store import SqliteStore
from tests.durability.conftest import Prepare
from tests.durability.soundness import sound_logs, texts
from tests.support.wire import Client
from tests.support.writes import accept, greeting, new_session

SESSIONS: Final = 10_000
UNANSWERED: Final = 1_000
BATCH: Final = 500
SAMPLE: Final = 50
ANSWERED_S: Final = 30.0


async def crashed(database: Path) -> list[str]:
    """What a server left behind: many sessions, some with a line that was acknowledged. The sessions with a line."""
    store = SqliteStore(str(database), synchronous="NORMAL")
    await store.open()
    ids = [new_session() for _ in range(SESSIONS)]
    waiting = ids[:: SESSIONS // UNANSWERED]
    said = {"text": "are you there?", "sub_title": None, "list_items": None, "format": "plain"}
    writes: list[Write] = [greeting(session_id, to="HELLO") for session_id in ids]
    writes += [accept(session_id, "line", payload=said) for session_id in waiting]
    for first in range(0, len(writes), BATCH):
        await store.commit(writes[first : first + BATCH])
    await store.close()
    return waiting


def unanswered(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("select count(*) from sessions where lined > cursor").fetchone()
        return int(count)


async def test_every_line_is_answered_once_after_a_crash(tmp_path: Path, prepare: Prepare) -> None:
    server = prepare()
    waiting = await crashed(server.database)
    assert unanswered(server.database) == UNANSWERED
    began = time.monotonic()
    await server.start()
    ready_s = time.monotonic() - began
    async with Client(server.port) as client:
        await client.until_type("live")
        live_s = time.monotonic() - began
        await client.turn("hello")
        served_s = time.monotonic() - began
        left = unanswered(server.database)
    async with asyncio.timeout(ANSWERED_S):
        while unanswered(server.database):
            await asyncio.sleep(0.02)  # polling a file that another process writes
    answered_s = time.monotonic() - began
    assert client.texts() == ["Welcome.", "you said hello"]
    assert await server.stop() == 0
    with contextlib.closing(sqlite3.connect(server.database)) as connection:
        answers = "select count(*), count(distinct session) from events where type = 'state_update' and turn = 3"
        named = "select number from sessions where session_id in (select value from json_each(?))"
        swept = f"{answers} and session in ({named})"
        ids = "[" + ",".join(f'"{session_id}"' for session_id in waiting) + "]"
        assert connection.execute(swept, (ids,)).fetchone() == (UNANSWERED, UNANSWERED)
        versions = "select version, count(*) from sessions group by version order by version"
        assert connection.execute(versions).fetchall() == [(1, SESSIONS - UNANSWERED), (2, UNANSWERED + 1)]
    for log in sound_logs(server.database, waiting[:: UNANSWERED // SAMPLE]).values():
        assert texts(log) == [log[0].payload["text"], "you said are you there?"]
    assert "Traceback" not in server.log()
    print(  # noqa: T201
        f"\nready after {ready_s:.2f} s, first client live after {live_s:.2f} s and answered after {served_s:.2f} s"
        f" with {left} lines still to be answered; all {UNANSWERED} lines answered after {answered_s:.2f} s"
    )
