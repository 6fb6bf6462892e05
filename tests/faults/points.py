"""The points, what can happen at them, and the language that says so.

`FAULTS` is a comma-separated list of `point=action@pass*times`: at which pass of this process it happens first (1 if
not said), and for how many passes on end (1 if not said).

    FAULTS="accept:after=cut"              the first accepted line is committed, the answer is lost
    FAULTS="turn:before=kill@7"            SIGKILL before the seventh turn commit
    FAULTS="replay=stall:300@2*3,step=fail"
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.errors import StoreUnavailable

VARIABLE: Final = "FAULTS"
STALL_MS: Final = 200

#: What can happen where. `fail`: nothing was done, an error comes back. `cut`: it was done, but nobody hears of it.
ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "accept:before": ("kill", "stall", "fail"),
    "accept:after": ("kill", "stall", "cut"),
    "turn:before": ("kill", "stall", "fail"),
    "turn:after": ("kill", "stall", "cut"),
    "ack:before": ("kill", "stall", "cut"),
    "step": ("kill", "stall", "fail"),
    "publish:before": ("kill", "stall", "cut"),
    "replay": ("kill", "stall", "fail"),
    "recovery": ("kill", "stall", "fail"),
    "drain": ("kill", "stall"),
}
_SPEC: Final = re.compile(r"(?P<point>[a-z:]+)=(?P<action>[a-z]+)(:(?P<ms>\d+))?(@(?P<first>\d+))?(\*(?P<times>\d+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point, from its `first` pass on, `times` times."""

    point: str
    action: str
    stall_ms: int = STALL_MS
    first: int = 1
    times: int = 1

    def __str__(self) -> str:
        stall = f":{self.stall_ms}" if self.action == "stall" else ""
        return f"{self.point}={self.action}{stall}@{self.first}*{self.times}"


def read_faults(text: str) -> list[Fault]:
    """The faults that `FAULTS` asks for. Raises ValueError for what is not in the language."""
    return [_read(part.strip()) for part in text.split(",") if part.strip()]


def _read(text: str) -> Fault:
    found = _SPEC.fullmatch(text)
    if found is None or found["action"] not in ACTIONS.get(found["point"], ()):
        raise ValueError(f"{VARIABLE}: {text!r} is not point=action@pass*times with one of {dict(ACTIONS)}")
    return Fault(
        found["point"],
        found["action"],
        int(found["ms"] or STALL_MS),
        int(found["first"] or 1),
        int(found["times"] or 1),
    )


class Points:
    """Counts the passes of each point in this process, and does what is armed for them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults
        self._passes: Counter[str] = Counter()

    async def reach(self, point: str) -> None:
        """Pass a point. Raises StoreUnavailable where it is to fail, or where the answer is to be lost."""
        fault = self._armed(point)
        if fault is None:
            return
        if fault.action == "stall":
            await asyncio.sleep(fault.stall_ms / 1000)
        else:
            raise StoreUnavailable(f"{fault}")

    def reach_at_once(self, point: str) -> bool:
        """Pass a point where nothing can be awaited: a stall stops the whole process. False: leave it undone."""
        fault = self._armed(point)
        if fault is not None and fault.action == "stall":
            time.sleep(fault.stall_ms / 1000)
        return fault is None or fault.action == "stall"

    def _armed(self, point: str) -> Fault | None:
        self._passes[point] += 1
        number = self._passes[point]
        for fault in self._faults:
            if fault.point == point and fault.first <= number < fault.first + fault.times:
                sys.stderr.write(f"fault {fault} pass {number}\n")
                sys.stderr.flush()
                if fault.action == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                return fault
        return None
