"""A token bucket: how fast one peer may go."""

import time


class TokenBucket:
    """`burst` at once, then `rate_per_s`."""

    __slots__ = ("_burst", "_rate_per_s", "_stamp", "_tokens")

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._stamp = time.monotonic()

    def wait_ms(self, now: float) -> int:
        """Take one token: 0; or, when there is none, the ms after which there is one, and take nothing.

        `now` is time.monotonic().
        """
        self._tokens = min(self._burst, self._tokens + (now - self._stamp) * self._rate_per_s)
        self._stamp = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return int((1 - self._tokens) / self._rate_per_s * 1000) + 1
