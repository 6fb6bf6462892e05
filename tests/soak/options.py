"""What a soak is asked for."""

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from tests.soak.between import Redis
from tests.soak.stores import KINDS

DESCRIPTION = """Talk to real servers over real sockets while they are killed, stopped, drained and broken; then prove
from what the clients saw that nothing acknowledged was lost, doubled or reordered. Exit status 1 if anything was."""

STORE_HELP: Final = (
    "sqlite (default), postgres, supabase, redis: a store of this run, with its own servers, which are killed, stalled"
    " and cut off, too; or a STORE_URL, which nothing befalls"
)
REDIS_HELP: Final = (
    "what is between the processes: yes, a Redis of this run that is killed, too (default for several processes); dead,"
    " an address where nobody listens; no, nothing (default for one)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run."""

    kills: int = 100
    seconds: float | None = None
    seed: int = 0
    clients: int = 24
    lines: int = 60
    #: `sqlite`, `postgres`, `supabase`, `redis`: one of this run; or a URL.
    store: str = "sqlite"
    processes: int = 1
    redis: Redis = "no"
    json: Path | None = None
    keep: Path | None = None
    broken: str | None = None
    #: The shortest and the longest life of a process that nothing else befalls.
    life_s: tuple[float, float] = (0.1, 0.7)
    #: The longest stall of a store that comes by chance, and the mean pause between two troubles of a service.
    stall_s: float = 30.0
    pause_s: float = 5.0


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line; what cannot be is refused with status 2."""
    parser = argparse.ArgumentParser("scripts/soak", description=DESCRIPTION)
    parser.add_argument("--kills", type=int, default=100, help="end after so many SIGKILLs (default 100)")
    parser.add_argument("--seconds", type=float, help="end after so long, however many kills there were")
    parser.add_argument("--seed", type=int, help="draws everything that is random; default: a new one, printed")
    parser.add_argument("--clients", type=int, default=24, help="conversations at a time (default 24)")
    parser.add_argument("--lines", type=int, default=60, help="the longest conversation, in things done (default 60)")
    parser.add_argument("--store", default="sqlite", metavar="STORE", help=STORE_HELP)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="server processes at a time (default 1)")
    parser.add_argument("--redis", choices=get_args(Redis), help=REDIS_HELP)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the history and the servers' log there")
    parser.add_argument("--broken", metavar="NAME", help="soak a copy of the server that is broken on purpose, or all")
    given = vars(parser.parse_args(arguments))
    if given["redis"] is None:
        given["redis"] = "yes" if given["processes"] > 1 else "no"
    if min(given["kills"], given["clients"], given["lines"], given["processes"]) < 1:
        parser.error("--kills, --clients, --lines and --processes: 1 at least")
    if given["store"] not in KINDS and not re.match(r"[a-z+]+:", given["store"]):
        parser.error(f"--store: {given['store']} is none of {', '.join(KINDS)}, and no URL")
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(1_000_000)
    return Options(**given)
