"""What only the Redis store promises: its keys, its scripts, what is not ours, and two stores at once."""

import asyncio
from collections.abc import Iterator

import pytest
from msgspec import structs

from server.errors import InvalidWrite, SessionUnreadable, StoreUnavailable
from server.records import Committed, Conflict, Failed, SessionKey, Write
from server.store.redis.store import RedisStore
from tests.conformance.opened_redis import calls, opened, restarted
from tests.services.redis import DURABLE, RedisServer, empty_server, redis_server
from tests.support.writes import (
    STRANGER,
    T0_MS,
    USER,
    accept,
    commit,
    committed,
    event,
    greeting,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)


@pytest.fixture
def server() -> RedisServer:
    """The server that all these tests share, empty."""
    return empty_server("durable")


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that may be spoiled."""
    with redis_server(DURABLE) as server:
        yield server


# ---------------------------------------------------------------- keys


async def test_every_key_begins_with_the_prefix_and_no_two_prefixes_meet(server: RedisServer) -> None:
    async with opened(server, prefix="one:") as one, opened(server, prefix="two:") as two:
        before = await open_session(one)
        await committed(one, accept(before.session_id, "c1"))
        assert await two.load(SessionKey(USER, before.session_id), 0, 10) is None
        assert await two.pending(T0_MS + 1000, 10) == []
    assert {key.partition(":")[0] for key in server.command("KEYS", "*")} == {"one", "two"}


async def test_delete_leaves_no_key(server: RedisServer) -> None:
    async with opened(server) as store:
        before = await open_session(store)
        slides = event(before.session_id, "slide_update")
        await store.commit([accept(before.session_id, "c1"), turn(before, slides), accept(before.session_id, "c2")])
        assert len(server.command("KEYS", "*")) == 8
        await store.delete(SessionKey(USER, before.session_id))
        assert server.command("KEYS", "*") == ["rejoinder:schema"]


async def test_a_deck_belongs_to_the_session_that_made_it_first(server: RedisServer) -> None:
    """A message id that comes twice neither moves a deck's link nor lets a stranger delete it."""
    async with opened(server) as store:
        first, second = await open_session(store), await open_session(store, user_id=STRANGER)
        slides = event(first.session_id, "slide_update")
        await committed(store, turn(first, slides))
        await committed(store, turn(second, structs.replace(slides, session_id=second.session_id), user_id=STRANGER))
        await store.delete(SessionKey(STRANGER, second.session_id))
        deck = await store.published(slides.message_id, "slide_update")
        assert deck is not None
        assert deck.session_id == first.session_id


async def test_a_number_that_lua_cannot_count_is_an_invalid_write(server: RedisServer) -> None:
    async with opened(server) as store:
        before = await open_session(store)
        for write in (accept(before.session_id, created_at=2**53), turn(before, answers=2**70)):
            with pytest.raises(InvalidWrite):
                await store.commit([accept(before.session_id), write])
        assert await snapshot(store, before.session_id) == before
        assert await commit(store, turn(structs.replace(before, version=2**70))) == Conflict(1)
        largest = 2**53 - 10
        [line] = await committed(store, accept(before.session_id, created_at=largest))
        assert line.created_at == largest
        assert await store.read(SessionKey(USER, before.session_id), 2, 1) == [line]


@pytest.mark.parametrize("after", [-1, -(2**70)])
async def test_what_is_behind_less_than_nothing_is_everything(server: RedisServer, after: int) -> None:
    """A list in Redis counts negative numbers from its end."""
    async with opened(server) as store:
        before = await open_session(store)
        await store.commit([accept(before.session_id) for _ in range(3)])
        log = await log_of(store, before.session_id)
        assert await store.read(SessionKey(USER, before.session_id), after, 10) == log
        assert await store.read(SessionKey(USER, before.session_id), 0, -1) == []
        assert list(await store.list(USER, -1)) == []
        assert await store.pending(T0_MS * 2, -1) == []


# ---------------------------------------------------------------- what is not ours


