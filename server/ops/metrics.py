"""Figures of this process since its start, for Prometheus: counts only, no ids and no texts.

A turn is counted in plain numbers, in one call: it is the hot path. The Prometheus library reads them at a scrape.
"""

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

#: How many different values of each of the three times are kept before they are sorted into buckets.
_SEEN: Final = 200
MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
#: How a turn ends. There are no others: the label of a series must not grow.
OUTCOMES: Final = ("answered", "cancelled", "interrupted", "failed")


class Shape(NamedTuple):
    """A histogram: the field of a turn's record that it counts, what that is, and the upper ends of its buckets."""

    field: str
    tells: str
    ends: tuple[int, ...]


_SOON: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)
_LATE: Final = (5, 25, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000)
_TOKENS: Final = (100, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000)
#: Of every turn.
TIMES: Final = (
    Shape("ack_ms", "From a line to its ack, of the lines that this process took", _SOON),
    Shape("step_ms", "How long the step of a turn ran", _LATE),
    Shape("commit_ms", "From the end of a step to the commit of its turn", _SOON),
)
#: Of a turn that called a model.
CALLED: Final = (
    Shape("first_token_ms", "From the start of a turn to the first word of its model", _LATE),
    Shape("window_messages", "Messages in the window of an answer", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    Shape(
        "window_chars", "Characters in the window of an answer, with its instructions", tuple(4 * n for n in _TOKENS)
    ),
    Shape("window_tokens", "Tokens in the window of an answer, with its instructions; an estimate", _TOKENS),
)
#: Sums over the turns that called a model: the field of the record, and what it is.
SUMS: Final = {
    "input_tokens": "Tokens given to models; an estimate for a call that was cut",
    "output_tokens": "Tokens taken from models; an estimate for a call that was cut",
    "cost_micro_usd": "What the turns cost whose models have a price",
    "calls": "Calls to models",
    "call_attempts": "Attempts of these calls",
}


class Counts:
    """One histogram's numbers."""

    __slots__ = ("buckets", "ends", "total")

    def __init__(self, ends: tuple[int, ...]) -> None:
        self.ends = ends
        self.buckets = [0] * (len(ends) + 1)  # the last is for what is above all of them
        self.total = 0

    def add(self, value: int | None, times: int = 1) -> None:
        """Count a value. None (unknown) is not counted; a negative one (the clock was set back) counts as 0."""
        if value is not None:
            value = max(0, value)
            self.buckets[bisect_left(self.ends, value)] += times
            self.total += value * times

    def cumulated(self) -> list[tuple[str, float]]:
        """The buckets as the text format wants them: each holds those below it."""
        below, told = 0, []
        for end, count in zip((*map(str, map(float, self.ends)), "+Inf"), self.buckets, strict=True):
            below += count
            told.append((end, float(below)))
        return told


class Figures:
    """The figures of one process. `workflows` are the names of those that it runs."""

    def __init__(self, workflows: Iterable[str]) -> None:
        self._turns: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._turns.update(((workflow, outcome), 0) for workflow in workflows for outcome in OUTCOMES)
        # How many turns took so many milliseconds, of each time; not in the buckets yet.
        self._seen: tuple[defaultdict[int | None, int], ...] = tuple(defaultdict(int) for _ in TIMES)
        self._times = {shape.field: Counts(shape.ends) for shape in TIMES}
        self._called = {shape.field: Counts(shape.ends) for shape in CALLED}
        self._sums = dict.fromkeys(SUMS, 0)
        self._called_turns = self._unpriced_turns = 0

    def count(self, workflow: str, outcome: str, record: Mapping[str, Any]) -> None:
        """Count a turn that is durable: its outcome (one of OUTCOMES) and what the log tells of it.

        `ack_ms`, `step_ms` and `commit_ms` are there; what is None, or of the others not there, is not known.
        """
        self._turns[workflow, outcome] += 1
        # Those that took the same are put into the buckets together.
        ack, step, commit = self._seen
        ack[record["ack_ms"]] += 1
        step[record["step_ms"]] += 1
        commit[record["commit_ms"]] += 1
        if len(ack) + len(step) + len(commit) >= _SEEN:
            self._sort()
        if "calls" in record:
            for field, counts in self._called.items():
                counts.add(record.get(field))
            self._called_turns += 1
            self._unpriced_turns += record["cost_micro_usd"] is None
            for field in self._sums:
                self._sums[field] += record[field] or 0

    def _sort(self) -> None:
        for counts, seen in zip(self._times.values(), self._seen, strict=True):
            for value, times in seen.items():
                counts.add(value, times)
            seen.clear()

    def collect(self) -> Iterator[Metric]:
        """What the library writes out. Every series carries the process: another one's numbers are its own."""
        self._sort()
        process = str(os.getpid())
        turns = CounterMetricFamily(
            "rejoinder_turns", "Turns that ended; a greeting is none", labels=("process", "workflow", "outcome")
        )
        for (workflow, outcome), count in self._turns.items():
            turns.add_metric((process, workflow, outcome), count)
        yield turns
        for shapes, known in ((TIMES, self._times), (CALLED, self._called)):
            for field, tells, _ in shapes:
                histogram = HistogramMetricFamily(f"rejoinder_{field}", tells, labels=("process",))
                histogram.add_metric((process,), known[field].cumulated(), known[field].total)
                yield histogram
        sums = {f"rejoinder_{field}": (SUMS[field], value) for field, value in self._sums.items()}
        sums["rejoinder_model_turns"] = ("Turns that called a model", self._called_turns)
        sums["rejoinder_unpriced_turns"] = ("Of these, turns whose cost is not known", self._unpriced_turns)
        for name, (tells, value) in sums.items():
            counter = CounterMetricFamily(name, tells, labels=("process",))
            counter.add_metric((process,), value)
            yield counter


class Exposed:
    """The figures, and how many connections and sessions are open now."""

    def __init__(self, figures: Figures, connections: Callable[[], int], sessions: Callable[[], int]) -> None:
        self._figures = figures
        self._gauges: Mapping[str, tuple[str, Callable[[], int]]] = {
            "rejoinder_connections": ("Connections that are open", connections),
            "rejoinder_sessions": ("Sessions that are awake", sessions),
        }

    def collect(self) -> Iterator[Metric]:
        """As in Figures."""
        yield from self._figures.collect()
        for name, (tells, value) in self._gauges.items():
            gauge = GaugeMetricFamily(name, tells, labels=("process",))
            gauge.add_metric((str(os.getpid()),), value())
            yield gauge

    def text(self) -> bytes:
        """Everything in Prometheus' text format, of MEDIA_TYPE."""
        return generate_latest(self)
