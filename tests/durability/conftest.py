"""Real servers on files of their own."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.durability.process import WrappedProcess

Prepare = Callable[..., WrappedProcess]


@pytest.fixture
async def prepare(tmp_path: Path) -> AsyncIterator[Prepare]:
    """A server that is not started yet, with these environment variables besides the usual ones."""
    prepared: list[WrappedProcess] = []

    def make(folder: Path = tmp_path, prefix: Sequence[str] = (), **environ: str) -> WrappedProcess:
        prepared.append(WrappedProcess(folder, prefix, environ))
        return prepared[-1]

    yield make
    for process in prepared:
        await process.close()
