"""One suite over every store and every broker: a new one is one more row here."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from server.broker import Broker, LocalBroker
from server.store import Store
from tests.conformance.stores import STORES

BROKERS: Final[dict[str, Callable[[], Broker]]] = {"local": LocalBroker}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open and empty store."""
    async with STORES[request.param](tmp_path) as opened:
        await opened.open()
        yield opened
        await opened.close()


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker without subscribers."""
    return BROKERS[request.param]()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where an SQLite file may be; its folder is not there yet."""
    return str(tmp_path / "folder" / "store.db")
