"""What the pure modules may not know and are given: the present time, and fresh ids."""

import os
import time
from typing import Final

#: Ids that are drawn at once: one system call, and one conversion to text.
_DRAWN: Final = 256
#: What stands for the two bits that say which kind of UUID it is (RFC 9562 §4.1), by the digit that was drawn.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_ids: list[str] = []


def _draw() -> None:
    drawn = os.urandom(16 * _DRAWN).hex()
    _ids.extend(
        f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:]}"
        for d in (drawn[at : at + 32] for at in range(0, len(drawn), 32))
    )


os.register_at_fork(after_in_child=_ids.clear)  # a copy of this process must not give the same ids


def now_ms() -> int:
    """The present, in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A fresh message id: a UUID of version 4, unique among all sessions."""
    if not _ids:
        _draw()
    return _ids.pop()


def new_ids(count: int) -> list[str]:
    """Message ids for a turn's events."""
    while len(_ids) < count:
        _draw()
    ids = _ids[-count:]
    del _ids[-count:]
    return ids
