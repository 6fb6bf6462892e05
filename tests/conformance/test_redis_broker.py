"""What the broker over Redis promises beyond one process: news arrive, and their loss is noticed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from server.broker.redis import outbox
from server.broker.redis.broker import RedisBroker
from server.broker.redis.pool import open_pool
from server.errors import CloseCode
from server.records import Event, SessionKey
from server.wire.protocol import Encoded, Transient, encode_all, status
from tests.conformance.test_owners import ODD
from tests.services.redis import RedisServer, empty_server, redis_server
from tests.support.writes import event

KEY: SessionKey = SessionKey("ann:o'neil", "00000000-0000-0000-0000-000000000001")
OTHER: SessionKey = SessionKey("eve", KEY.session_id)
WAIT_S = 10
HINT_MAX_BYTES = 2_000
QUEUE_LIMIT = 50


class Listener:
    def __init__(self) -> None:
        self.heard: list[Encoded] = []
        self.transient: list[Transient] = []
        self.heads: list[int] = []

    def hear(self, frames: Sequence[Encoded]) -> None:
        self.heard += frames

    def hint(self, head: int) -> None:
        self.heads.append(head)

    def hear_transient(self, frame: Transient) -> None:
        self.transient.append(frame)

    def close(self, code: CloseCode) -> None:
        raise AssertionError(f"closed with {code}")


class Process:
    """A process's broker, and what it was told."""

    def __init__(self, broker: RedisBroker) -> None:
        self.broker = broker
        self.listener = Listener()
        self.remote: list[tuple[SessionKey, int, Sequence[Event]]] = []
        self.wished: list[SessionKey] = []
        self.changes: list[bool] = []
        broker.start(self, lambda: self.changes.append(broker.connected))

    def hear(self, key: SessionKey, head: int, events: Sequence[Event]) -> None:
        self.remote.append((key, head, events))

    def show(self, key: SessionKey, frame: Transient) -> None:
        self.broker.tell_transient(key, frame)

    def wish(self, key: SessionKey) -> None:
        self.wished.append(key)

    async def listen(self, key: SessionKey = KEY) -> None:
        self.broker.subscribe(key, self.listener)
        await self.broker.joined(key)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                await asyncio.sleep(0.005)  # what another program does has no event here


def news(*seqs: int, text: str = "hello", key: SessionKey = KEY) -> tuple[list[Event], list[Encoded]]:
    events = [event(key.session_id, seq=seq, payload={"text": text}) for seq in seqs]
    return events, encode_all(events)


@pytest.fixture
def server() -> RedisServer:
    return empty_server("plain")


@contextlib.asynccontextmanager
async def running(url: str) -> AsyncIterator[Process]:
    pool = open_pool(url, timeout_ms=500)
    broker = RedisBroker(pool, prefix="t:", timeout_ms=500, queue_limit=QUEUE_LIMIT, hint_max_bytes=HINT_MAX_BYTES)
    process = Process(broker)
    try:
        yield process
    finally:
        await broker.close()
        await pool.aclose()


