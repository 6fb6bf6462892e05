"""What a turn takes, of the disk and of the time, at the beginning of a conversation and a thousand turns later."""

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

    stops = plan.fill
    stretches = run(Job(kind="fill", target=server.target, tabs=tabs, stops=stops), look).stretches
    # What is stored in few turns can be told, and how long they take can not: a commit more would be in it or not.
    for case, near, far, timed in (("early", 0, 1, slice(1, 3)), ("late", 4, 5, slice(4, 6))):
        turns = stops[timed.stop - 1] - stops[timed.start - 1]
        samples.add(
            "storage",
            case,
            server.name,
            number,
            turn=(stops[near] + stops[far]) / 2,
            bytes_per_turn=(sizes[far] - sizes[near]) / (stops[far] - stops[near]) / tabs,
            turns_per_s=turns * tabs / sum(stretches[timed]),
        )
