"""What was measured, round by round, and what is made of it: medians with their spread, and ratios in one run.

No I/O here. A ratio is taken within each round, where both sides met the same neighbours, and then the median of those.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from msgspec import Struct


class Sample(Struct, frozen=True):
    """One number of one round. `case` is what the figure varies: how many sessions, which history …"""

    figure: str
    case: str
    contender: str
    metric: str
    round: int
    value: float


class Spread(NamedTuple):
    """The median of several rounds, and their extremes."""

    median: float
    low: float
    high: float


class Samples:
    """Every number of a run."""

    def __init__(self) -> None:
        self.all: list[Sample] = []

    def add(self, figure: str, case: object, contender: str, number: int, **metrics: float | None) -> None:
        """What a round found; None is what it could not find."""
        self.all += [
            Sample(figure, str(case), contender, metric, number, float(value))
            for metric, value in metrics.items()
            if value is not None
        ]

    def rounds(self, figure: str, case: object, contender: str, metric: str) -> dict[int, float]:
        """The values of a metric by their rounds."""
        wanted = (figure, str(case), contender, metric)
        return {one.round: one.value for one in self.all if (one.figure, one.case, one.contender, one.metric) == wanted}

    def spread(self, figure: str, case: object, contender: str, metric: str) -> Spread | None:
        """None where nothing was measured."""
        return spread(list(self.rounds(figure, case, contender, metric).values()))

    def cases(self, figure: str) -> list[str]:
        """The cases of a figure, in the order in which they were first measured."""
        return list(dict.fromkeys(one.case for one in self.all if one.figure == figure))

    def contenders(self, figure: str) -> list[str]:
        """Who was measured for a figure, in the same order."""
        return list(dict.fromkeys(one.contender for one in self.all if one.figure == figure))


def spread(values: Sequence[float]) -> Spread | None:
    """The median and the extremes; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


Rounds = Mapping[int, float]

OURS: Final = "sqlite"
FLOOR: Final = "floor"
OTHERS: Final = (FLOOR, "chainlit", "langgraph", "socketio")
SESSIONS: Final = 64
HALF: Final = "half load"
NOTHING_MISSED: Final = ", missed 0"


def ratios(samples: Samples) -> dict[str, Spread | None]:
    """Every ratio that is judged; None where one side was not measured."""

    def turns(contender: str) -> Rounds:
        return samples.rounds("turns", SESSIONS, contender, "turns_per_s")

    def cpu(contender: str) -> Rounds:
        server = samples.rounds("turns", SESSIONS, contender, "server_cpu_s")
        store = samples.rounds("turns", SESSIONS, contender, "store_cpu_s")
        return {number: server[number] + store[number] for number in server.keys() & store.keys()}

    def most(figure: str, contender: str, metric: str) -> Rounds:
        """Of the case with the most connections."""
        cases = sorted(samples.cases(figure), key=_number)
        return samples.rounds(figure, cases[-1], contender, metric) if cases else {}

    def reconnect(pick: Callable[[Sequence[str]], Sequence[str]]) -> Rounds:
        cases = sorted((case for case in samples.cases("reconnect") if case.endswith(NOTHING_MISSED)), key=_number)
        return next((samples.rounds("reconnect", case, OURS, "p50_ms") for case in pick(cases)), {})

    return {
        **{
            f"turns_vs_{other}": ratio(turns(OURS), turns(other))
            for other in (FLOOR, "chainlit", "langgraph", "socketio")
        },
        "reconnect_long_vs_short": ratio(reconnect(lambda cases: cases[-1:]), reconnect(lambda cases: cases[:1])),
        "bytes_late_vs_early": ratio(
            samples.rounds("storage", "late", OURS, "bytes_per_turn"),
            samples.rounds("storage", "early", OURS, "bytes_per_turn"),
        ),
        "turns_late_vs_early": ratio(
            samples.rounds("storage", "late", OURS, "turns_per_s"),
            samples.rounds("storage", "early", OURS, "turns_per_s"),
        ),
        "idle_memory_vs_floor": ratio(
            most("idle", OURS, "bytes_per_connection"), most("idle", FLOOR, "bytes_per_connection")
        ),
        "storm_vs_floor": ratio(most("storm", OURS, "accepted_per_s"), most("storm", FLOOR, "accepted_per_s")),
        "two_processes_cpu_vs_one": ratio(cpu("postgres, 2 processes"), cpu("postgres")),
    }


def cpu_ratios(samples: Samples) -> dict[str, Spread | None]:
    """The same comparisons by processor time: how much less a turn, or a reconnect, costs us than the other one.

    Neighbours take the cores away, and with them turns a second; what a turn costs they hardly change.
    """

    def cpu(figure: str, contender: str) -> Rounds:
        cases = [case for case in samples.cases(figure) if figure != "turns" or case == str(SESSIONS)]
        return samples.rounds(figure, cases[-1], contender, "server_cpu_s") if cases else {}

    return {
        **{f"turns_vs_{other}": ratio(cpu("turns", other), cpu("turns", OURS)) for other in OTHERS},
        "storm_vs_floor": ratio(cpu("storm", FLOOR), cpu("storm", OURS)),
    }


def ack_over_floor_ms(samples: Samples) -> Spread | None:
    """By how much the 99th percentile of our acks at half load is later than that of the floor's replies."""
    ours = samples.rounds("latency", HALF, OURS, "ack_p99_ms")
    return _later(ours, samples.rounds("latency", HALF, FLOOR, "reply_p99_ms"))


def quiet_ack_over_floor_ms(samples: Samples) -> Spread | None:
    """The same of the acks, ours and the floor's, for which the machine was as fast as usual."""
    ours, floor = (samples.rounds("latency", HALF, name, "quiet_ack_p99_ms") for name in (OURS, FLOOR))
    return _later(ours, floor)


def _later(above: Rounds, below: Rounds) -> Spread | None:
    return spread([above[number] - below[number] for number in sorted(above.keys() & below.keys())])


def ratio(above: Rounds, below: Rounds) -> Spread | None:
    """`above` to `below`, round by round. Rounds that only one of them has do not count, nor do those of zero."""
    both = sorted(number for number in above.keys() & below.keys() if below[number] > 0)
    return spread([above[number] / below[number] for number in both])


def flat(found: Mapping[str, Spread | None]) -> dict[str, float | None]:
    """The medians alone."""
    return {name: value.median if value else None for name, value in found.items()}


def _number(case: str) -> int:
    return int("".join(letter for letter in case if letter.isdigit()) or 0)
