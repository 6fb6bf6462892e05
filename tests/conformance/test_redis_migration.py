"""A Redis server of layout 1, whose keys had the id of a session alone: moved when a server opens it."""

import asyncio
from collections.abc import Sequence

import pytest

from server.errors import StoreUnavailable
from server.records import Loaded, SessionKey
from server.store.redis import migrate as migration
from server.store.redis.inspector import RedisSource
from server.store.redis.scripts import RedisScripts
from server.store.redis.store import RedisStore
from tests.conformance.opened_redis import opened
from tests.services.redis import RedisServer, empty_server
from tests.support.writes import STRANGER, USER, accept, committed, event, greeting, new_session, open_session, turn

BASE = "rejoinder:"
ODD = "100%:{*} 👨‍👩‍👧"
PAGE = 5


@pytest.fixture
def server() -> RedisServer:
    return empty_server("durable")


async def layout_1(server: RedisServer, sessions: int = 3) -> dict[SessionKey, Loaded]:
    """Sessions of two owners as a server of layout 1 left them, each with a deck and a line that waits."""
    async with opened(server) as store:
        kept = {}
        for number in range(sessions):
            before = await open_session(store, user_id=ODD if number % 2 else USER)
            slides = event(before.session_id, "slide_update", message_id=f"deck-{number}")
            await committed(store, turn(before, slides, user_id=before.user_id))
            await committed(store, accept(before.session_id, "c1", user_id=before.user_id))
            loaded = await store.load(before.key, 0, 100)
            assert loaded is not None
            kept[before.key] = loaded
    for key, loaded in kept.items():
        talk = f"{key.user_id.replace('%', '%25').replace(':', '%3A')}:{key.session_id}"
        for kind in ("session", "log", "clients", "decks"):
            server.command("RENAME", f"{BASE}2:{kind}:{talk}", f"{BASE}{kind}:{key.session_id}")
        for name in server.command("SMEMBERS", f"{BASE}decks:{key.session_id}"):
            seq = server.command("GET", f"{BASE}2:deck:{name}").partition(":")[0]
            server.command("DEL", f"{BASE}2:deck:{name}")
            server.command("SET", f"{BASE}deck:{name}", f"{seq}:{key.session_id}")
        server.command("ZADD", f"{BASE}user:{key.user_id}", loaded.snapshot.updated_at, key.session_id)
        server.command("ZADD", f"{BASE}waiting", loaded.snapshot.updated_at, key.session_id)
    server.command("SET", f"{BASE}schema", 1)
    left = server.command("KEYS", f"{BASE}2:*")
    if left:
        server.command("DEL", *left)
    return kept


async def is_whole(store: RedisStore, kept: dict[SessionKey, Loaded]) -> None:
    """Everything can be asked for that could be."""
    assert set(await store.pending(2**52, 1000)) == set(kept)
    for number, (key, loaded) in enumerate(kept.items()):
        assert await store.load(key, 0, 100) == loaded
        assert await store.find(key, "c1") == loaded.events[-1]
        deck = await store.published(f"deck-{number}", "slide_update")
        assert deck in loaded.events
        assert deck is not None
        assert key.session_id in [one.session_id for one in await store.list(key.user_id, 1000)]


def old_keys(server: RedisServer) -> Sequence[str]:
    names: list[str] = server.command("KEYS", f"{BASE}*")
    return sorted(name for name in names if not name.startswith(f"{BASE}2:"))


async def test_every_session_is_moved_with_all_that_is_its(server: RedisServer) -> None:
    kept = await layout_1(server)
    async with opened(server) as store:
        await is_whole(store, kept)
        assert old_keys(server) == [f"{BASE}schema", f"{BASE}waiting"]
        assert server.command("GET", f"{BASE}schema") == "2"
        stranger = next(iter(kept))._replace(user_id=STRANGER)
        await committed(store, greeting(stranger.session_id, user_id=STRANGER))
        assert await store.published("deck-0", "slide_update") is not None
        for key in kept:
            assert await store.delete(key)
        assert await store.published("deck-0", "slide_update") is None
    async with opened(server) as store:  # and it is done once
        assert await store.load(stranger, 0, 1) is not None


async def test_a_migration_that_was_killed_is_taken_up(server: RedisServer) -> None:
    """After each step that it takes: the next server finds the rest, and the one of before can no longer write."""
    kept = await layout_1(server, 12)
    for steps in range(1, 4):
        scripts = RedisScripts(server.url, timeout_ms=10_000, connections=1)
        await scripts.call(migration._MIGRATE, bool, "begin", BASE)
        cursor = "0"
        for _ in range(steps):
            cursor, *_ = await scripts.call(migration._MIGRATE, tuple[str, int, int], "page", BASE, cursor, PAGE)
        await scripts.close()
        assert server.command("GET", f"{BASE}schema") == str(migration.MOVING)
        assert server.command("TYPE", f"{BASE}waiting") == "string"  # a commit of layout 1 is refused there
    async with opened(server) as store:
        await is_whole(store, kept)


async def test_several_servers_that_start_at_once_move_everything(server: RedisServer) -> None:
    kept = await layout_1(server, 30)
    stores = [RedisStore(server.url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await is_whole(store, kept)
        await store.close()


async def test_a_damaged_session_is_left_where_it_is(server: RedisServer) -> None:
    kept = await layout_1(server)
    hurt = next(iter(kept))
    server.command("HDEL", f"{BASE}session:{hurt.session_id}", "user_id")
    async with opened(server) as store:
        del kept[hurt]
        assert set(await store.pending(2**52, 10)) == set(kept)
    assert f"{BASE}session:{hurt.session_id}" in old_keys(server)
    assert f"{BASE}log:{hurt.session_id}" in old_keys(server)


async def test_a_prefix_is_no_pattern(server: RedisServer) -> None:
    """What stands under other prefixes that a pattern would fit is left alone."""
    kept = await layout_1(server)
    other = next(iter(kept)).session_id
    server.command("HSET", f"rejoXnder:session:{other}", "user_id", "ann")
    server.command("SET", "rejo?nder:schema", 1)
    async with opened(server, prefix="rejo?nder:") as store:
        assert await store.pending(2**52, 10) == []
    assert server.command("EXISTS", f"rejoXnder:session:{other}") == 1


async def test_an_inspector_waits_for_the_server(server: RedisServer) -> None:
    await layout_1(server)
    source = RedisSource(server.url)
    with pytest.raises(StoreUnavailable, match="it has schema 1, and this program reads 2"):
        await source.owners(new_session())
    await source.close()
