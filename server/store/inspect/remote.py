"""What the inspectors of stores behind a network share: an event loop of their own, and one moment over several calls.

Each call is one moment by itself. A log only grows at its end, so the pages are cut where the log ended at the first
call, and together they are what that call would have brought. Only the end of a session can come between; then another
one may have its id, and reading stops.
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
#: The functions of migrations/ that are for inspectors.
INSPECT: Final = "rejoinder_inspect_v2"
OWNERS: Final = "rejoinder_owners_v1"

T = TypeVar("T")


class Page(NamedTuple):
    """One call's answer: the session, and at most PAGE_LIMIT of its events with their places in the log.

    `is_same` tells a session from another one that has its id later; `last` is the place where the log ends.
    """

    is_same: object
    snapshot: Snapshot | Damaged | None
    lease_ms: int | None
    last: int
    events: Sequence[tuple[int, Event | Damaged]]


class Source(Protocol):
    """A connection to a store. Everything raises StoreError when it cannot."""

    async def open(self) -> None:
        """Connect, and see that what is there can be understood."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    async def owners(self, session_id: str) -> Sequence[str]:
        """Who has a session of this id, or a log of one; at most OWNERS_LIMIT."""
        ...

    async def page(self, key: SessionKey, after: int) -> Page:
        """The session, and the events behind the place `after`."""
        ...


class RemoteInspector:
    """An Inspector over a source; `name` is the store's in complaints."""

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
        """Who has a session of this id, or a log of one."""
        return self._run(self._source.owners(session_id))

    def look(self, key: SessionKey) -> Look:
        """The session as one call finds it; further calls bring the rest of the log as of that call."""
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
    """What OWNERS is called with."""
    return {"session": session_id, "page": OWNERS_LIMIT}


def function_arguments(key: SessionKey, after: int) -> dict[str, object]:
    """What INSPECT is called with."""
    return {"session": key.session_id, "owner": key.user_id, "after": after, "page": PAGE_LIMIT}


def function_page(answer: Sequence[Any]) -> Page:
    """What INSPECT answers."""
    session, lease_ms, last, events = answer
    rows = [dict(zip(_EVENT, row, strict=True)) for row in events]
    read = [(row["seq"], read_event(row)) for row in rows]
    if session is None:
        return Page(None, None, None, last or 0, read)
    columns = dict(zip(_SESSION, session, strict=True))
    return Page((columns["user_id"], columns["created_at"]), read_snapshot(columns), lease_ms, last or 0, read)
