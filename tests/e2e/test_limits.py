"""Every bound is a setting, and this is what happens when it is reached (L12)."""

import asyncio
import contextlib
import socket
import uuid
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.clock import now_ms
from server.records import Event, Write
from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.wire import Client
from tests.support.wrapped import FailingStore, serve


@pytest.fixture
def store() -> FailingStore:
    return FailingStore(SqliteStore(MEMORY))


async def test_the_inbox_is_bounded_and_known_lines_are_still_acknowledged(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(inbox_limit=3)) as port, Client(port) as client:
        await client.until_type("live")
        for number in range(3):
            await client.say("sleep 5", f"line {number}")
            await client.until_type("ack", id=f"line {number}")
        await client.say("one too many", "line 3")
        error = await client.until_type("error", id="line 3")
        assert (error["payload"]["code"], error["payload"]["temporary"]) == ("inbox_full", True)
        await client.say("sleep 5", "line 1")
        assert (await client.until_type("ack", id="line 1"))["payload"]["duplicate"] is True


async def test_lines_are_limited_in_rate(store: FailingStore) -> None:
    settings = Settings(line_rate_per_s=1, line_burst=2)
    async with serve(store, WORKFLOWS, settings) as port, Client(port) as client:
        await client.until_type("live")
        for number in range(3):
            await client.say("quick", f"line {number}")
        error = await client.until_type("error")
        assert (error["payload"]["code"], error["payload"]["id"]) == ("rate_limited", "line 2")
        assert 0 < error["payload"]["retry_ms"] <= 1000


async def test_a_flood_of_frames_is_cut(store: FailingStore) -> None:
    settings = Settings(frame_rate_per_s=1, frame_burst=10)
    async with serve(store, WORKFLOWS, settings) as port, Client(port) as client:
        await client.until_type("live")
        for _ in range(11):
            await client.send({"type": "ping"})
        assert await client.until_closed() == 4102


async def test_connections_are_limited_in_all_and_to_one_session(store: FailingStore) -> None:
    settings = Settings(connection_limit=3, connections_per_session_limit=2)
    async with serve(store, WORKFLOWS, settings) as port:
        session_id = str(uuid.uuid4())
        async with Client(port, session_id=session_id) as one, Client(port, session_id=session_id) as two:
            await one.until_type("live")
            await two.until_type("live")
            assert await _refused(port, session_id) == 429
            async with Client(port) as three:
                await three.until_type("live")
                assert await _refused(port, str(uuid.uuid4())) == 503
        async with Client(port, session_id=session_id) as again:
            await again.until_type("live")


async def test_sessions_awake_are_limited_and_idle_ones_make_room(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(session_max_concurrent=1)) as port, Client(port) as idle:
        await idle.until_type("live")
        async with Client(port) as busy:  # the idle session is let go: the store has it
            await busy.until_type("live")
            line = await busy.say("sleep 5")
            await busy.until_type("ack", id=line)
            await idle.say("hello", "refused")
            error = await idle.until_type("error", id="refused")
            assert (error["payload"]["code"], error["payload"]["temporary"]) == ("overloaded", True)


async def test_a_new_session_for_which_there_is_no_room_is_told_to_come_back_later(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(session_max_concurrent=1)) as port, Client(port) as busy:
        await busy.until_type("live")
        line = await busy.say("sleep 30")
        await busy.until_type("ack", id=line)
        async with Client(port) as another:
            assert await another.until_closed() == 4101


class Gated(FailingStore):
    """Whoever comes to a closed gate waits there; `waiting` is how many do. `closed` names the calls that have one."""

    def __init__(self) -> None:
        super().__init__(SqliteStore(MEMORY))
        self.closed: set[str] = set()
        self.waiting = 0
        self.opens = asyncio.Event()

    async def reached(self, name: str) -> None:
        if name in self.closed:
            self.waiting += 1
            await self.opens.wait()
        await super().reached(name)

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.waiting < count:
                await asyncio.sleep(0.002)


async def test_lines_that_come_before_the_session_is_read_are_bounded() -> None:
    store = Gated()
    async with serve(store, WORKFLOWS, Settings(inbox_limit=2)) as port:
        store.closed = {"load"}
        async with Client(port) as client:
            for number in range(3):
                await client.say("hello", f"line {number}")
            error = await client.until_type("error")
            assert (error["payload"]["code"], error["payload"]["id"]) == ("inbox_full", "line 2")
            store.opens.set()
            for number in range(2):
                await client.until_type("ack", id=f"line {number}")


