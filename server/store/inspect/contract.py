"""The contract of an inspector: how a person on call reads a session of which they know only the id.

A Store demands the owner in every statement (law L10); an inspector tells who owns a session of an id. So it is a door
of its own, it can only read, and nothing that serves users imports an implementation.

An inspector is a `with` block. What it shows of a session is of one moment: the moment of `look`. It raises
StoreUnavailable when it cannot look, and a row that is there and makes no sense is Damaged, a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, Self

import msgspec
from msgspec import Struct

from server.records import Event, SessionKey, Snapshot

#: How many events are read at a time.
PAGE_LIMIT: Final = 500
#: How many owners of one id are told.
OWNERS_LIMIT: Final = 20
#: Behind this every event comes, whatever number it was given.
BEFORE_ALL: Final = -(2**63)

#: What JSON can raise that is no longer as it was stored: no text, no UTF-8, no JSON of ours, a nesting without end.
_DAMAGES: Final = (TypeError, ValueError, RecursionError)

_decoder = msgspec.json.Decoder(dict[str, Any])


class Damaged(Struct, frozen=True):
    """A row that is there and is not what a store writes. `seq` is its event's, 0 the session's own row."""

    seq: int
    reason: str


class Look(NamedTuple):
    """A session as it stands.

    `snapshot` is None when there is none; `log` has every event, in order, and is read page by page inside the `with`
    block. `lease_ms` is how long the lease of a process that is at work on the session still runs, None without one.
    """

    snapshot: Snapshot | Damaged | None
    log: Iterator[Event | Damaged]
    lease_ms: int | None


class Inspector(Protocol):
    """What an operator can read of a session."""

    def __enter__(self) -> Self:
        """Begin to read. Raises StoreUnavailable."""
        ...

    def __exit__(self, *_: object) -> None: ...

    def owners(self, session_id: str) -> Sequence[str]:
        """The user ids of those who have a session of this id, at most OWNERS_LIMIT. Raises StoreUnavailable."""
        ...

    def look(self, key: SessionKey) -> Look:
        """The session. Raises StoreUnavailable, and so does the log."""
        ...


def read_snapshot(columns: Mapping[str, Any]) -> Snapshot | Damaged:
    """The snapshot of a row, by the names of its columns; `memory` is JSON text."""
    try:
        return msgspec.convert({**columns, "memory": _decoder.decode(columns["memory"])}, Snapshot)
    except _DAMAGES as error:
        return Damaged(0, str(error))


def read_event(columns: Mapping[str, Any]) -> Event | Damaged:
    """The event of a row, by the names of its columns; `payload` is JSON text."""
    try:
        return msgspec.convert({**columns, "payload": _decoder.decode(columns["payload"])}, Event)
    except _DAMAGES as error:
        return Damaged(columns["seq"], str(error))
