"""Server processes over one PostgreSQL, with a Redis between them that may be there, dead, or not named at all."""

import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from server.store.postgres.store import PostgresStore
from tests.services.postgres import running_server
from tests.services.redis import RedisServer, empty_server
from tests.support.process import ServerProcess, free_port

#: Short enough for a test, long enough that a busy machine does not take a living process for a dead one.
TAKEOVER_MS: Final = 1_500

Start = Callable[..., Awaitable[ServerProcess]]


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database."""
    with running_server().database() as url:
        yield url


@pytest.fixture
def redis() -> RedisServer:
    """A Redis for news, running and empty."""
    return empty_server("plain")


@pytest.fixture(params=["redis", "redis-dead", "no-redis"])
def between(request: pytest.FixtureRequest) -> dict[str, str]:
    """What the processes are told of the Redis between them."""
    match request.param:
        case "redis":
            return {"REDIS_URL": empty_server("plain").url}
        case "redis-dead":
            return {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
        case _:
            return {}


@pytest.fixture
async def start(tmp_path: Path, database: str) -> AsyncIterator[Start]:
    """Start a process over the test's database with these environment variables besides the usual ones."""
    started: list[ServerProcess] = []
    numbers = itertools.count(1)

    async def begin(**environ: str) -> ServerProcess:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        usual = {"STORE_URL": database, "TAKEOVER_MS": str(TAKEOVER_MS), "SWEEP_MS": "1000", "STORE_RETRY_MS": "50"}
        process = ServerProcess(folder, {**usual, **environ})
        started.append(process)
        await process.start()
        return process

    yield begin
    for process in started:
        await process.close()


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    """The test's database as another program reads it."""
    store = PostgresStore(database)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def session_id() -> str:
    return str(uuid.uuid4())
