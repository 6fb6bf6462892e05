"""The contract of an inspector, with which an operator reads a session by its id alone.

A Store needs the owner in every statement (law L10); an inspector finds the owners of a session id. So it is a separate
contract: it can only read, and no code that serves users imports an implementation.

Use an inspector in a `with` block. It returns a session as it was when `look` was called. It raises StoreUnavailable
when it cannot read; a damaged row is a value, Damaged.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, Self

import msgspec
from msgspec import Struct

from server.records import Event, SessionKey, Snapshot

#: How many events are read at a time.
PAGE_LIMIT: Final = 500
#: The most owners of one id that `owners` returns.
OWNERS_LIMIT: Final = 20
#: Less than the `seq` of every event, also of a damaged one.
BEFORE_ALL: Final = -(2**63)

#: The exceptions of decoding damaged JSON: not a text, not UTF-8, not valid JSON, nested too deep.
_DAMAGES: Final = (TypeError, ValueError, RecursionError)

_decoder = msgspec.json.Decoder(dict[str, Any])


class Damaged(Struct, frozen=True):
    """A stored row that no store would write. `seq` is that of its event, or 0 for the session's own row."""

    seq: int
    reason: str


class Look(NamedTuple):
    """A stored session.

    `snapshot` is None when the session does not exist. `log` has every event in order and is read page by page, inside
    the `with` block. `lease_ms` is the remaining time of the session's lease, None without one.
    """

    snapshot: Snapshot | Damaged | None
    log: Iterator[Event | Damaged]
    lease_ms: int | None


class Inspector(Protocol):
    """Reads stored sessions for an operator."""

    def __enter__(self) -> Self:
        """Begin to read. Raises StoreUnavailable."""
        ...

    def __exit__(self, *_: object) -> None: ...

    def owners(self, session_id: str) -> Sequence[str]:
        """The ids of the users who own a session with this id, at most OWNERS_LIMIT. Raises StoreUnavailable."""
        ...

    def look(self, key: SessionKey) -> Look:
        """Read the session. Raises StoreUnavailable; iterating over the log may raise it, too."""
        ...


def read_snapshot(columns: Mapping[str, Any]) -> Snapshot | Damaged:
    """The snapshot from a row (column → value, `memory` as JSON text), or Damaged."""
    try:
        return msgspec.convert({**columns, "memory": _decoder.decode(columns["memory"])}, Snapshot)
    except _DAMAGES as error:
        return Damaged(0, str(error))


def read_event(columns: Mapping[str, Any]) -> Event | Damaged:
    """The event from a row (column → value, `payload` as JSON text), or Damaged."""
    try:
        return msgspec.convert({**columns, "payload": _decoder.decode(columns["payload"])}, Event)
    except _DAMAGES as error:
        return Damaged(columns["seq"], str(error))