async def test_the_longest_idle_session_makes_room(store: FailingStore) -> None:
    async with (
        serve(store, WORKFLOWS, Settings(session_max_concurrent=17)) as port,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(Client(port)) for _ in range(17)]
        for client in clients:
            await client.until_type("live")
        came_ms = now_ms()
        while now_ms() == came_ms:  # idleness is measured in milliseconds, and of two that are equal either may go
            await asyncio.sleep(0)
        await clients[0].turn("I was the first to come, and the last to speak")
        async with Client(port) as another:  # 16 are let go at once, and the one that spoke last is not among them
            await another.until_type("live")
        loads = store.calls["load"]
        await clients[0].turn("still awake")
        assert store.calls["load"] == loads
        await clients[1].turn("awake again")
        assert store.calls["load"] == loads + 1


async def test_an_idle_session_is_let_go_and_wakes_for_its_next_line(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(session_idle_ms=40)) as port, Client(port) as client:
        await client.until_type("live")
        await client.turn("one")
        loads = store.calls["load"]
        await asyncio.sleep(0.3)  # longer than SESSION_IDLE_MS and its search
        await client.turn("two")
        assert store.calls["load"] == loads + 1
        assert client.texts() == ["Welcome.", "you said one", "you said two"]


async def test_an_answer_is_limited_in_size(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS) as port, Client(port) as client:
        await client.until_type("live")
        await client.turn("huge")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "answer_too_large"


async def test_a_streamed_answer_is_bounded(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(turn_max_bytes=300)) as port, Client(port) as client:
        await client.until_type("live")
        await client.say(f"stream 0 {'x' * 250} yyy {'z' * 250}")
        assert (await client.until_type("turn_failed"))["payload"]["code"] == "answer_too_large"
        said = "".join(f["payload"]["text"] for f in client.frames if f.get("type") == "stream_delta")
        assert said == "x" * 250 + "yyy"
        await client.turn("next")


async def test_the_pieces_of_an_answer_are_rolled_up(store: FailingStore) -> None:
    settings = Settings(delta_ms=10_000, delta_max_chars=6)
    async with serve(store, WORKFLOWS, settings) as port, Client(port) as client:
        await client.until_type("live")
        await client.turn("stream 0 aa bb cc dd ee ff gg")
        pieces = [f["payload"]["text"] for f in client.frames if f.get("type") == "stream_delta"]
        assert pieces == ["aa", "bbccdd", "eeffgg"]


async def test_an_answer_is_limited_in_frames(store: FailingStore) -> None:
    async with serve(store, WORKFLOWS, Settings(turn_max_frames=5)) as port, Client(port) as client:
        await client.until_type("live")
        await client.turn("many 5")
        assert client.texts()[1:] == [f"frame {number}" for number in range(5)]
        await client.turn("many 6")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        assert failed["payload"]["code"] == "answer_too_large"


async def test_a_step_sees_the_last_events_and_no_more(store: FailingStore) -> None:
    async with (
        serve(store, WORKFLOWS, Settings(chat_context_limit=3)) as port,
        Client(port, workflow="recall") as client,
    ):
        await client.until_type("live")
        await client.turn("one")
        ended = await client.turn("recall")
        turn = ended["payload"]["turn"]
        assert client.texts()[-1] == f"events {[turn - 3, turn - 2, turn - 1]}"


async def test_a_message_beyond_what_a_socket_reads_is_cut_and_nobody_else_notices(store: FailingStore) -> None:
    settings = Settings(socket_max_bytes=100_000)
    async with serve(store, WORKFLOWS, settings) as port, Client(port) as other, Client(port) as client:
        await other.until_type("live")
        await client.until_type("live")
        await client.say("x" * 90_000)
        assert (await client.until_type("error"))["payload"]["code"] == "too_large"
        await client.say("x" * 110_000)
        assert await client.until_closed() == 1009
        await other.turn("still here")


