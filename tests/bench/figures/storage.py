"""What a turn takes, of the disk and of the time, at the beginning of a conversation and a thousand turns later."""

from collections.abc import Sequence
from typing import Final

from tests.bench.contenders import STORES, Running
from tests.bench.figures.turns import full_rate
from tests.bench.job import Job
from tests.bench.measure import run, settle
from tests.bench.options import Plan
from tests.bench.samples import OURS, Samples

#: Turns a second below which a server fills an eighth of the sessions: with 70 it would take half an hour for all.
_SLOW: Final = 500


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
    is_slow = server.contender.is_rival and full_rate(plan, samples, server) < _SLOW
    tabs = max(1, plan.fill_tabs // 8) if is_slow else plan.fill_tabs
    sizes: list[int] = []

    def look(_mark: str) -> None:
        settle(server)  # some write when they have answered
        sizes.append(stored())

    stops = plan.fill
    stretches = run(Job(kind="fill", target=server.target, tabs=tabs, stops=stops), look).stretches
    # Twenty turns are enough to count bytes. They take so short a time that one slow moment of the machine would be all
    # of it, so turns a second are those of a hundred.
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
