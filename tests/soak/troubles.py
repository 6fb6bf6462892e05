"""What can befall each kind of service. Every trouble leaves its service running and healthy."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tests.services.gateway import Fault
from tests.services.postgres import PostgresServer
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer
from tests.services.supabase import SupabaseServer
from tests.soak.weather import LONG_STALL_S, Trouble, stall_s

#: How long a service may stay away once it was killed, or be read-only.
AWAY_S: Final = (0.0, 2.0)
PAUSE_S: Final = (0.1, 3.0)
#: How long a loss of answers waits for the answers.
LOSS_S: Final = 2.0
#: More requests than come while a gateway is unavailable.
MANY: Final = 5_000


class Killable(Protocol):
    """A server that can be killed and started again on the same data."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


def killed(name: str, weight: float, server: Killable) -> Trouble:
    """SIGKILL, and a new start after a while."""

    async def befall(rng: random.Random) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(rng.uniform(*AWAY_S))
        await asyncio.to_thread(server.start)

    return Trouble(name, weight, befall)


def _stalled(name: str, weight: float, proxy: Proxy, length_s: Callable[[random.Random], float]) -> Trouble:
    async def befall(rng: random.Random) -> None:
        proxy.stall()
        try:
            await asyncio.sleep(length_s(rng))
        finally:
            proxy.go_on()  # what was held back is executed now, though its sender has given it up

    return Trouble(name, weight, befall)


def long_stall(proxy: Proxy) -> Trouble:
    """Nothing comes from the store for half a minute."""
    return _stalled("store_stalled_30_s", 0, proxy, lambda _: LONG_STALL_S)


def proxy_troubles(proxy: Proxy, longest_s: float, ending: bytes) -> list[Trouble]:
    """Between the servers and any store: a stall, lost answers to executed requests, cut connections.

    `ending` is how an answer ends that says that everything is executed.
    """

    async def lose(rng: random.Random) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOSS_S):
                for _ in range(rng.choice((1, 1, 2, 5, 20))):
                    cuts = proxy.cuts
                    proxy.cut_next_answer(ending)
                    while proxy.cuts == cuts:
                        await asyncio.sleep(0.005)
        proxy.cut_next_answer(None)

    async def cut(rng: random.Random) -> None:
        for _ in range(rng.choice((1, 1, 3))):
            proxy.cut()
            await asyncio.sleep(rng.uniform(0, 0.2))

    return [
        _stalled("store_stalled", 2, proxy, lambda rng: stall_s(rng, longest_s)),
        Trouble("store_answers_lost", 4, lose),
        Trouble("store_cut", 2, cut),
    ]


def postgres_troubles(server: PostgresServer) -> list[Trouble]:
    """It is killed, or takes no writes."""

    async def say(text: str) -> None:
        await asyncio.to_thread(server.sql, "postgres", text)

    async def read_only(rng: random.Random) -> None:
        for value, wait_s in (("on", rng.uniform(*AWAY_S)), ("off", 0.0)):
            await say(f"alter system set default_transaction_read_only = {value}")
            await say("select pg_reload_conf()")
            await asyncio.sleep(wait_s)

    return [killed("store_killed", 3, server), Trouble("store_read_only", 1.5, read_only)]


def redis_store_troubles(server: RedisServer) -> list[Trouble]:
    """It is killed, or takes no writes."""

    async def read_only(rng: random.Random) -> None:
        await asyncio.to_thread(server.command, "CONFIG", "SET", "min-replicas-to-write", 1)
        await asyncio.sleep(rng.uniform(*AWAY_S))
        await asyncio.to_thread(server.command, "CONFIG", "SET", "min-replicas-to-write", 0)

    return [killed("store_killed", 3, server), Trouble("store_read_only", 1.5, read_only)]


def supabase_troubles(server: SupabaseServer) -> list[Trouble]:
    """PostgreSQL, PostgREST or both are killed, the gateway fails in one of its ways, or is not there for anybody."""

    async def fail(rng: random.Random) -> None:
        faults: Sequence[Fault] = rng.choices(list(Fault), k=rng.choice((1, 1, 2, 5)))
        for fault in faults:
            server.gateway.fail(fault, times=rng.choice((1, 2)))
        await asyncio.sleep(rng.uniform(*AWAY_S))
        server.gateway.heal()

    async def unavailable(rng: random.Random) -> None:
        server.gateway.fail(Fault.UNAVAILABLE, times=MANY)
        await asyncio.sleep(rng.uniform(*AWAY_S))
        server.gateway.heal()

    return [
        killed("store_killed", 2, server.postgres),
        killed("rest_killed", 2, server.rest),
        killed("store_and_rest_killed", 1, server),
        Trouble("gateway_failed", 3, fail),
        Trouble("store_read_only", 1.5, unavailable),
    ]


def between_troubles(server: RedisServer) -> list[Trouble]:
    """The Redis between the processes is killed, stands still, cuts its subscribers, or forgets everything."""

    async def pause(rng: random.Random) -> None:
        with server.paused():
            await asyncio.sleep(rng.uniform(*PAUSE_S))

    async def cut(rng: random.Random) -> None:
        for kind in ("pubsub", "normal")[: rng.choice((1, 1, 2))]:
            await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", kind)

    async def flush(_rng: random.Random) -> None:
        await asyncio.to_thread(server.wipe)

    return [
        killed("redis_killed", 3, server),
        Trouble("redis_paused", 2, pause),
        Trouble("redis_cut", 3, cut),
        Trouble("redis_flushed", 1, flush),
    ]
