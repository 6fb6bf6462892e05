"""A real server process a test, on a port and a database of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.process import ServerProcess

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
