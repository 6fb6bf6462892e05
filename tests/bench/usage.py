"""What processes and their children cost: processor time and resident memory, by the kernel's account."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped]

from tests.bench.pulse import SLOW

#: Idle is whoever spends less than this share of a core.
_IDLE: Final = 0.05
_LOOK_S: Final = 0.1
_SYNCS: Final = 50
_LOOK_FOR_S: Final = 3.0


def family(roots: Iterable[int]) -> Iterator[psutil.Process]:
    """The processes and all that come from them, those that are gone left out. Of this process, itself alone."""
    for pid in roots:
        try:
            root = psutil.Process(pid)
            yield root
            if pid != os.getpid():
                yield from root.children(recursive=True)
        except psutil.NoSuchProcess:
            continue


def cpu_s(roots: Iterable[int]) -> float:
    """Processor seconds so far, those of children that have ended included."""
    total = 0.0
    for process in family(roots):
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and both of the children that have ended
        except psutil.NoSuchProcess:
            continue
    return total


def resident_bytes(roots: Iterable[int]) -> int:
    """Resident memory, what several share counted for each."""
    total = 0
    for process in family(roots):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def wait_until_idle(roots: Iterable[int], within_s: float) -> bool:
    """Wait until they are done with what they were told; False when they are not within this time."""
    pids, deadline = list(roots), time.monotonic() + within_s
    before = cpu_s(pids)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        now = cpu_s(pids)
        if now - before < _IDLE * _LOOK_S:
            return True
        before = now
    return False


def lift_open_files(wanted: int) -> int:
    """How many files a process may open from here on: as many as are wanted, or as root lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return wanted if soft == resource.RLIM_INFINITY else soft


def sync_us(folder: Path) -> float:
    """The median time of a 4 KiB write and its fdatasync in a folder, in microseconds."""
    path, times = folder / "sync-probe", list[float]()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        for number in range(_SYNCS):
            os.pwrite(descriptor, bytes(4096), 4096 * (number % 8))
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(times) * 1e6


def slow_share() -> float:
    """The share of three seconds in which the same work took at least three times as long as usual.

    A host or its neighbours may slow a machine down for tens of milliseconds at a time, every second or so: then a 99th
    percentile tells of that more than of a server.
    """
    times = list[float]()
    end = time.perf_counter() + _LOOK_FOR_S
    began = time.perf_counter()
    while began < end:
        for _ in range(2_000):
            pass
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    usual = median(times)
    return sum(one for one in times if one >= SLOW * usual) / sum(times)


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    if shutil.which("stat") is None:
        return "unknown"
    asked = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
