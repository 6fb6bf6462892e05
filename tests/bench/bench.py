"""One run: everybody who takes part, measured figure by figure."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.bench import usage
from tests.bench.contenders import FLOOR, OWN, Contender, Running, running
from tests.bench.figures.idle import measure_idle, measure_storm
from tests.bench.figures.latency import measure_latency
from tests.bench.figures.reconnect import measure_reconnect
from tests.bench.figures.startup import measure_startup
from tests.bench.figures.storage import measure_storage
from tests.bench.figures.streaming import measure_streaming
from tests.bench.figures.syncs import measure_syncs
from tests.bench.figures.turns import check_client, measure_turns
from tests.bench.measure import settle
from tests.bench.options import Options
from tests.bench.rivals.table import rivals
from tests.bench.samples import OURS, Samples

#: What a short run leaves out: what it would show takes longer than it has.
LONG_ONLY: Final = frozenset({"sqlite, quiet log", "redis, 2 processes", "supabase"})
#: What is absent where nothing may be traced.
UNCOUNTED: Final = "the count of syncs"
#: Files of a process that are no connections.
SPARE: Final = 300
#: Who is measured for what takes thousands of connections.
MANY: Final = ("floor", OURS)


class Unknown(Exception):
    """A contender was asked for that nobody knows."""


@dataclass(slots=True)
class Found:
    """What a run found. `absent` says why somebody did not take part."""

    samples: Samples = field(default_factory=Samples)
    policies: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    machine: dict[str, object] = field(default_factory=dict)
    client: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def bench(options: Options, folder: Path) -> Found:
    """Measure. `folder` is for the files of the contenders, and on the disk that is meant."""
    began = time.monotonic()
    found = Found(machine=machine(folder))
    options = _within_limits(options, found)
    present = _who(options, found)
    found.policies = {contender.name: contender.policy for contender in present}
    _together(options, found, present, folder)
    _alone(options, found, present, folder)
    found.seconds = time.monotonic() - began
    return found


def _within_limits(options: Options, found: Found) -> Options:
    """As many connections as this machine lets one process have; fewer than were asked for are told."""
    room = usage.lift_open_files(max(*options.plan.connections, options.plan.storm, *options.plan.levels) + SPARE)
    found.machine["open_files"] = room
    plan = options.plan.within(room - SPARE)
    if plan != options.plan:
        found.absent["more connections"] = f"a process may open {room:,} files here"
    return replace(options, plan=plan)


def machine(folder: Path) -> dict[str, object]:
    """What the figures are of."""
    return {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "file_system": usage.file_system(folder),
        "fdatasync_us": round(usage.sync_us(folder), 1),
        "slow_share": round(usage.slow_share(), 4),
    }


def _who(options: Options, found: Found) -> list[Contender]:
    left_out = LONG_ONLY - options.only if options.plan.quick else frozenset[str]()
    wanted = [FLOOR, *(one for one in OWN if one.name not in left_out)]
    for name, rival in rivals().items():
        if isinstance(rival, str):
            found.absent[name] = rival
        else:
            wanted.append(rival)
    unknown = options.only - {one.name for one in wanted} - found.absent.keys()
    if unknown:
        raise Unknown(f"nobody is called {', '.join(sorted(unknown))}")
    return [one for one in wanted if not options.only or one.name in options.only]


def _together(options: Options, found: Found, present: Sequence[Contender], folder: Path) -> None:
    """The figures for which all of them run, one of them with something to do."""
    plan, samples = options.plan, found.samples
    measures: Mapping[str, Callable[[Sequence[Running]], None]] = {
        "turns": lambda servers: measure_turns(plan, samples, servers),
        "latency": lambda servers: measure_latency(plan, samples, servers),
        "storage": lambda servers: measure_storage(plan, samples, servers),
        "reconnect": lambda servers: measure_reconnect(plan, samples, servers),
        "streaming": lambda servers: measure_streaming(plan, samples, servers),
    }
    if not options.figures & {*measures, "syncs"}:
        return
    with _all_running(present, folder / "together", found) as servers:
        for name, measure in measures.items():
            if name in options.figures:
                _say(name)
                measure(servers)
        for server in servers:
            if "turns" in options.figures and server.name == FLOOR.name:
                _say("the client")
                found.client = check_client(plan, server)
        if "syncs" in options.figures:
            _say("syncs")
            if (reason := measure_syncs(plan, samples, servers)) is not None:
                found.absent[UNCOUNTED] = reason


def _alone(options: Options, found: Found, present: Sequence[Contender], folder: Path) -> None:
    """The figures for which each is started anew, and runs alone."""
    plan, samples = options.plan, found.samples
    many = [one for one in present if one.name in MANY]
    for name, measure, who in (("idle", measure_idle, many), ("storm", measure_storm, many)):
        if name not in options.figures:
            continue
        _say(name)
        for number in range(plan.long_rounds):
            for contender in who:
                measure(plan, samples, contender, _fresh(folder, f"{name}-{number}"), number)
    if "startup" in options.figures:
        _say("startup")
        who = [one for one in present if one.name in MANY or not plan.quick]
        measure_startup(plan, samples, who, _fresh(folder, "startup"))


@contextlib.contextmanager
def _all_running(present: Sequence[Contender], folder: Path, found: Found) -> Iterator[list[Running]]:
    """Those of them that start. One that does not is absent; without the floor or SQLite there is no run."""
    folder.mkdir()
    with contextlib.ExitStack() as own:
        servers: list[Running] = []
        for contender in present:
            _say(f"starting {contender.name}")
            try:
                servers.append(own.enter_context(running(contender, folder)))
            except (RuntimeError, AssertionError, OSError) as error:  # of its services, too
                if contender.name in MANY:
                    raise
                found.absent[contender.name] = str(error)
        for server in servers:
            settle(server)  # several processes are not ready at the same time
        yield servers


def _fresh(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(exist_ok=True)
    return path


def _say(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {what}\n")