WRONG: dict[str, tuple[str, ...]] = {
    "session": ("SET", "rejoinder:2:session:eve:{}", "x"),
    "log": ("SET", "rejoinder:2:log:eve:{}", "x"),
    "clients": ("SET", "rejoinder:2:clients:eve:{}", "x"),
    "decks": ("SET", "rejoinder:2:decks:eve:{}", "x"),
    "user": ("SET", "rejoinder:2:user:eve", "x"),
    "another hash": ("HSET", "rejoinder:2:session:eve:{}", "colour", "blue"),
    "a hash without numbers": ("HSET", "rejoinder:2:session:eve:{}", "user_id", "eve", "seq", "many"),
    "a longer log": ("RPUSH", "rejoinder:2:log:eve:{}", "x"),
    "ids of a session that is gone": ("HSET", "rejoinder:2:clients:eve:{}", "c1", "1"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_under_our_keys_and_not_ours_fails_one_write_alone(server: RedisServer, name: str) -> None:
    session_id = new_session()
    command = [word.replace("{}", session_id) for word in WRONG[name]]
    async with opened(server) as store:
        before = await open_session(store)
        server.command(*command)
        as_it_was = server.command("DEBUG", "DIGEST-VALUE", command[1])
        bad = greeting(session_id, user_id=STRANGER)
        first, failed, last = await store.commit([accept(before.session_id, "c1"), bad, turn(before, answers=3)])
        assert isinstance(first, Committed)
        assert isinstance(last, Committed)
        assert failed in (Failed("WRONGTYPE"), Failed("DAMAGED"))
        assert server.command("DEBUG", "DIGEST-VALUE", command[1]) == as_it_was
        assert set(server.command("KEYS", f"*{session_id}")) <= {command[1]}
        assert len(await log_of(store, before.session_id)) == 4


async def test_a_list_of_the_waiting_that_is_none_stops_everybody_and_writes_nothing(server: RedisServer) -> None:
    async with opened(server) as store:
        before = await open_session(store)
        server.command("SET", "rejoinder:2:waiting", "x")
        with pytest.raises(StoreUnavailable):
            await commit(store, accept(before.session_id, "c1"))
        with pytest.raises(StoreUnavailable):
            await store.delete(SessionKey(USER, before.session_id))
        server.command("DEL", "rejoinder:2:waiting")
        assert await snapshot(store, before.session_id) == before
        await committed(store, accept(before.session_id, "c1"))


@pytest.mark.parametrize(
    "command",
    [
        ("LSET", "rejoinder:2:log:ann:{}", "1", "no JSON"),
        ("LSET", "rejoinder:2:log:ann:{}", "1", '[1,2,3,"chat_message"]'),
        (
            "LSET",
            "rejoinder:2:log:ann:{}",
            "1",
            '[7,1,0,"chat_message","assistant","m",null,{"a":1}]',
        ),  # not the second event
        ("SET", "rejoinder:2:log:ann:{}", "x"),
        ("HSET", "rejoinder:2:session:ann:{}", "memory", "{"),
        ("HSET", "rejoinder:2:session:ann:{}", "version", "one"),
        ("HDEL", "rejoinder:2:session:ann:{}", "state"),
    ],
)
async def test_what_was_damaged_is_never_taken_for_an_answer(server: RedisServer, command: tuple[str, ...]) -> None:
    async with opened(server) as store:
        before, other = await open_session(store), await open_session(store)
        server.command(*(word.replace("{}", before.session_id) for word in command))
        with pytest.raises((StoreUnavailable, SessionUnreadable)):
            await store.load(SessionKey(USER, before.session_id), 0, 10)
        assert await snapshot(store, other.session_id) == other


# ---------------------------------------------------------------- scripts


async def test_a_batch_is_one_script_whatever_its_size(server: RedisServer) -> None:
    async with opened(server) as store:
        sessions = [await open_session(store) for _ in range(101)]

        def batch(count: int) -> list[Write]:
            some = [sessions.pop() for _ in range(count)]
            return [write for one in some for write in (accept(one.session_id, "c1"), turn(one, answers=3))]

        for count in (1, 100):
            before = calls(server, "evalsha")
            await store.commit(batch(count))
            assert calls(server, "evalsha") == before + 1


async def test_a_page_behind_ten_thousand_events_is_one_call(server: RedisServer) -> None:
    async with opened(server) as store:
        before = await open_session(store)
        for _ in range(20):
            await store.commit([accept(before.session_id, payload={"text": "x" * 50}) for _ in range(500)])
        scripts, ranges = calls(server, "evalsha"), calls(server, "lrange")
        page = await store.read(SessionKey(USER, before.session_id), 10_000, 200)
        assert [said.seq for said in page] == [10_001, 10_002]
        page = await store.read(SessionKey(USER, before.session_id), 5_000, 200)
        assert [said.seq for said in page] == list(range(5_001, 5_201))
        assert (calls(server, "evalsha") - scripts, calls(server, "lrange") - ranges) == (2, 2)


@pytest.mark.parametrize("forget", ["SCRIPT FLUSH", "restart"])
async def test_scripts_that_redis_forgot_are_sent_again(own_server: RedisServer, forget: str) -> None:
    async with opened(own_server) as store:
        before = await open_session(store)
        for number in range(2):
            if forget == "restart":
                await restarted(own_server)
            else:
                own_server.command("SCRIPT", "FLUSH")
            await committed(store, accept(before.session_id, f"c{number}"))
            assert len(await log_of(store, before.session_id)) == 3 + number
        assert calls(own_server, "eval") > 0


async def test_what_was_committed_is_there_after_a_kill(own_server: RedisServer) -> None:
    async with opened(own_server) as store:
        before = await open_session(store)
        await committed(store, accept(before.session_id, "c1"))
        log = await log_of(store, before.session_id)
        await restarted(own_server)
        assert await log_of(store, before.session_id) == log
        assert not isinstance(await commit(store, accept(before.session_id, "c1")), Committed)


# ---------------------------------------------------------------- many callers


async def test_two_stores_see_each_others_commits(server: RedisServer) -> None:
    async with opened(server) as one, opened(server) as two:
        before = await open_session(one)
        assert await snapshot(two, before.session_id) == before
        [line] = await committed(two, accept(before.session_id, "c1"))
        assert await one.find(SessionKey(USER, before.session_id), "c1") == line
        await committed(one, turn(before, answers=3))
        assert await commit(two, turn(before, answers=3)) == Conflict(2)


async def test_sixteen_writers_over_two_stores_have_one_winner_a_version(server: RedisServer) -> None:
    async with opened(server) as one, opened(server) as two:
        before = await open_session(one)
        for version in range(1, 11):
            writes = [turn(before, to=f"{version}/{number}") for number in range(16)]
            outcomes = await asyncio.gather(
                *(commit((one, two)[number % 2], write) for number, write in enumerate(writes))
            )
            winners = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Committed)]
            assert len(winners) == 1
            assert [outcome for outcome in outcomes if isinstance(outcome, Conflict)] == [Conflict(version + 1)] * 15
            before = await snapshot(two, before.session_id)
            assert (before.version, before.state) == (version + 1, f"{version}/{winners[0]}")
        assert before.seq == 2 + 10


async def test_many_stores_may_open_an_empty_server_at_once(server: RedisServer) -> None:
    stores = [RedisStore(server.url) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    before = await open_session(stores[0])
    for store in stores:
        assert await snapshot(store, before.session_id) == before
        await store.close()


async def test_connections_are_bounded_and_the_rest_waits(server: RedisServer) -> None:
    async with opened(server, connections=3) as store:
        before = await open_session(store)
        made = server.command("INFO", "stats")["total_connections_received"]
        pages = await asyncio.gather(*(store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(50)))
        assert {len(page) for page in pages} == {2}
        # One of the three was there; the last one is the question itself.
        assert server.command("INFO", "stats")["total_connections_received"] - made == 2 + 1
