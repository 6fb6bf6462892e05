"""Decides when to try a call again. Pure: takes the fault, the time left and a random number, returns a wait."""

from dataclasses import dataclass

from server.assistant.errors import TEMPORARY, Fault


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of attempts and waits.

    The wait before attempt n+1 is about `first_wait_ms` · 2ⁿ⁻¹, at most `longest_wait_ms`. A call that would have less
    than `least_call_ms` left is not made: it would cost money without an answer.
    """

    attempts: int = 3
    first_wait_ms: int = 500
    longest_wait_ms: int = 8_000
    least_call_ms: int = 1_000


def wait_ms(
    patience: Patience,
    *,
    attempt: int,
    fault: Fault,
    left_ms: int,
    chance: float,
    retry_after_ms: int | None = None,
    streamed: bool = False,
    may_restart: bool = False,
) -> int | None:
    """The wait before the next attempt, or None to give up.

    `attempt` is the one that failed (1, 2 …), `left_ms` what is left of the deadline, `chance` a random number from 0
    to 1 (it spreads the waits of many callers). A vendor's own `retry_after_ms` is a lower bound. After text was
    `streamed` there is no other attempt, unless the caller numbers attempts for its readers and `may_restart`: two
    answers run together are worse than one that broke off.
    """
    if fault not in TEMPORARY or attempt >= patience.attempts or (streamed and not may_restart):
        return None
    longest = min(patience.longest_wait_ms, patience.first_wait_ms * 2 ** (attempt - 1))
    wait = round(longest * (0.5 + chance / 2))
    if retry_after_ms is not None:
        wait = max(wait, retry_after_ms + round(retry_after_ms * chance / 10))
    return wait if wait + patience.least_call_ms <= left_ms else None
