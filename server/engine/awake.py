"""A session that is awake in this process, and the interface of a connection that waits for acks and refusals."""

import asyncio
import time
from typing import Protocol

from server.engine.account import Account
from server.engine.turn_log import TurnTimes
from server.machines import effects
from server.machines.session import Session
from server.machines.standing import Phase
from server.machines.trace import NOTHING_SPENT, Spent
from server.ops.metrics import Figures


def monotonic_ms() -> int:
    """The monotonic clock, in ms."""
    return time.monotonic_ns() // 1_000_000


class Replies(Protocol):
    """A connection that sent a line and waits for its ack."""

    def acked(self, effect: effects.Ack) -> None:
        """The line is durable."""
        ...

    def rejected(self, effect: effects.Reject) -> None:
        """The line was refused."""
        ...


class Awake:
    """A session that is awake: its machine, its running step, its timers, and the times of its turn for the log."""

    __slots__ = (
        "account",
        "effect",
        "follows",
        "is_careful",
        "machine",
        "run",
        "shown_ms",
        "step",
        "timers",
        "times",
        "touched_ms",
    )

    def __init__(self, machine: Session, figures: Figures) -> None:
        self.machine = machine
        self.step: asyncio.Task[None] | None = None
        self.run = 0  # of the step
        self.account: Account | None = None  # of the step
        self.effect: effects.RunStep | None = None  # that asked for the step
        self.follows = False
        self.is_careful = False  # it raised before: its lines are stored before their steps run
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.touched_ms = 0
        self.shown_ms = 0  # when another process last showed something of its turn
        self.times = TurnTimes(figures)

    @property
    def is_busy(self) -> bool:
        """Whether a turn is being committed, or its step runs."""
        steps = self.step is not None and not self.step.done()
        return self.machine.phase is Phase.COMMITTING or (self.machine.phase is Phase.RUNNING and steps)

    def spent(self, most_bytes: int) -> Spent:
        """The usage and trace until now of the turn under way; NOTHING_SPENT if its step did not begin here.

        `most_bytes` bounds the trace together with the turn's text so far.
        """
        running = self.machine.running
        if self.account is None or running is None or running.run != self.run:
            return NOTHING_SPENT
        return self.account.spent(most_bytes - len(running.text.encode(errors="replace")))
