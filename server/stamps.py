"""What the pure modules may not know and are given: the present time, and fresh ids."""

import time
import uuid


def now_ms() -> int:
    """The present, in UTC milliseconds."""
    return int(time.time() * 1000)


def new_id() -> str:
    """A fresh message id: a UUID, unique among all sessions."""
    return str(uuid.uuid4())


def new_ids(count: int) -> list[str]:
    """Message ids for a turn's events."""
    return [new_id() for _ in range(count)]