@pytest.fixture
async def pair(server: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    async with running(server.url) as one, running(server.url) as two:
        for process in (one, two):
            await process.until(lambda: process.broker.connected)  # noqa: B023
        yield one, two


async def test_news_reach_the_subscribers_and_the_engine_of_another_process(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await two.listen()
    events, frames = news(3, 4)
    one.broker.publish(KEY, events, frames)
    await two.until(lambda: len(two.listener.heard) == 2)
    assert two.listener.heard == frames
    assert two.remote == [(KEY, 4, tuple(events))]
    assert one.remote == []  # its own come back, and are not news


async def test_what_the_first_process_subscribed_to_is_heard_there_once(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await one.listen()
    await two.listen()
    for seq in range(1, 30):
        one.broker.publish(KEY, *news(seq))
    await two.until(lambda: len(two.listener.heard) == 29)
    assert [frame.seq for frame in one.listener.heard] == list(range(1, 30))
    assert [frame.seq for frame in two.listener.heard] == list(range(1, 30))


async def test_nobody_hears_of_somebody_elses_session(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await two.listen(OTHER)
    one.broker.publish(KEY, *news(1))
    one.broker.publish(OTHER, *news(1, key=OTHER))
    await two.until(lambda: bool(two.listener.heard))
    assert [key for key, *_ in two.remote] == [OTHER]
    assert len(two.listener.heard) == 1


async def test_news_that_are_too_long_go_as_a_number(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await two.listen()
    one.broker.publish(KEY, *news(7, text="x" * HINT_MAX_BYTES))
    await two.until(lambda: bool(two.remote))
    assert two.remote == [(KEY, 7, ())]
    assert (two.listener.heads, two.listener.heard) == ([7], [])


async def test_a_transient_frame_reaches_the_other_process_and_a_told_one_does_not(
    pair: tuple[Process, Process],
) -> None:
    one, two = pair
    await two.listen()
    one.broker.tell_transient(KEY, status(1, "thinking", "only here"))
    one.broker.publish_transient(KEY, status(1, "thinking", "everywhere"))
    await two.until(lambda: bool(two.listener.transient))
    assert [frame.payload["text"] for frame in two.listener.transient] == ["everywhere"]


async def test_a_process_that_follows_a_session_hears_of_it_without_a_subscriber(
    pair: tuple[Process, Process], server: RedisServer
) -> None:
    one, two = pair
    await two.listen()
    two.broker.follow(KEY)
    two.broker.unsubscribe(KEY, two.listener)  # its last tab goes to the other process, and the turn runs on
    events, frames = news(3)
    one.broker.publish(KEY, events, frames)
    await two.until(lambda: bool(two.remote))
    assert two.remote == [(KEY, 3, tuple(events))]
    assert two.listener.heard == []
    two.broker.unfollow(KEY)
    await two.until(lambda: server.command("PUBSUB", "CHANNELS") == [])


async def test_the_last_subscriber_takes_the_channel_with_it(
    pair: tuple[Process, Process], server: RedisServer
) -> None:
    one, _ = pair
    await one.listen()
    assert server.command("PUBSUB", "NUMSUB", f"t:session:{KEY.session_id}:{KEY.user_id}")[1] == 1
    one.broker.unsubscribe(KEY, one.listener)
    await one.until(lambda: server.command("PUBSUB", "CHANNELS") == [])
    assert one.broker.sessions() == ()


@pytest.mark.parametrize("nemesis", ["killed", "paused", "dropped"])
async def test_a_lost_connection_is_noticed_mended_and_told(nemesis: str) -> None:
    """After the second `changed` every channel is heard again; what was lost in between, the heads tell."""
    with redis_server({"appendonly": "no"}) as server:
        async with running(server.url) as one, running(server.url) as two:
            await two.until(lambda: one.broker.connected and two.broker.connected)
            await two.listen()
            await _strike(server, two, nemesis)
            await two.until(lambda: two.broker.connected and two.changes[-2:] == [False, True])
            await two.until(lambda: one.broker.connected)
            one.broker.publish(KEY, *news(1))
            await two.until(lambda: bool(two.listener.heard))


async def _strike(server: RedisServer, process: Process, nemesis: str) -> None:
    match nemesis:
        case "killed":
            server.kill()
            await process.until(lambda: not process.broker.connected)
            server.start()
        case "paused":
            with server.paused():
                await process.until(lambda: not process.broker.connected)
        case _:
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            await process.until(lambda: process.changes[:1] == [False])


async def test_without_redis_publishing_costs_nothing_and_keeps_nothing(server: RedisServer) -> None:
    with redis_server({"appendonly": "no"}) as dead:
        url = dead.url
    async with running(url) as one:
        await one.listen()  # returns: waiting for Redis would be of no use
        for seq in range(1, 2 * QUEUE_LIMIT):
            one.broker.publish(KEY, *news(seq))
        assert len(one.listener.heard) == 2 * QUEUE_LIMIT - 1
        assert not one.broker.connected


async def test_what_waits_goes_together_also_when_redis_has_forgotten_how(
    pair: tuple[Process, Process], server: RedisServer
) -> None:
    one, two = pair
    await two.listen()
    for turn in range(2):
        server.command("SCRIPT", "FLUSH")
        server.command("CONFIG", "RESETSTAT")
        for seq in range(20 * turn + 1, 20 * turn + 21):
            one.broker.publish(KEY, *news(seq))
        await two.until(lambda: len(two.listener.heard) == 20 * turn + 20)  # noqa: B023
        assert [frame.seq for frame in two.listener.heard] == list(range(1, 20 * turn + 21))
        calls = {name: told["calls"] for name, told in server.command("INFO", "commandstats").items()}
        assert (calls["cmdstat_publish"], calls["cmdstat_evalsha"]) == (20, 2)  # the first try: it was forgotten
    assert one.broker.lost == 0


async def test_what_comes_soon_after_a_message_is_gathered_and_the_first_does_not_wait(
    pair: tuple[Process, Process], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_PAUSE_S", 2.0)
    one, two = pair
    await two.listen()
    one.broker.publish(KEY, *news(1))
    await two.until(lambda: len(two.listener.heard) == 1)
    server.command("CONFIG", "RESETSTAT")
    for seq in range(2, 12):
        one.broker.publish(KEY, *news(seq))
        await asyncio.sleep(0)  # each in a turn of its own
    await two.until(lambda: len(two.listener.heard) == 11)
    assert server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 1


async def test_the_queue_to_redis_has_a_bound(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await two.listen()
    for seq in range(1, 3 * QUEUE_LIMIT):  # at once: the task that sends has no turn in between
        one.broker.publish(KEY, *news(seq))
    await two.until(lambda: len(two.listener.heard) == QUEUE_LIMIT)
    assert one.broker.lost == 2 * QUEUE_LIMIT - 1
    one.broker.publish(KEY, *news(999))
    await two.until(lambda: two.listener.heard[-1].seq == 999)


async def test_a_message_of_another_version_is_no_news_but_a_reason_to_look(
    pair: tuple[Process, Process], server: RedisServer
) -> None:
    _, two = pair
    await two.listen()
    looks = len(two.changes)
    server.command("PUBLISH", f"t:session:{KEY.session_id}:{KEY.user_id}", '{"strange": true}')
    await two.until(lambda: len(two.changes) > looks)
    assert two.remote == []


async def test_many_sessions_are_heard_again_after_a_break(server: RedisServer) -> None:
    """More than one command names."""
    keys = [SessionKey("ann", f"s{number}") for number in range(2_500)]
    async with running(server.url) as one, running(server.url) as two:
        await two.until(lambda: one.broker.connected and two.broker.connected)
        for key in keys:
            two.broker.subscribe(key, two.listener)
        await two.broker.joined(keys[-1])
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await two.until(lambda: two.changes[-1:] == [True] and one.broker.connected)
        assert len(server.command("PUBSUB", "CHANNELS", "t:session:*")) == len(keys)


async def test_who_missed_the_beginning_of_a_turn_asks_the_process_that_runs_it(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await one.listen()
    await two.listen()
    two.broker.ask(KEY)
    await two.until(lambda: bool(one.wished))
    assert (one.wished, two.wished) == ([KEY], [])  # its own wish is not its to grant


async def test_ids_of_every_kind_reach_their_session_alone(pair: tuple[Process, Process]) -> None:
    """What could be part of a channel's name is in the ids; each session's news come under its key."""
    one, two = pair
    keys = [SessionKey(user_id=user_id, session_id=session_id) for user_id in ODD for session_id in ODD]
    for key in keys:
        await two.listen(key)
    for place in range(0, len(keys), QUEUE_LIMIT // 2):
        for number, key in enumerate(keys[place : place + QUEUE_LIMIT // 2], place + 1):
            one.broker.publish(key, *news(number, key=key))
        await two.until(lambda: len(two.remote) == min(place + QUEUE_LIMIT // 2, len(keys)))  # noqa: B023
    assert [(key, head) for key, head, _ in two.remote] == [(key, number) for number, key in enumerate(keys, 1)]
    assert one.broker.lost == 0
