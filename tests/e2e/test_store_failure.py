"""A store that fails loses nothing, creates nothing and says so."""

import asyncio
import uuid

import httpx
import pytest

from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.wire import Client
from tests.support.wrapped import FailingStore, serve

QUICK = Settings(store_retry_ms=50, status_after_ms=0)


@pytest.fixture
def store() -> FailingStore:
    return FailingStore(SqliteStore(MEMORY))


async def test_a_failed_read_at_connect_refuses_for_now_and_creates_nothing(store: FailingStore) -> None:
    session_id = str(uuid.uuid4())
    async with serve(store, WORKFLOWS, QUICK) as port:
        store.broken.add("load")
        async with Client(port, session_id=session_id) as client:
            error = await client.until_type("error")
            assert (error["payload"]["code"], error["payload"]["temporary"]) == ("store_unavailable", True)
            assert error["payload"]["retry_ms"] > 0
            assert await client.until_closed() == 4103
        assert store.committed == []
        store.broken.clear()
        async with Client(port, session_id=session_id) as client:
            await client.until_type("live")
            assert client.texts() == ["Welcome."]


async def test_a_session_that_cannot_be_started_is_refused_for_now(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, QUICK) as port:
        store.broken.add("commit")
        async with Client(port) as client:
            assert await client.until_closed() == 4103
            assert client.durable == []


async def test_a_line_that_cannot_be_committed_is_refused_and_can_be_sent_again(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, QUICK) as port, Client(port) as client:
        await client.until_type("live")
        store.broken.add("commit")
        await client.say("hello", "one")
        error = await client.until_type("error", id="one")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("store_unavailable", True)
        store.broken.clear()
        await client.turn("hello", "one")
        assert client.texts() == ["Welcome.", "you said hello"]


async def test_a_lost_answer_of_a_commit_is_looked_up_not_repeated(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, QUICK) as port, Client(port) as client:
        await client.until_type("live")
        store.broken.add("answer")
        await client.say("hello", "one")
        await client.until_type("error", id="one")
        store.broken.clear()
        await client.say("hello", "one")
        assert (await client.until_type("ack", id="one"))["payload"]["duplicate"] is True
        await client.turn("next")
        assert client.texts("user") == ["hello", "next"]
        assert client.texts() == ["Welcome.", "you said hello", "you said next"]


async def test_a_turn_waits_for_its_store_and_its_step_runs_once(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, QUICK) as port, Client(port) as client:
        await client.until_type("live")
        line = await client.say("sleep 0.3")
        turn = (await client.until_type("ack", id=line))["payload"]["seq"]
        await client.until_type("status_update")
        store.broken.add("answer")
        commits = store.calls["commit"]
        while store.calls["commit"] < commits + 3:
            await asyncio.sleep(0.01)  # polling a counter in this process
        assert client.texts() == ["Welcome."], "nothing is shown before it is known to be durable"
        store.broken.clear()
        await client.until_type("state_update", turn=turn)
        assert client.texts() == ["Welcome.", "slept 0.3"]
        await client.turn("next")
        assert [frame["seq"] for frame in client.durable] == list(range(1, len(client.durable) + 1))


async def test_a_store_that_is_away_makes_the_server_not_ready(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, QUICK) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert (await http.get("/readyz")).status_code == 200
        store.broken.add("load")
        response = await http.get("/readyz")
        assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
        assert response.headers["retry-after"]
        assert (await http.get("/healthz")).status_code == 200
