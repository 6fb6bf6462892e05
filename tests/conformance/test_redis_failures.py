"""What the Redis store does when Redis is killed, stands still, is full, or answers into the void."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
from redis.exceptions import ResponseError

from server.engine.group_commit import GroupCommit
from server.errors import StoreUnavailable
from server.records import UNKNOWN, Committed, Duplicate, Outcome, SessionKey, Settled, Write
from server.store.redis.store import RedisStore
from tests.conformance.opened_redis import calls, opened
from tests.services.proxy import Proxy
from tests.services.redis import DURABLE, RedisServer, redis_server
from tests.support.writes import USER, accept, commit, committed, event, log_of, open_session, snapshot, turn

DEADLINE_MS: Final = 300


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that may be spoiled."""
    with redis_server(DURABLE) as server:
        yield server


# ---------------------------------------------------------------- a server that refuses to write

#: What is done to the server, what it says then, and what mends it.
REFUSALS: Final = {
    "its memory is full": (["CONFIG SET maxmemory 1"], "OOM|OutOfMemory", ["CONFIG SET maxmemory 0"]),
    "it became a replica": (["REPLICAOF 127.0.0.1 1"], "read only|READONLY", ["REPLICAOF NO ONE"]),
    "it cannot save": (
        ["CONFIG SET dir /proc", "BGSAVE"],
        "MISCONF",
        ["CONFIG SET stop-writes-on-bgsave-error no"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_server_that_refuses_to_write_writes_nothing_and_may_be_mended(name: str) -> None:
    spoil, reason, mend = REFUSALS[name]
    with redis_server(DURABLE | {"save": "3600 1000000"}) as server:
        async with opened(server) as store:
            before, other = await open_session(store), await open_session(store)
            batch = [accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3), turn(other)]
            for command in spoil:
                server.command(*command.split())
            while server.command("INFO", "persistence")["rdb_bgsave_in_progress"]:
                await asyncio.sleep(0.01)  # polling a process that can only be asked
            with pytest.raises(StoreUnavailable, match=reason):
                await store.commit(batch)
            assert await snapshot(store, before.session_id) == before
            assert await snapshot(store, other.session_id) == other
            for command in mend:
                server.command(*command.split())
            assert [type(outcome) for outcome in await store.commit(batch)] == [Committed] * 3


async def test_memory_that_fills_up_ends_between_two_batches() -> None:
    """Redis takes a script that it began to its end, so a full memory never stops one half-way."""
    with redis_server(DURABLE | {"maxmemory": "2mb"}) as server:
        async with opened(server) as store:
            before = await open_session(store)
            text = {"text": "x" * 20_000}
            taken: list[Outcome] = []

            async def fill() -> None:
                for _ in range(100):
                    taken.extend(await store.commit([accept(before.session_id, payload=text) for _ in range(5)]))

            with pytest.raises(StoreUnavailable, match=r"OOM|OutOfMemory"):
                await fill()
            assert taken
            assert len(await log_of(store, before.session_id)) == 2 + len(taken)
            server.command("CONFIG", "SET", "maxmemory", "100mb")
            await committed(store, accept(before.session_id, payload=text))


def _is_busy(server: RedisServer) -> bool:
    try:
        server.command("PING")
    except ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_a_script_of_somebody_else_that_takes_too_long_is_not_waited_for() -> None:
    with redis_server(DURABLE | {"lua-time-limit": "20"}) as server:
        async with opened(server) as store:
            before = await open_session(store)
            endless = asyncio.create_task(asyncio.to_thread(server.command, "EVAL", "while true do end", 0))
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(_is_busy, server):
                    assert not endless.done()
            with pytest.raises(StoreUnavailable, match="BUSY"):
                await commit(store, accept(before.session_id, "c1"))
            server.command("SCRIPT", "KILL")
            with pytest.raises(ResponseError):
                await endless
            await committed(store, accept(before.session_id, "c1"))


async def test_a_full_disk_ends_the_server_before_it_answers(server: RedisServer) -> None:
    """With appendfsync always Redis rather ends than acknowledge what it could not write."""
    async with opened(server, timeout_ms=DEADLINE_MS) as store:
        before = await open_session(store)
        size = (server.folder / "appendonly.aof").stat().st_size
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 300, resource.RLIM_INFINITY))
        with pytest.raises(StoreUnavailable):
            await store.commit([accept(before.session_id, "c1"), turn(before, answers=3)])
        await asyncio.to_thread(server.wait)
        await asyncio.to_thread(server.start)
        assert await snapshot(store, before.session_id) == before
        assert [type(one) for one in await store.commit([accept(before.session_id, "c1")])] == [Committed]


# ---------------------------------------------------------------- a server that does not answer


async def test_a_server_that_stands_still_is_given_up_in_time_and_taken_up_again(server: RedisServer) -> None:
    async with opened(server, timeout_ms=DEADLINE_MS, connections=2) as store:
        before = await open_session(store)
        with server.paused():
            async with asyncio.timeout(20):
                waiting = [
                    commit(store, accept(before.session_id, "c1")),
                    *(
                        store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(10)
                    ),  # more than there are connections
                ]
                given_up = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in given_up} == {StoreUnavailable}
        async with asyncio.timeout(20):
            while True:  # what was left behind has to end first
                with contextlib.suppress(StoreUnavailable):
                    log = await log_of(store, before.session_id)
                    break
        # Redis found the line in its socket when it woke: an unknown outcome, and the client's id says which.
        outcome = await commit(store, accept(before.session_id, "c1"))
        assert isinstance(outcome, Duplicate if len(log) == 3 else Committed)
        assert len(await log_of(store, before.session_id)) == 3


