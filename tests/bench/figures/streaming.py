"""Deltas of answers, delivered to every tab that watches. The server may put several into one frame."""

from collections.abc import Sequence

from tests.bench.contenders import Running
from tests.bench.job import Job, Target, session_of, user_of
from tests.bench.measure import run, settle
from tests.bench.options import Plan
from tests.bench.samples import OURS, Samples


def measure_streaming(plan: Plan, samples: Samples, servers: Sequence[Running]) -> None:
    """One answer after the other, each when the last one has ended in every tab. What was dropped does not count."""
    for number in range(plan.long_rounds):
        for server in servers:
            if server.name != OURS:
                continue
            for tabs in plan.watchers:
                place = number * 1_000 + tabs
                target = server.target
                path = target.path.format(session=session_of(0x57E4, place), user=user_of(place))
                one = Target(port=target.port, path=path, speech=target.speech, headers=target.headers)
                run(Job(kind="stream", target=one, tabs=1, words=1, seconds=0.01))  # makes the session
                told = run(Job(kind="stream", target=one, tabs=tabs, words=plan.words, seconds=plan.seconds))
                settle(server)
                samples.add(
                    "streaming",
                    f"{tabs} tabs",
                    server.name,
                    number,
                    deltas_per_s=told.deltas / told.seconds,
                    frames_per_s=told.pieces / told.seconds,
                    delivered=told.deltas / (told.turns * plan.words),
                )
