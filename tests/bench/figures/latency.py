"""Latencies at half load: what a user waits for when the server has room."""

from collections.abc import Sequence

from tests.bench.contenders import Running
from tests.bench.figures.turns import BASIC, full_rate, in_turn, metrics
from tests.bench.job import Job
from tests.bench.measure import load
from tests.bench.options import Plan
from tests.bench.samples import HALF, SESSIONS, Samples


def measure_latency(plan: Plan, samples: Samples, servers: Sequence[Running]) -> None:
    """Lines at random moments, half as many as the server has shown that it can answer, in 64 sessions."""
    wanted = [server for server in servers if not plan.quick or server.name in BASIC]
    rates = {server.name: max(1.0, full_rate(plan, samples, server) / 2) for server in wanted}
    for number in range(plan.rounds):
        for server in in_turn(plan, wanted, number):
            found = load(server, _job(plan, server, rates[server.name]))
            samples.add("latency", HALF, server.name, number, **metrics(found))


def _job(plan: Plan, server: Running, rate: float) -> Job:
    tabs, seconds, warm_s = SESSIONS, plan.seconds, plan.warm_s
    return Job(kind="paced", target=server.target, tabs=tabs, seconds=seconds, warm_s=warm_s, rate=rate)
