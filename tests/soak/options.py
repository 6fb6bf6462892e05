"""What a soak is asked for."""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DESCRIPTION = """Talk to real servers over real sockets while they are killed, stopped, drained and broken; then prove
from what the clients saw that nothing acknowledged was lost, doubled or reordered. Exit status 1 if anything was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run."""

    kills: int = 100
    seconds: float | None = None
    seed: int = 0
    clients: int = 24
    lines: int = 60
    store: str | None = None
    json: Path | None = None
    keep: Path | None = None
    broken: str | None = None
    #: The shortest and the longest life of a process that nothing else befalls.
    life_s: tuple[float, float] = (0.1, 0.7)


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line; what cannot be is refused with status 2."""
    parser = argparse.ArgumentParser("scripts/soak", description=DESCRIPTION)
    parser.add_argument("--kills", type=int, default=100, help="end after so many SIGKILLs (default 100)")
    parser.add_argument("--seconds", type=float, help="end after so long, however many kills there were")
    parser.add_argument("--seed", type=int, help="draws everything that is random; default: a new one, printed")
    parser.add_argument("--clients", type=int, default=24, help="conversations at a time (default 24)")
    parser.add_argument("--lines", type=int, default=60, help="the longest conversation, in things done (default 60)")
    parser.add_argument("--store", metavar="URL", help="the servers' STORE_URL; default: a SQLite file of this run")
    parser.add_argument("--processes", type=int, default=1, help="server processes at a time; only 1 for now")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the history and the servers' log there")
    parser.add_argument("--broken", metavar="NAME", help="soak a copy of the server that is broken on purpose, or all")
    given = vars(parser.parse_args(arguments))
    if given.pop("processes") != 1:
        parser.error(
            "--processes: only 1 for now. Several processes over one SQLite file are not supported: nothing tells one"
            " of them what another has committed. (A process that wakes beside its successor is part of every run.)"
        )
    if min(given["kills"], given["clients"], given["lines"]) < 1:
        parser.error("--kills, --clients and --lines: 1 at least")
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(1_000_000)
    return Options(**given)
