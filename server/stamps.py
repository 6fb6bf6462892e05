"""What the pure modules may not know and are given: the present time, and fresh ids."""

import os
import time
from typing import Final

#: What stands for the two bits that say which kind of UUID it is (RFC 9562 §4.1), by the digit that was drawn.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def now_ms() -> int:
    """The present, in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A fresh message id: a UUID of version 4, unique among all sessions.

    As `str(uuid.uuid4())`, without the object in between: a turn needs several.
    """
    drawn = os.urandom(16).hex()
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{_VARIANT[drawn[16]]}{drawn[17:20]}-{drawn[20:]}"


def new_ids(count: int) -> list[str]:
    """Message ids for a turn's events."""
    return [new_id() for _ in range(count)]
