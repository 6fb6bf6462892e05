"""Redis is killed, or its power goes: nothing acknowledged is lost, and no batch is there by half."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from server.errors import StoreUnavailable
from server.records import Committed, Conflict, Duplicate, SessionKey, fold
from tests.conformance.opened_redis import opened
from tests.services.redis import DURABLE, RedisServer, redis_server
from tests.support.writes import USER, accept, committed, event, log_of, open_session, snapshot, turn

T = TypeVar("T")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that may be spoiled."""
    with redis_server(DURABLE) as server:
        yield server


async def test_nothing_acknowledged_is_lost_and_nothing_is_half_there_after_kills(server: RedisServer) -> None:
    """Writers go on while Redis is killed and started; each batch is a line with its turn, and a line elsewhere."""
    kills, writers, batches = 4, 4, 60
    async with opened(server, timeout_ms=5_000) as store:
        ends = [(await open_session(store), await open_session(store)) for _ in range(writers)]
        acknowledged: list[tuple[int, int]] = []

        async def write(place: int) -> None:
            before, other = ends[place]
            for number in range(batches):
                head = await _again(partial(snapshot, store, before.session_id))
                batch = [
                    accept(before.session_id, f"c{number}"),
                    turn(head, event(before.session_id), answers=head.seq + 1),
                    accept(other.session_id, f"c{number}"),
                ]
                outcomes = await _again(partial(store.commit, batch))
                again = [Duplicate, Conflict, Duplicate]  # the first try was taken, and its answer lost
                assert [type(outcome) for outcome in outcomes] in ([Committed] * 3, again)
                acknowledged.append((place, number))

        async def kill() -> None:
            for number in range(1, kills + 1):
                while len(acknowledged) < number * writers * batches // (kills + 1):
                    await asyncio.sleep(0)
                await asyncio.to_thread(server.restart)

        async with asyncio.timeout(60):
            await asyncio.gather(kill(), *(write(place) for place in range(writers)))
            await asyncio.to_thread(server.restart)
        assert len(acknowledged) == writers * batches
        for before, other in ends:
            log, lines = await log_of(store, before.session_id), await log_of(store, other.session_id)
            assert [said.client_id for said in lines[2:]] == [f"c{number}" for number in range(batches)]
            assert [said.client_id for said in log if said.role == "user"] == [said.client_id for said in lines[2:]]
            head = await snapshot(store, before.session_id)
            assert fold(log, USER) == head
            assert (head.version, head.seq) == (1 + batches, 2 + 3 * batches)


async def _again(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            if "may lose" in str(error):  # what it says of itself while it starts is not to be believed
                raise
        await asyncio.sleep(0.01)


async def test_a_batch_that_was_cut_off_on_the_disk_is_gone_whole(server: RedisServer, tmp_path: Path) -> None:
    """Power went while the last batch was written: wherever its bytes end, none of it is there and all before it is."""
    async with opened(server) as store:
        before, other = await open_session(store), await open_session(store)
        [line] = await committed(store, accept(before.session_id, "c0"))
        start = (server.folder / "appendonly.aof").stat().st_size
        slides = event(before.session_id, "slide_update")
        await store.commit([turn(before, slides, answers=3), accept(before.session_id, "c1"), turn(other)])
        after, after_other = await snapshot(store, before.session_id), await snapshot(store, other.session_id)
    content = (server.folder / "appendonly.aof").read_bytes()
    cuts = [start, *range(start + 1, len(content), (len(content) - start) // 12), len(content) - 1, len(content)]
    for cut in cuts:
        copy = RedisServer(tmp_path / str(cut), DURABLE)
        copy.folder.mkdir()
        (copy.folder / "appendonly.aof").write_bytes(content[:cut])
        copy.start()
        try:
            async with opened(copy) as store:
                is_there = cut == len(content)
                head = await snapshot(store, before.session_id)
                assert (head == after) == is_there
                assert len(await log_of(store, before.session_id)) == (6 if is_there else 3)
                assert await snapshot(store, other.session_id) == (after_other if is_there else other)
                assert (await store.published(slides.message_id, "slide_update") is not None) == is_there
                assert await store.find(SessionKey(USER, before.session_id), "c0") == line
        finally:
            copy.kill()
            shutil.rmtree(copy.folder)
    assert len(cuts) > 12