async def test_a_search_for_unanswered_lines_is_limited_and_goes_on_until_there_are_none(tmp_path: Path) -> None:
    store = FailingStore(SqliteStore(str(tmp_path / "x.db")))
    sessions = [str(uuid.uuid4()) for _ in range(5)]
    async with serve(store, WORKFLOWS) as port:
        for session_id in sessions:
            async with Client(port, session_id=session_id) as client:
                await client.until_type("live")
    left = SqliteStore(str(tmp_path / "x.db"))
    await left.open()
    await left.commit([_line(session_id) for session_id in sessions])
    await left.close()
    inner = SqliteStore(str(tmp_path / "x.db"))
    store = FailingStore(inner)
    async with serve(store, WORKFLOWS, Settings(sweep_limit=2, store_retry_ms=20)) as port:
        async with asyncio.timeout(10):
            while await inner.pending(2**62, 100):
                await asyncio.sleep(0.02)  # polling the store, as nobody is told
        for session_id in sessions:
            async with Client(port, session_id=session_id) as client:
                await client.until_type("live")
                assert client.texts() == ["Welcome.", "you said left behind"]
    assert len(store.woken) >= 3
    assert max(store.woken) == 2


async def test_writes_that_wait_for_a_transaction_are_limited() -> None:
    store = Gated()
    settings = Settings(commit_queue_limit=1, batch_limit=1)
    async with serve(store, WORKFLOWS, settings) as port, contextlib.AsyncExitStack() as stack:
        clients = [Client(port) for _ in range(3)]
        for client in clients:  # one after the other: three greetings at once do not fit into the queue either
            await stack.enter_async_context(client)
            await client.until_type("live")
        writing, queued, refused = clients
        store.closed = {"commit"}
        await writing.say("hello", "one")
        await store.until_waiting(1)
        await queued.say("hello", "two")
        await queued.send({"type": "ping", "n": 1})
        await queued.until_type("pong")  # so the line before it was received, and queued
        await refused.say("hello", "three")
        error = await refused.until_type("error", id="three")
        assert error["payload"]["code"] == "overloaded"
        store.closed = set()
        store.opens.set()
        await writing.until_type("ack", id="one")
        await queued.until_type("ack", id="two")


async def test_a_silent_native_client_is_cut(store: FailingStore) -> None:
    settings = Settings(heartbeat_ms=250, heartbeat_lost_ms=2_000)
    async with serve(store, WORKFLOWS, settings) as port, Client(port) as client:
        await client.until_type("live")
        ping = await client.until_type("ping")
        assert ping["payload"]["head"] == 2
        for _ in range(12):  # a client that answers lives longer than HEARTBEAT_LOST_MS
            await client.until_type("ping")
            await client.send({"type": "pong", "n": 1})
        await client.until_closed()


async def test_a_reader_that_stops_costs_nothing_and_loses_nothing(store: FailingStore) -> None:
    """Its queue is dropped and fed from the store; when it takes nothing at all it is cut, and resumes."""
    settings = Settings(
        send_queue_soft_bytes=20_000,
        send_queue_hard_bytes=60_000,
        send_stall_ms=1500,
        line_burst=2000,
        inbox_limit=2000,
        frame_burst=5000,
    )
    session_id = str(uuid.uuid4())
    async with serve(store, WORKFLOWS, settings) as port, Client(port, session_id=session_id) as writer:
        await writer.until_type("live")
        reader = await connect(
            f"ws://127.0.0.1:{port}/ws?session_id={session_id}&workflow=echo",
            subprotocols=["rejoinder.v1"],  # type: ignore[list-item]
            compression=None,
            max_queue=1,
            proxy=None,
            ping_interval=None,
        )
        reader.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        text = "x" * 4000
        for number in range(1000):
            await writer.say(f"{number} {text}")
        await writer.until(lambda frame: frame.get("seq") == 2 + 3 * 1000, "the last frame")
        async with asyncio.timeout(10):
            while len(port.gateway.connections) > 1:
                await asyncio.sleep(0.05)  # the cut comes by the clock
        reader.transport.abort()
        async with Client(port, session_id=session_id) as again:
            await again.until(lambda frame: frame.get("seq") == 2 + 3 * 1000, "the last frame")
            assert again.durable == writer.durable


def _line(session_id: str) -> Write:
    """A line that was accepted by a process that is no more."""
    said = {"text": "left behind", "sub_title": None, "list_items": None, "format": "plain"}
    line = Event(
        session_id=session_id,
        type="chat_message",
        role="user",
        message_id=f"line of {session_id}",
        payload=said,
        created_at=1,
        client_id="line",
    )
    return Write(session_id=session_id, user_id="anonymous", events=(line,), client_id="line")


async def _refused(port: int, session_id: str) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{port}/ws?workflow=echo&session_id={session_id}", proxy=None):
            pass
    assert refused.value.response.headers["retry-after"]
    return refused.value.response.status_code
