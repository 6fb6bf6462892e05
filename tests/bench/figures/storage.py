"""What a turn takes on the disk, at the beginning of a conversation and a thousand turns later."""

from collections.abc import Sequence

from tests.bench.contenders import STORES, Running
from tests.bench.job import Job
from tests.bench.measure import run, settle
from tests.bench.options import Plan
from tests.bench.samples import OURS, Samples


def measure_storage(plan: Plan, samples: Samples, servers: Sequence[Running]) -> None:
    """Fill sessions, and look at the store when they are at each of the stops; of others than SQLite once."""
    for number in range(plan.long_rounds):
        for server in servers:
            is_asked = server.contender.is_rival or server.name in STORES
            if server.name == OURS or (is_asked and number == 0 and not plan.quick):
                _fill(plan, samples, server, number)


def _fill(plan: Plan, samples: Samples, server: Running, number: int) -> None:
    stored = server.backing.stored_bytes
    if stored is None:
        return
    # Somebody who answers 70 lines a second would take half an hour.
    tabs = plan.fill_tabs if server.contender.is_ours else max(1, plan.fill_tabs // 8)
    sizes: list[int] = []

    def look(_mark: str) -> None:
        settle(server)  # some write when they have answered
        sizes.append(stored())

    run(Job(kind="fill", target=server.target, tabs=tabs, stops=plan.fill), look)
    first, second, third, fourth = plan.fill
    early = (sizes[1] - sizes[0]) / (second - first) / tabs
    late = (sizes[3] - sizes[2]) / (fourth - third) / tabs
    samples.add("storage", "early", server.name, number, bytes_per_turn=early, turn=(first + second) / 2)
    samples.add("storage", "late", server.name, number, bytes_per_turn=late, turn=(third + fourth) / 2)
