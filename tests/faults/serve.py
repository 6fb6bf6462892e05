"""The tests' server with fault points, armed by `FAULTS`: `python -m tests.faults.serve`."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial

from starlette.applications import Starlette

from server import __main__ as program
from server.app import create_app
from server.engine.engine import Engine
from server.engine.group_commit import GroupCommit
from server.settings import Settings
from server.store.library import FullStore
from server.store.open import open_store
from server.web.websocket import Gateway
from server.workflows.registry import find_workflows
from server.workflows.table import Workflow
from tests.faults.points import VARIABLE, Points, read_faults
from tests.faults.wrapped import FaultyBroker, FaultyReplies, FaultyStore, faulty_workflows
from tests.support import example_workflows


def create_faulty_app(
    points: Points,
    settings: Settings,
    *,
    workflows: Mapping[str, Workflow] | None = None,
    store: FullStore | None = None,
) -> Starlette:
    """The application, with every part that has a fault point inside a wrapper that passes it."""
    kept = store or open_store(settings)
    app = create_app(settings, workflows=faulty_workflows(workflows or {}, points), store=kept)
    engine: Engine = app.state.engine
    engine.store = FaultyStore(kept, points)
    engine.commit = GroupCommit(engine.store, batch_limit=settings.batch_limit, queue_limit=settings.commit_queue_limit)
    engine.broker = FaultyBroker(engine.broker, points)
    engine.replies = FaultyReplies(points)
    _pass_drain(app.state.gateway, engine, points)
    return app


def _pass_drain(gateway: Gateway, engine: Engine, points: Points) -> None:
    """Pass `drain` when it begins, when the running turns have ended, and when everybody has been sent away."""
    drain_gateway, drain_engine = gateway.drain, engine.drain

    async def drain() -> None:
        await points.reach("drain")
        await drain_gateway()
        await points.reach("drain")

    async def end_turns() -> None:
        await drain_engine()
        await points.reach("drain")

    gateway.drain = drain  # type: ignore[method-assign]
    engine.drain = end_turns  # type: ignore[method-assign]


def tell_tasks(*_: object) -> None:
    """Write to the log what every task of this process waits for: for a process that hangs."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def main() -> int:
    signal.signal(signal.SIGUSR1, tell_tasks)
    armed = Points(read_faults(os.environ.get(VARIABLE, "")))
    program.create_app = partial(create_faulty_app, armed)  # type: ignore[attr-defined]
    return program.main({**find_workflows(), **example_workflows.WORKFLOWS})


if __name__ == "__main__":
    sys.exit(main())
