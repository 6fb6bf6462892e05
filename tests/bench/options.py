"""What a run of the bench is asked for."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

DESCRIPTION = """Measure the server beside a bare socket that keeps nothing and, where their packages are installed,
beside Chainlit, LangGraph and Socket.IO: the same client, in turns, medians of several rounds."""

FIGURES: Final = ("turns", "latency", "storage", "reconnect", "idle", "storm", "streaming", "startup", "syncs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. Times are seconds."""

    rounds: int = 5
    seconds: float = 3.0
    warm_s: float = 0.7
    #: Sessions at a time.
    levels: tuple[int, ...] = (1, 64, 512)
    #: A short run: much is measured of the floor and SQLite alone, or in the first round alone.
    quick: bool = False
    #: A rival's window is so many times as long: some take a second for a turn.
    patience: float = 2.0
    #: Turns up to which sessions are filled. Bytes are those between the first two and the last two, turns a second
    #: those between the first three and the last three.
    fill: tuple[int, int, int, int, int, int] = (1, 20, 100, 900, 990, 1_010)
    fill_tabs: int = 32
    histories: tuple[int, ...] = (10, 1_000, 100_000)
    missed: tuple[int, ...] = (0, 10, 1_000)
    reconnects: int = 40
    connections: tuple[int, ...] = (1_000, 5_000, 10_000)
    storm: int = 10_000
    #: Rounds of what takes long – idle connections, storms, storage – and of all but the floor and SQLite.
    long_rounds: int = 3
    watchers: tuple[int, ...] = (1, 10, 100)
    words: int = 2_000
    starts: int = 5

    def within(self, connections: int) -> "Plan":
        """The same with no more connections at a time."""
        return replace(
            self,
            levels=tuple(dict.fromkeys(min(count, connections) for count in self.levels)),
            connections=tuple(dict.fromkeys(min(count, connections) for count in self.connections)),
            storm=min(self.storm, connections),
        )


FULL: Final = Plan()
QUICK: Final = Plan(
    rounds=3,
    seconds=0.6,
    warm_s=0.25,
    quick=True,
    patience=3.0,
    fill=(1, 20, 60, 150, 190, 210),
    fill_tabs=16,
    reconnects=20,
    connections=(500, 1_000),
    storm=1_000,
    long_rounds=1,
    starts=1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run."""

    plan: Plan = FULL
    figures: frozenset[str] = frozenset(FIGURES)
    #: Names of contenders; none: everybody who is there.
    only: frozenset[str] = frozenset()
    rivals: bool = False
    json: Path | None = None
    charts: Path | None = None


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line; what cannot be is refused with status 2."""
    parser = argparse.ArgumentParser("scripts/bench", description=DESCRIPTION)
    parser.add_argument("--quick", action="store_true", help="a short run: fewer rounds, sessions and connections")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement")
    parser.add_argument("--figures", default=",".join(FIGURES), help="which, with commas between them (default all)")
    parser.add_argument("--only", default="", help="which contenders, with semicolons between them (default all)")
    parser.add_argument("--rivals", action="store_true", help="install the rivals' packages under var/bench first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round and the ratios there")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="write charts there, as bench-*.svg")
    given = parser.parse_args(arguments)
    figures = frozenset(given.figures.split(","))
    if figures - frozenset(FIGURES):
        parser.error(f"--figures: one of {', '.join(FIGURES)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error("--rounds: 1 at least")
    plan = QUICK if given.quick else FULL
    if given.rounds is not None:
        plan = replace(plan, rounds=given.rounds, long_rounds=given.rounds, starts=given.rounds)
    return Options(
        plan=plan,
        figures=figures,
        only=frozenset(name.strip() for name in given.only.split(";") if name.strip()),
        rivals=given.rivals,
        json=given.json,
        charts=given.charts,
    )
