"""The contract of an inspector: how a person on call reads a session of which they know only the id.

A Store demands the owner in every statement (law L10); an inspector asks for none. So it is a door of its own, it can
only read, and nothing that serves users imports an implementation.

An inspector is a `with` block: everything that is read in it is of one moment. Its methods raise StoreUnavailable when
they could not look.
"""

from collections.abc import Iterator
from typing import Final, Protocol, Self

from msgspec import Struct

from server.store.records import Event, Snapshot

#: How many events are read at a time.
PAGE_LIMIT: Final = 500
#: Behind this every event comes, whatever number it was given.
_BEFORE_ALL: Final = -(2**63)


class Damaged(Struct, frozen=True):
    """A row that is there and is not what a store writes. `seq` is its event's, 0 the session's own row."""

    seq: int
    reason: str


class Inspector(Protocol):
    """What can be read of a session without its owner."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def session(self, session_id: str) -> Snapshot | Damaged | None:
        """The session as it stands; None when there is none."""
        ...

    def events(self, session_id: str, after: int, limit: int) -> list[Event | Damaged]:
        """At most `limit` events with `seq > after`, in order."""
        ...


def whole_log(inspector: Inspector, session_id: str) -> Iterator[Event | Damaged]:
    """Every event of the session, read in pages."""
    after = _BEFORE_ALL
    while page := inspector.events(session_id, after, PAGE_LIMIT):
        yield from page
        after = page[-1].seq
