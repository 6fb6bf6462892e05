"""Whether the machine is as fast as usual: a little work at short intervals, by the processor time that it takes.

Some hosts and neighbours slow a guest down for tens of milliseconds at a time. Then processor time grows as well, and
with it is told apart from a wait for a core that another program of ours has.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

_EVERY_S: Final = 0.004
_WORK: Final = 1_000
#: Slow is what takes so many times as long as usual.
SLOW: Final = 3
#: How long what came in a slow moment may still be worked off, in seconds.
AFTERMATH_S: Final = 0.1


class Beat(NamedTuple):
    """When the work began, and the processor time that it took; seconds."""

    at: float
    took: float


async def beat(beats: list[Beat]) -> None:
    """Add to `beats` until it is cancelled. The moments are those of `time.perf_counter`."""
    while True:
        at, before = time.perf_counter(), time.thread_time()
        for _ in range(_WORK):
            pass
        beats.append(Beat(at, time.thread_time() - before))
        await asyncio.sleep(_EVERY_S)


def slow_moments(beats: Sequence[Beat]) -> list[float]:
    """When the machine was slow, in order."""
    usual = median(one.took for one in beats) if beats else 0.0
    return [one.at for one in beats if one.took >= SLOW * usual]


def is_quiet(slow: Sequence[float], began: float, ended: float) -> bool:
    """Whether no slow moment fell into this time, or so shortly before it that its queue may still have been there."""
    place = bisect_left(slow, began - AFTERMATH_S)
    return place == len(slow) or slow[place] > ended
