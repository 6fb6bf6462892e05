"""The tests' server, which on SIGUSR1 writes how often its store was asked: `python -m tests.bench.serve`.

It counts only where BENCH_CALLS names a file, so that elsewhere nothing stands before the store.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from server import __main__ as program
from server.app import create_app
from server.settings import Settings
from server.store.library import FullStore
from server.store.open import open_store
from server.wire.dialects import Dialect
from server.workflows.registry import find_workflows
from server.workflows.table import Workflow
from tests.support import example_workflows
from tests.support.passing_store import PassingStore

VARIABLE: Final = "BENCH_CALLS"


class CountedStore(PassingStore):
    """Counts the calls of each method."""

    def __init__(self, store: FullStore) -> None:
        super().__init__(store)
        self.calls: Counter[str] = Counter()

    async def reached(self, name: str) -> None:
        self.calls[name] += 1


def create_counted_app(
    settings: Settings,
    *,
    workflows: Mapping[str, Workflow] | None = None,
    store: FullStore | None = None,
    dialects: Sequence[Dialect] = (),
) -> Starlette:
    """The application over a counted store."""
    counted = CountedStore(store or open_store(settings))
    path = Path(os.environ[VARIABLE])

    def write(*_: object) -> None:
        path.with_suffix(".new").write_text(json.dumps(counted.calls))
        path.with_suffix(".new").rename(path)  # whole, or not there

    signal.signal(signal.SIGUSR1, write)
    return create_app(settings, workflows=workflows, store=counted, dialects=dialects)


def main() -> int:
    if os.environ.get(VARIABLE):
        program.create_app = create_counted_app  # type: ignore[attr-defined]
    return program.main({**find_workflows(), **example_workflows.WORKFLOWS})


if __name__ == "__main__":
    sys.exit(main())
