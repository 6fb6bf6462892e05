"""The judge of a history: `python -m tests.soak.checker HISTORY`. It knows the protocol and what was recorded, no more.

Exit status 1 if any law is broken; then the shortest story of the first session that breaks one is printed.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.soak.ack_laws import ACK_LAWS
from tests.soak.calm_laws import CALM_LAWS, arrivals, head_of
from tests.soak.history import Record, Recorded
from tests.soak.log_laws import LOG_LAWS
from tests.soak.story import tell
from tests.soak.view import DOUBLED, FINAL, LOST, REORDERED, UNEXPLAINED, Processes, Violation, read_view
from tests.soak.wire_laws import check_wires

#: So many violations are printed; all are counted.
SHOWN = 12


@dataclass(slots=True)
class Verdict:
    """What a history amounts to."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first_ack: dict[int, float] = field(default_factory=dict)
    ready_ms: float = 0.0
    first_ack_ms: float = 0.0
    converge_ms: float = 0.0
    seconds: float = 0.0
    troubles: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, int]:
        """The figures, flat."""
        kinds = Counter(violation.kind for violation in self.violations)
        return {
            **{name: self.counts[name] for name in COUNTED},
            **dict(sorted(self.troubles.items())),
            **{kind: kinds[kind] for kind in (LOST, DOUBLED, REORDERED, UNEXPLAINED)},
            "recovery_ms_max": round(self.ready_ms),
            "first_ack_ms_max": round(self.first_ack_ms),
            "converge_ms_max": round(self.converge_ms),
            "seconds": round(self.seconds),
        }

    def summary(self) -> str:
        """The figures for a person."""
        names = {
            "recovery_ms_max": "longest start to readyz, ms",
            "first_ack_ms_max": "longest start to first ack, ms",
            "converge_ms_max": "in the calm, last tab behind the first, ms",
            "still_tabs": "tabs open in the calm",
        }
        words = {"acked": "turns acknowledged", "reordered": "out of order", **names}
        return "\n".join(
            f"{words.get(name, name.replace('_', ' ')):>42}  {number:,}" for name, number in self.figures().items()
        )


COUNTED = (
    "kills",
    "stops",
    "terms",
    "restarts",
    "refused_starts",
    "sessions",
    "connections",
    "acked",
    "cancelled",
    "events",
    "still_tabs",
)


def judge(recorded: Recorded) -> Verdict:
    """Hold every session against every law."""
    processes = Processes(recorded.of(""))
    verdict = Verdict()
    verdict.counts["kills"] = processes.kills
    verdict.counts["stops"] = processes.count("stop")
    verdict.counts["terms"] = processes.count("term")
    verdict.counts["restarts"] = max(0, processes.count("start") - 1)
    verdict.counts["refused_starts"] = processes.refused_starts
    verdict.troubles = processes.troubles
    verdict.violations += processes.strange_ends()
    for session in recorded.sessions:
        records = recorded.of(session)
        verdict.violations += [replace(found, session=session) for found in check(records, processes)]
        _count(verdict, records)
    for number, started, ready in processes.undisturbed():
        verdict.ready_ms = max(verdict.ready_ms, (ready - started) * 1000)
        if number in verdict.first_ack:
            verdict.first_ack_ms = max(verdict.first_ack_ms, (verdict.first_ack[number] - started) * 1000)
    return verdict


def check(records: Sequence[Record], processes: Processes) -> Iterator[Violation]:
    """Everything that is wrong with one session."""
    view = read_view(records)
    for law in (*LOG_LAWS, *ACK_LAWS, *CALM_LAWS):
        yield from law(view)
    yield from check_wires(view, processes)


def _count(verdict: Verdict, records: Sequence[Record]) -> None:
    numbers: dict[tuple[str, int], int] = {}
    acked: dict[int, bool] = {}
    cancels: set[str] = set()
    verdict.counts["sessions"] += 1
    for record in records:
        if record.e == "connect":
            numbers[record.c, record.n] = record.q["number"]
        elif record.e == "open":
            verdict.counts["connections"] += 1
        elif record.e == "send" and record.frame.get("type") == "cancel":
            cancels.add(record.frame["id"])
        elif record.e == "recv" and b'"ack"' in bytes(record.f) and record.frame["type"] == "ack":
            payload = record.frame["payload"]
            acked[payload["seq"]] = payload["id"] in cancels
            verdict.first_ack.setdefault(numbers[record.c, record.n], record.t)
            first = verdict.first_ack[numbers[record.c, record.n]]
            verdict.first_ack[numbers[record.c, record.n]] = min(first, record.t)
    _, first_s = head_of(records)
    for arrival in arrivals(records):
        verdict.counts["still_tabs"] += 1
        verdict.converge_ms = max(verdict.converge_ms, (arrival.arrived_s - first_s) * 1000)
    last = max((record.n for record in records if record.c == FINAL), default=0)
    verdict.counts["events"] += sum(
        record.c == FINAL and record.n == last and "seq" in record.frame for record in records if record.e == "recv"
    )
    verdict.counts["cancelled"] += sum(acked.values())
    verdict.counts["acked"] += len(acked) - sum(acked.values())


def report(recorded: Recorded, verdict: Verdict) -> str:
    """What is wrong, and the story of the session with the shortest one."""
    if not verdict.violations:
        return ""
    checks = Counter(f"{violation.kind}: {violation.check}" for violation in verdict.violations)
    lines = ["", *(f"{count:>6} × {name}" for name, count in checks.most_common()), ""]
    lines += [
        f"{violation.session[:8]}  {violation.check}: {violation.says}" for violation in verdict.violations[:SHOWN]
    ]
    processes = recorded.of("")
    stories = [tell(recorded.of(one.session), processes, one) for one in verdict.violations[:SHOWN]]
    return "\n".join([*lines, "", min(stories, key=len)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.soak.checker", description="Judge the history of a soak.")
    parser.add_argument("history", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    options = parser.parse_args(arguments)
    recorded = Recorded(options.history)
    verdict = judge(recorded)
    sys.stdout.write(verdict.summary() + report(recorded, verdict) + "\n")
    if options.json:
        options.json.write_text(json.dumps(verdict.figures(), indent=2) + "\n")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
