"""The present time and fresh ids. Pure modules get both as inputs."""

import os
import struct
import time
from binascii import hexlify
from typing import Final

#: How many ids are drawn at once: with one system call and one conversion to text.
_DRAWN: Final = 256
#: The digits that were drawn, as the groups of UUIDs (RFC 9562 §5.4); those for the version and the variant are set.
_GROUPS: Final = struct.Struct("8s4sx3sx3s12s" * _DRAWN)
_UUIDS: Final = b"\n".join([b"%b-%b-4%b-a%b-%b"] * _DRAWN)
_ids: list[str] = []


def _draw() -> None:
    groups = _GROUPS.unpack(hexlify(os.urandom(16 * _DRAWN)))
    _ids.extend((_UUIDS % groups).decode().split("\n"))


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
