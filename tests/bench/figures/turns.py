"""Turns a second and what they cost, at 1, 64 and 512 sessions; and whether the client program is the limit."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from tests.bench.contenders import Running
from tests.bench.job import Job
from tests.bench.measure import Load, begin, finish, load, settle
from tests.bench.options import Plan
from tests.bench.samples import FLOOR, OURS, SESSIONS, Samples

#: What a short run measures at every number of sessions.
BASIC: Final = (FLOOR, OURS)


def measure_turns(plan: Plan, samples: Samples, servers: Sequence[Running]) -> None:
    """Every server in turns, the other way round in every other round."""
    for number in range(plan.rounds):
        for sessions in plan.levels:
            for server in in_turn(plan, servers, number):
                if not plan.quick or _is_in_short_run(server, sessions, number):
                    found = load(server, job_of_turns(plan, server, sessions))
                    samples.add("turns", sessions, server.name, number, **metrics(found))


def job_of_turns(plan: Plan, server: Running, sessions: int) -> Job:
    """As many turns as it can do in so many sessions."""
    patience = plan.patience if server.contender.is_rival else 1.0
    return Job(
        kind="turns",
        target=server.target,
        tabs=sessions,
        seconds=plan.seconds * patience,
        warm_s=plan.warm_s * patience,
    )


def full_rate(plan: Plan, samples: Samples, server: Running) -> float:
    """Its turns a second in 64 sessions, measured now if they were not before."""
    known = samples.spread("turns", SESSIONS, server.name, "turns_per_s")
    return known.median if known else load(server, job_of_turns(plan, server, SESSIONS)).turns_per_s


def in_turn(plan: Plan, servers: Sequence[Running], number: int) -> list[Running]:
    """Who is measured in a round, and in which order: the floor and SQLite in all of them."""
    present = [server for server in servers if server.name in BASIC or number < plan.long_rounds]
    return present if number % 2 == 0 else present[::-1]


def _is_in_short_run(server: Running, sessions: int, number: int) -> bool:
    return sessions == SESSIONS or (server.name in BASIC and number == 0)


def check_client(plan: Plan, floor: Running) -> dict[str, float]:
    """Whether the client program is the limit: what two of them get out of the floor, to what one gets."""
    found = [(_rate(plan, floor, 1), _rate(plan, floor, 2)) for _ in range(plan.long_rounds)]
    one, two = (median(rates) for rates in zip(*found, strict=True))
    both = median(two / one for one, two in found)
    return {"one_client_turns_per_s": one, "two_clients_turns_per_s": two, "two_vs_one": both}


def _rate(plan: Plan, floor: Running, count: int) -> float:
    """Turns a second that so many clients get together."""
    job = Job(kind="turns", target=floor.target, tabs=SESSIONS // count, seconds=plan.seconds, warm_s=plan.warm_s)
    clients = [begin(job) for _ in range(count)]
    try:
        told = [finish(client, lambda _: None) for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()
    settle(floor)
    return sum(one.turns / one.seconds for one in told)


def metrics(found: Load) -> dict[str, float | None]:
    """Its numbers by their names."""
    named: dict[str, float | None] = msgspec.structs.asdict(found)
    return named
