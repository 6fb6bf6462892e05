"""How often a turn is synced to the disk, by what the kernel is asked for: whether a policy is what it says.

strace is put on a running server, on its workers and on its database, PostgREST and Redis.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench import usage
from tests.bench.contenders import FLOOR, Running
from tests.bench.job import Job
from tests.bench.measure import run, settle
from tests.bench.options import Plan
from tests.bench.samples import OURS, SESSIONS, Samples

#: Sessions, and from which turn of each of them to which one it is counted.
_CASES: Final = ((1, 5, 25), (SESSIONS, 2, 8))
_CALLS: Final = "fsync,fdatasync,msync,sync_file_range"
_CALL: Final = re.compile(rf"\b(?:{_CALLS.replace(',', '|')})\(")
_ATTACH_S: Final = 10.0


def measure_syncs(plan: Plan, samples: Samples, servers: Sequence[Running]) -> str | None:
    """Syncs a turn with one session and with many. The answer is why they could not be counted."""
    for server in servers:
        if server.contender is FLOOR or (plan.quick and not (server.contender.is_rival or server.name == OURS)):
            continue
        for sessions, first, last in _CASES[: 1 if plan.quick else None]:
            settle(server)
            try:
                with traced([server.pid, *server.backing.pids], server.folder / "syncs") as trace:
                    counts = _counts(server, trace, sessions, first, last)
            except (OSError, RuntimeError) as error:
                return str(error)
            turns = sessions * (last - first)
            samples.add("syncs", sessions, server.name, 0, syncs_per_turn=(counts[1] - counts[0]) / turns)
    return None


def _counts(server: Running, trace: Path, sessions: int, first: int, last: int) -> list[int]:
    """The syncs up to the first of the turns, and up to the last one."""
    counts: list[int] = []

    def look(_mark: str) -> None:
        settle(server)  # some write when they have answered
        counts.append(syncs(trace))

    run(Job(kind="fill", target=server.target, tabs=sessions, stops=(first, last)), look)
    return counts


def syncs(trace: Path) -> int:
    """How many calls a trace has; one that was interrupted stands on two lines, and counts once."""
    return len(_CALL.findall(trace.read_text(errors="replace")))


@contextlib.contextmanager
def traced(roots: Iterable[int], trace: Path) -> Iterator[Path]:
    """The trace of processes that run, of their threads and their children. Raises RuntimeError, OSError."""
    strace = shutil.which("strace")
    if strace is None:
        raise RuntimeError("there is no strace here")
    pids = [process.pid for process in usage.family(roots) if process.pid != os.getpid()]
    which = [word for pid in pids for word in ("-p", str(pid))]
    tracing = subprocess.Popen(
        [strace, "-f", "-qq", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(trace), *which],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(tracing, pids)
        yield trace
    finally:
        if tracing.poll() is None:
            tracing.send_signal(signal.SIGINT)  # it lets go of them
        tracing.communicate()


def _wait_for(tracing: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _ATTACH_S
    while not all(_is_traced(pid) for pid in pids):
        if tracing.poll() is not None:
            assert tracing.stderr is not None
            raise RuntimeError(f"strace: {tracing.stderr.read().decode(errors='replace').strip()[:200]}")
        if time.monotonic() > deadline:
            raise RuntimeError("strace: it takes too long to attach")
        time.sleep(0.01)  # polling: strace tells nobody when it is attached


def _is_traced(pid: int) -> bool:
    """Whether each thread is; a process that is gone is nobody to wait for."""
    try:
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    except OSError:
        return True
    return all("TracerPid:\t0\n" not in text for text in texts)
