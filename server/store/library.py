"""The library: a store's operations for people, such as listing and deleting conversations.

The engine does not import it: turns, reconnects and the sweep do not need it. A call may be slower than a turn, and
returns a bounded page. One conformance suite of its own runs over every store. Every method names the owner, except
`published`: knowing the address of a page is the permission to read it.
"""

from collections.abc import Sequence
from typing import Protocol

from server.records import Event, SessionKey, Summary
from server.store import Store


class Library(Protocol):
    """The operations of a store for people. Every method may raise StoreUnavailable."""

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event with this message id and type, of any user: every person with a page's address may read it.

        Only a workflow's own frames (`is_own_frame`) can be published. For other types, and without such an event,
        this is None.
        """
        ...

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session and its log; returns whether it existed."""
        ...

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """At most `limit` sessions of the user, the latest change first."""
        ...


class FullStore(Store, Library, Protocol):
    """Both contracts together. Every store implements it."""
