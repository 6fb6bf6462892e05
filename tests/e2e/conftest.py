"""A real server process a test, on a port and a database of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.live import environment
from tests.support.process import ServerProcess
from tests.vendors import Vendors

Start = Callable[..., Awaitable[ServerProcess]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a server with these environment variables besides the usual ones."""
    started: list[ServerProcess] = []

    async def begin(**environ: str) -> ServerProcess:
        process = ServerProcess(tmp_path, environ)
        started.append(process)
        await process.start()
        return process

    yield begin
    for process in started:
        await process.close()


@pytest.fixture
async def server(start: Start) -> ServerProcess:
    return await start()


@pytest.fixture(scope="module")
def all_vendors() -> Iterator[Vendors]:
    with Vendors() as vendors:
        yield vendors


@pytest.fixture
def vendors(all_vendors: Vendors) -> Vendors:
    all_vendors.reset()
    return all_vendors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(all_vendors: Vendors, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for all tests of a module: importing what a model needs takes seconds."""
    process = ServerProcess(tmp_path_factory.mktemp("live"), environment(all_vendors))
    await process.start()
    yield process
    await process.close()
