"""From the start of the process to its first good answer over HTTP."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.contenders import Contender, running
from tests.bench.figures.turns import BASIC
from tests.bench.options import Plan
from tests.bench.samples import Samples


def measure_startup(plan: Plan, samples: Samples, contenders: Sequence[Contender], folder: Path) -> None:
    """One start after the other, over the store that the first one made."""
    for contender in contenders:
        with running(contender, folder) as server:  # this one makes its files, and is not counted
            for number in range(plan.starts if contender.name in BASIC else plan.long_rounds):
                server.stop()
                server.start()
                samples.add("startup", "ready", server.name, number, seconds=server.start_s)
