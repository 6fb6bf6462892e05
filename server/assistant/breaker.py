"""The circuit breaker: after several failures in a row it refuses calls for a while, then admits one as a probe.

It has no clock: the caller passes the time with every input. Three states:

    CLOSED     calls go through; `failures_limit` failures in a row open it
    OPEN       calls are refused until a pause is over; each pause without a success is twice as long
    HALF_OPEN  one call, the probe, goes through; its success closes, its failure opens again

A call gets a ticket and reports its result with it. Results with a ticket from before the last change of state are
ignored: a call that began before the vendor failed must not close the breaker, and two hundred of them must not open it
two hundred times.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Shut:
    """Not now; a call may be let through in `retry_after_ms`."""

    retry_after_ms: int


class Phase(Enum):
    """The breaker's state."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One for each vendor. A probe that never comes back is given up after `probe_ms`."""

    def __init__(
        self,
        *,
        failures_limit: int = 5,
        rest_ms: int = 5_000,
        longest_rest_ms: int = 60_000,
        probe_ms: int = 30_000,
    ) -> None:
        self.phase = Phase.CLOSED
        self._failures_limit = failures_limit
        self._first_rest_ms = rest_ms
        self._longest_rest_ms = longest_rest_ms
        self._probe_ms = probe_ms
        self._failures = 0
        self._rest_ms = rest_ms
        self._until_ms = 0
        self._ticket = 0

    def admit(self, now_ms: int) -> int | Shut:
        """A ticket for a call that may go, else when to come back."""
        if self.phase is Phase.CLOSED:
            return self._ticket
        if now_ms < self._until_ms:
            return Shut(self._until_ms - now_ms)
        # The rest is over, or the probe is lost.
        self._change(Phase.HALF_OPEN, now_ms + self._probe_ms)
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """The vendor answered, be it with a refusal."""
        if ticket == self._ticket:
            self._failures, self._rest_ms = 0, self._first_rest_ms
            if self.phase is Phase.HALF_OPEN:
                self._change(Phase.CLOSED, 0)

    def failed(self, ticket: int, now_ms: int) -> None:
        """The vendor could not be reached, or what it sent was no answer."""
        if ticket != self._ticket:
            return
        self._failures += 1
        if self.phase is Phase.HALF_OPEN:
            self._rest_ms = min(2 * self._rest_ms, self._longest_rest_ms)
        if self.phase is Phase.HALF_OPEN or self._failures >= self._failures_limit:
            self._change(Phase.OPEN, now_ms + self._rest_ms)

    def abandoned(self, ticket: int, now_ms: int) -> None:
        """The call ended without saying anything of the vendor: it was cancelled, or was one too many."""
        if ticket == self._ticket and self.phase is Phase.HALF_OPEN:
            self._change(Phase.OPEN, now_ms)

    def _change(self, phase: Phase, until_ms: int) -> None:
        self.phase, self._until_ms = phase, until_ms
        self._ticket += 1
