"""What the Redis store asks of a server before it trusts it with a conversation."""

from collections.abc import Iterator

import pytest

from server.errors import ConfigError, StoreClosed, StoreUnavailable
from server.records import SessionKey
from server.store.redis.durability import refusal
from server.store.redis.store import RedisStore
from tests.conformance.opened_redis import opened, restarted
from tests.services.redis import DURABLE, RedisServer, empty_server, redis_server
from tests.support.writes import USER, accept, commit, committed, greeting, new_session, open_session


@pytest.fixture
def server() -> RedisServer:
    """The server that all these tests share, empty."""
    return empty_server("durable")


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that may be spoiled."""
    with redis_server(DURABLE) as server:
        yield server


async def _refusal(server: RedisServer, query: str = "") -> str:
    """Why the store does not open."""
    store = RedisStore(server.url + query)
    with pytest.raises(StoreUnavailable) as refused:
        await store.open()
    with pytest.raises(StoreClosed):
        await commit(store, greeting(new_session()))
    await store.close()
    return str(refused.value)


# ---------------------------------------------------------------- what the server keeps


async def test_a_server_that_syncs_every_commit_is_taken_at_its_word(server: RedisServer) -> None:
    async with opened(server) as store:
        assert store.durability == "process and system crash (Redis, appendfsync always)"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"appendonly": "no"}, "appendonly no"),
        ({"appendfsync": "everysec"}, "appendfsync everysec"),
        ({"appendfsync": "no"}, "appendfsync no"),
        ({"no-appendfsync-on-rewrite": "yes"}, "no-appendfsync-on-rewrite yes"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
        ({"rename-command": 'CONFIG ""'}, "unknown: CONFIG is forbidden"),
    ],
)
async def test_a_server_that_keeps_less_is_refused_unless_that_is_accepted(
    options: dict[str, str], reason: str
) -> None:
    with redis_server(DURABLE | options) as server:
        refused = await _refusal(server)
        assert reason in refused
        assert "Set appendonly yes, appendfsync always" in refused
        assert server.command("DBSIZE") == 0
        async with opened(server, "?durability=weak") as store:
            assert store.durability.startswith("weak: ")
            assert reason in store.durability
            await committed(store, greeting(new_session()))


async def test_a_policy_that_spares_keys_without_an_end_is_fine() -> None:
    with redis_server(DURABLE | {"maxmemory-policy": "volatile-lru"}) as server:
        async with opened(server) as store:
            assert store.durability.startswith("process and system crash")


async def test_a_server_that_comes_back_with_less_is_not_written_to(own_server: RedisServer) -> None:
    async with opened(own_server) as store:
        before = await open_session(store)
        await restarted(own_server, {"appendfsync": "everysec"})
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="appendfsync everysec"):
                await commit(store, accept(before.session_id, "c1"))
        await restarted(own_server, {"appendfsync": "always"})
        await committed(store, accept(before.session_id, "c1"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"cluster-enabled": "yes"}, "it is a Redis Cluster"), ({"replicaof": "127.0.0.1 1"}, "it is a replica")],
)
@pytest.mark.parametrize("query", ["", "?durability=weak"])
async def test_a_server_that_cannot_be_a_store_is_refused(options: dict[str, str], reason: str, query: str) -> None:
    with redis_server(DURABLE | options) as server:
        assert reason in await _refusal(server, query)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"redis_version": "6.0.16"}, "it is Redis 6.0.16; this server needs 6.2 or later"),
        ({"redis_version": "5"}, "it is Redis 5; this server needs 6.2 or later"),
        ({"redis_version": "7.4.1", "loading": "1", "aof_enabled": "0"}, "it was just started"),
        ({"redis_version": "6.2.0", "role": "master", "loading": "0"}, ""),
        ({"redis_version": "10.0.0-rc1"}, ""),
    ],
)
def test_a_server_that_is_too_old_or_not_ready_is_refused(info: dict[str, str], reason: str) -> None:
    assert (refusal(info) or "").startswith(reason)
    assert bool(refusal(info)) == bool(reason)


async def test_a_user_who_may_not_use_every_command_is_refused_before_a_batch_is_half_written(
    own_server: RedisServer,
) -> None:
    own_server.command("ACL", "SETUSER", "half", "on", ">pw", "~*", "+@all", "-zadd")
    half = RedisStore(own_server.url.replace("//", "//half:pw@"))
    with pytest.raises(StoreUnavailable, match="open the Redis store"):
        await half.open()
    await half.close()
    own_server.command("ACL", "SETUSER", "half", "+zadd")
    whole = RedisStore(own_server.url.replace("//", "//half:pw@"))
    await whole.open()
    await open_session(whole)
    await whole.close()


async def test_a_wrong_password_is_refused_and_not_repeated_in_the_error() -> None:
    with redis_server(DURABLE | {"requirepass": "right"}) as server:
        store = RedisStore(server.url.replace("right", "secret"))
        with pytest.raises(StoreUnavailable) as refused:
            await store.open()
        assert "secret" not in str(refused.value)
        await store.close()
        async with opened(server) as store:
            await open_session(store)


async def test_an_error_does_not_quote_what_was_sent() -> None:
    """Redis repeats the arguments of a command that it does not know; in a commit they are somebody's words."""
    with redis_server(DURABLE | {"rename-command": 'EVALSHA ""'}) as server:
        refused = await _refusal(server)
        assert "unknown command" in refused
        assert "args" not in refused
        assert "rejoinder:" not in refused


async def test_another_schema_is_refused_and_left_alone(server: RedisServer) -> None:
    server.command("SET", "rejoinder:schema", "99")
    assert "its schema 99 is not this server's 2" in await _refusal(server)
    assert server.command("KEYS", "*") == ["rejoinder:schema"]


async def test_open_may_be_tried_again(own_server: RedisServer) -> None:
    own_server.kill()
    store = RedisStore(own_server.url)
    with pytest.raises(StoreUnavailable):
        await store.open()
    own_server.start()
    await store.open()
    await open_session(store)
    await store.close()


async def test_before_open_everything_raises(server: RedisServer) -> None:
    store = RedisStore(server.url)
    with pytest.raises(StoreClosed):
        await commit(store, greeting(new_session()))
    with pytest.raises(StoreClosed):
        await store.read(SessionKey(USER, new_session()), 0, 1)
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/0",
        "redis://127.0.0.1/0?durability=strong",
        "redis://127.0.0.1/0?retry_on_timeout=yes",  # redis-py would take it, and send a commit twice
        "redis://127.0.0.1/0?socket_timeout=0",
        "redis://127.0.0.1/0?ssl_cert_reqs=none",
        "rediss://127.0.0.1/0?ssl_colour=red",
        "redis://127.0.0.1:port/0",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="STORE_URL"):
        RedisStore(url)


@pytest.mark.parametrize("query", ["", "?db=3", "?durability=weak", "?ssl_cert_reqs=none&durability=weak"])
def test_a_url_may_say_where_and_how_safe(query: str) -> None:
    assert RedisStore("rediss://ann:p%40ss@127.0.0.1:6380/1" + query).durability == "unknown until it is open"
