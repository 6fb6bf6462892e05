"""How often the store is asked: numbers that no machine and no load can blur."""

import asyncio
import uuid

import pytest

from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.wire import Client
from tests.support.wrapped import FailingStore, serve

SESSIONS = 32


async def test_a_reconnect_costs_one_call() -> None:
    store = FailingStore(SqliteStore(MEMORY))
    async with serve(store, WORKFLOWS, Settings()) as port:
        session_id = str(uuid.uuid4())
        async with Client(port, session_id=session_id) as client:
            await client.until_type("live")
            await client.turn("one")
            await client.turn("two")
            seen = client.durable
        for missed in (0, 1, 3, len(seen)):
            last = seen[len(seen) - missed - 1] if missed < len(seen) else None
            cursor = {"after": last["seq"], "last_message_id": last["message_id"]} if last else {}
            store.calls.clear()
            async with Client(port, session_id=session_id, **cursor) as client:
                await client.until_type("live")
                assert [frame["seq"] for frame in client.durable] == [f["seq"] for f in seen[len(seen) - missed :]]
            assert store.calls == {"load": 1}


@pytest.mark.parametrize(
    ("words", "commits"), [pytest.param("hello", 1, id="at once"), pytest.param("sleep 0", 2, id="after a wait")]
)
async def test_a_line_and_its_turn_cost_so_many_commits_and_many_at_once_share_them(words: str, commits: int) -> None:
    """A step that does not wait is committed together with its line."""
    store = FailingStore(SqliteStore(MEMORY))
    async with serve(store, WORKFLOWS, Settings()) as port:
        tabs = [Client(port, session_id=str(uuid.uuid4())) for _ in range(SESSIONS)]
        for tab in tabs:
            await tab.__aenter__()
            await tab.until_type("live")
        store.calls.clear()
        await tabs[0].turn(words)
        assert store.calls == {"commit": commits}
        store.calls.clear()
        store.committed.clear()
        await asyncio.gather(*(tab.turn(words) for tab in tabs))
        assert len(store.committed) == commits * SESSIONS
        assert store.calls.keys() == {"commit"}
        assert store.calls["commit"] < len(store.committed)
        for tab in tabs:
            await tab.close()