async def test_a_server_that_is_away_is_unavailable_and_comes_back(server: RedisServer) -> None:
    async with opened(server) as store:
        before = await open_session(store)
        await asyncio.to_thread(server.kill)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await commit(store, accept(before.session_id, "c1"))
            with pytest.raises(StoreUnavailable):
                await store.load(SessionKey(USER, before.session_id), 0, 10)
        await asyncio.to_thread(server.start)
        await committed(store, accept(before.session_id, "c1"))


async def test_close_waits_for_what_was_given_up(server: RedisServer) -> None:
    store = RedisStore(server.url, timeout_ms=DEADLINE_MS)
    await store.open()
    with server.paused():
        with pytest.raises(StoreUnavailable):
            await store.heads([])
        async with asyncio.timeout(20):
            await store.close()


# ---------------------------------------------------------------- an answer that never comes


@contextlib.asynccontextmanager
async def behind_proxy(server: RedisServer) -> AsyncIterator[tuple[RedisStore, Proxy]]:
    async with Proxy(server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0")
        await store.open()
        yield store, proxy
        await store.close()


async def _through_group_commit(store: RedisStore, writes: list[Write]) -> list[Settled]:
    group = GroupCommit(store, batch_limit=100, queue_limit=100)
    outcomes: list[asyncio.Future[Settled]] = []
    for write in writes:
        outcomes.append(asyncio.get_running_loop().create_future())
        assert group.submit(write, outcomes[-1].set_result)
    group.start()
    await group.close()
    return [outcome.result() for outcome in outcomes]


async def test_a_commit_whose_answer_is_lost_is_not_sent_again_by_itself(server: RedisServer) -> None:
    async with behind_proxy(server) as (store, proxy):
        before = await open_session(store)
        scripts = calls(server, "evalsha")
        proxy.cut_next_answer()
        with pytest.raises(StoreUnavailable):
            await store.commit([accept(before.session_id), accept(before.session_id)])
        assert calls(server, "evalsha") == scripts + 1
        assert len(await log_of(store, before.session_id)) == 4


async def test_a_lost_answer_is_looked_up_and_acknowledged_once(server: RedisServer) -> None:
    async with behind_proxy(server) as (store, proxy):
        before, other = await open_session(store), await open_session(store)
        batch = [accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3), turn(other)]
        proxy.cut_next_answer()
        outcomes = await _through_group_commit(store, batch)
        assert proxy.cuts == 1
        assert [type(outcome) for outcome in outcomes] == [Committed] * 3
        log = await log_of(store, before.session_id)
        said = [event for outcome in outcomes[:2] if isinstance(outcome, Committed) for event in outcome.events]
        assert list(log[2:]) == said
        assert len(await log_of(store, other.session_id)) == 3


async def test_a_lost_lookup_is_an_unknown_outcome_and_the_next_try_finds_it(server: RedisServer) -> None:
    async with behind_proxy(server) as (store, proxy):
        before = await open_session(store)
        proxy.cut_next_answer()

        async def refuse() -> None:
            while not proxy.cuts:
                await asyncio.sleep(0)
            await proxy.refuse()

        [unknown], _ = await asyncio.gather(_through_group_commit(store, [accept(before.session_id, "c1")]), refuse())
        assert unknown is UNKNOWN
        await proxy.accept()
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Duplicate)
        assert len(await log_of(store, before.session_id)) == 3


async def test_callers_that_leave_mix_up_nobodys_answers(server: RedisServer) -> None:
    """Each session says its own id in every event; whatever is cancelled, nobody ever reads another's."""
    async with opened(server, connections=2) as store:
        sessions = [await open_session(store) for _ in range(10)]
        for before in sessions:
            canary = {"text": before.session_id, "padding": "x" * 5_000}
            await store.commit([accept(before.session_id, f"c{number}", payload=canary) for number in range(20)])
        connections = server.command("INFO", "stats")["total_connections_received"]

        async def ask(session_id: str) -> None:
            page, loaded, line = await asyncio.gather(
                store.read(SessionKey(USER, session_id), 2, 20),
                store.load(SessionKey(USER, session_id), 2, 20),
                store.find(SessionKey(USER, session_id), "c7"),
            )
            assert loaded is not None
            assert line is not None
            seen = {said.payload["text"] for said in [*page, *loaded.events, *loaded.inbox, line]}
            assert seen == {session_id}
            assert len(page) == 20

        for steps in range(12):
            leaving = [asyncio.create_task(ask(before.session_id)) for before in sessions]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*(ask(before.session_id) for before in sessions))
            await asyncio.wait(leaving)
        # Not one command was cut off: that would have cost its connection. One more is the second of the store's own,
        # one the question itself.
        assert server.command("INFO", "stats")["total_connections_received"] - connections <= 2
