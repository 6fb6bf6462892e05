"""The parts of a process, put together: they end when they are told to, whatever the store does."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from server.app import create_app
from server.engine.engine import Engine
from server.records import Outcome, Settled, Write
from server.settings import Settings
from tests.support.dict_store import DictStore
from tests.support.example_workflows import WORKFLOWS
from tests.support.passing_store import PassingStore
from tests.support.writes import greeting, new_session

WAIT_S = 10


class StandingStore(PassingStore):
    """Takes a batch and says no more while `stands`."""

    stands = True

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        while self.stands:
            await asyncio.sleep(0.001)
        return await super().commit(writes)


@pytest.mark.parametrize("stands", [True, False])
async def test_a_process_whose_store_stands_still_ends_all_the_same(*, stands: bool) -> None:
    store = StandingStore(DictStore())
    app = create_app(Settings(store_timeout_ms=200), workflows=WORKFLOWS, store=store)
    engine: Engine = app.state.engine
    outcomes: list[Settled] = []
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(WAIT_S), app.router.lifespan_context(app):
            assert engine.commit.submit(greeting(new_session()), outcomes.append)
            store.stands = stands
    assert [entry["event"] for entry in logs][-1] == ("stopped_in_haste" if stands else "stopped")
    assert len(outcomes) == (0 if stands else 1)
