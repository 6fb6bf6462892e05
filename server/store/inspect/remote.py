"""The shared part of the inspectors of stores behind a network: an event loop, and consistency over several calls.

Each call is consistent in itself. A log only grows at its end, so the inspector drops events after the end that the
first call saw; the pages together are then the log at the time of that call. If the session is deleted meanwhile, a new
one may have its id, so the inspector stops with StoreUnavailable.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar

from server.errors import StoreUnavailable
from server.records import Event, SessionKey, Snapshot
from server.store.inspect.contract import BEFORE_ALL, OWNERS_LIMIT, PAGE_LIMIT, Damaged, Look, read_event, read_snapshot
from server.store.rows import EVENT_COLUMNS, SESSION_COLUMNS

_EVENT: Final = EVENT_COLUMNS.split(", ")
_SESSION: Final = SESSION_COLUMNS.split(", ")
#: The functions in migrations/ that inspectors call.
INSPECT: Final = "rejoinder_inspect_v2"
OWNERS: Final = "rejoinder_owners_v1"

T = TypeVar("T")


class Page(NamedTuple):
    """The answer of one call: the session, and at most PAGE_LIMIT of its events with their places in the log.

    `is_same` is a value that differs for a later session with the same id; `last` is the place of the last event.
    """

    is_same: object
    snapshot: Snapshot | Damaged | None
    lease_ms: int | None
    last: int
    events: Sequence[tuple[int, Event | Damaged]]


class Source(Protocol):
    """A connection to a store. Every method raises StoreError when it fails."""

    async def open(self) -> None:
        """Connect and check that this program can read the schema."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    async def owners(self, session_id: str) -> Sequence[str]:
        """The users who own a session, or the log of one, with this id; at most OWNERS_LIMIT."""
        ...

    async def page(self, key: SessionKey, after: int) -> Page:
        """The session, and a page of its events after the place `after`."""
        ...


class RemoteInspector:
    """An Inspector over a source; `name` is the store's name in error messages."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._name = name
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        """Connect. Raises StoreUnavailable."""
        try:
            self._run(self._source.open())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        with self._loop:
            self._run(self._source.close())

    def owners(self, session_id: str) -> Sequence[str]:
        """The users who own a session, or the log of one, with this id. Raises StoreUnavailable."""
        return self._run(self._source.owners(session_id))

    def look(self, key: SessionKey) -> Look:
        """Read the session with one call. Iterating over the log makes further calls, up to that call's last event."""
        first = self._run(self._source.page(key, BEFORE_ALL))
        return Look(first.snapshot, self._log(key, first), first.lease_ms)

    def _log(self, key: SessionKey, first: Page) -> Iterator[Event | Damaged]:
        page, at = first, BEFORE_ALL
        while page.events:
            for at, event in page.events:
                if at > first.last:
                    return
                yield event
            if at == first.last:
                return
            page = self._run(self._source.page(key, at))
            if page.is_same != first.is_same or not page.events:
                raise StoreUnavailable(f"cannot read {self._name}: the session was deleted meanwhile; try again")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(work)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"cannot read {self._name}: {error}") from error


def owners_arguments(session_id: str) -> dict[str, object]:
    """The arguments of the function OWNERS."""
    return {"session": session_id, "page": OWNERS_LIMIT}


def function_arguments(key: SessionKey, after: int) -> dict[str, object]:
    """The arguments of the function INSPECT."""
    return {"session": key.session_id, "owner": key.user_id, "after": after, "page": PAGE_LIMIT}


def function_page(answer: Sequence[Any]) -> Page:
    """Convert the answer of the function INSPECT to a Page."""
    session, lease_ms, last, events = answer
    rows = [dict(zip(_EVENT, row, strict=True)) for row in events]
    read = [(row["seq"], read_event(row)) for row in rows]
    if session is None:
        return Page(None, None, None, last or 0, read)
    columns = dict(zip(_SESSION, session, strict=True))
    return Page((columns["user_id"], columns["created_at"]), read_snapshot(columns), lease_ms, last or 0, read)
