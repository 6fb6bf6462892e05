"""The store under the servers: what they are told of it, what befalls it, how it is read past the servers.

`postgres`, `redis` and `supabase` start real servers, in folders of their own: PostgreSQL, where it must not be root,
could not enter the run's. The servers talk to them through a proxy.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.settings import Settings
from server.store.open import kind
from tests.services.postgres import postgres_server
from tests.services.proxy import POSTGRES_DONE, Proxy
from tests.services.redis import DURABLE, redis_server
from tests.services.supabase import SECRET_KEY, supabase_server
from tests.soak import troubles
from tests.soak.weather import Trouble

DATABASE: Final = "soak"
#: Short, so that what a stall holds back is given up, and tried again, while it lasts.
STORE_TIMEOUT_MS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Backing:
    """A store. `settings` open it past the proxy; `planned` befalls it once in a long run."""

    environ: Mapping[str, str]
    settings: Settings
    troubles: Sequence[Trouble] = ()
    planned: Trouble | None = None

    @property
    def is_file(self) -> bool:
        """Whether several processes over it are the workers of one server."""
        return kind(self.settings) == "sqlite"


@dataclass(frozen=True, slots=True)
class Run:
    """Where the files of the run are, whose server it is, and how long a stall may be."""

    folder: Path
    root: Path
    stall_s: float


async def _migrate(root: Path, store_url: str) -> None:
    """Bring a database to the schema of this server, as whoever deploys it would."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "STORE_URL": store_url}
    command = (sys.executable, "-m", "server", "migrate")
    migrating = await asyncio.create_subprocess_exec(*command, cwd=root, env=environ, stdout=asyncio.subprocess.DEVNULL)
    if await migrating.wait() != 0:
        raise RuntimeError("the database could not be migrated")


def _served(
    run: Run,
    proxy: Proxy,
    environ: Mapping[str, str],
    settings: Settings,
    befalls: Sequence[Trouble],
    *,
    ending: bytes = b"",
) -> Backing:
    return Backing(
        {**environ, "STORE_TIMEOUT_MS": str(STORE_TIMEOUT_MS)},
        settings,
        [*troubles.proxy_troubles(proxy, run.stall_s, ending), *befalls],
        troubles.long_stall(proxy),
    )


@contextlib.asynccontextmanager
async def _sqlite(run: Run) -> AsyncIterator[Backing]:
    url = f"sqlite:///{run.folder / 'soak.db'}"
    yield Backing({"STORE_URL": url}, Settings(store_url=url))


@contextlib.asynccontextmanager
async def _postgres(run: Run) -> AsyncIterator[Backing]:
    with contextlib.ExitStack() as own:
        server = await asyncio.to_thread(own.enter_context, postgres_server())
        url = server.dsn(DATABASE)
        await asyncio.to_thread(server.sql, "postgres", f"create database {DATABASE}")
        await _migrate(run.root, url)
        async with Proxy(server.port) as proxy:
            environ = {"STORE_URL": server.dsn(DATABASE, proxy.port)}
            befalls = troubles.postgres_troubles(server)
            yield _served(run, proxy, environ, Settings(store_url=url), befalls, ending=POSTGRES_DONE)


@contextlib.asynccontextmanager
async def _redis(run: Run) -> AsyncIterator[Backing]:
    with contextlib.ExitStack() as own:
        server = await asyncio.to_thread(own.enter_context, redis_server(DURABLE))
        async with Proxy(server.port) as proxy:
            environ = {"STORE_URL": f"redis://127.0.0.1:{proxy.port}/0"}
            yield _served(run, proxy, environ, Settings(store_url=server.url), troubles.redis_store_troubles(server))


@contextlib.asynccontextmanager
async def _supabase(run: Run) -> AsyncIterator[Backing]:
    with contextlib.ExitStack() as own:
        server = await asyncio.to_thread(own.enter_context, supabase_server())
        async with Proxy(server.gateway.port) as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
            environ = {"STORE_URL": "supabase", "SUPABASE_URL": url, "SUPABASE_SERVICE_KEY": SECRET_KEY}
            settings = Settings(store_url="supabase", supabase_url=server.url, supabase_service_key=SECRET_KEY)
            yield _served(run, proxy, environ, settings, troubles.supabase_troubles(server))


@contextlib.asynccontextmanager
async def _other(store: str) -> AsyncIterator[Backing]:
    yield Backing({"STORE_URL": store}, Settings(store_url=store))


KINDS: Final[Mapping[str, Callable[[Run], AbstractAsyncContextManager[Backing]]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "redis": _redis,
    "supabase": _supabase,
}


def open_backing(store: str, run: Run) -> AbstractAsyncContextManager[Backing]:
    """The store of a kind, empty, with its services; or the one behind a URL, which nothing befalls."""
    opened = KINDS.get(store)
    return opened(run) if opened else _other(store)
