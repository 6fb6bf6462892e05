"""The library: what people do with stored conversations, beside the contract of the engine.

A turn, a reconnect and the sweep need none of it, so the engine does not import it. It may be slower than a turn, and
one call returns a bounded page. It has a conformance suite of its own over every store. The owner stands in every
method but `published`, where the address is the permission.
"""

from collections.abc import Sequence
from typing import Protocol

from server.records import Event, SessionKey, Summary
from server.store import Store


class Library(Protocol):
    """What people need of a store."""

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event of this message id and type, of any user: a page is shown to everyone who has its address.

        Only a workflow's own frames (`is_own_frame`) can be published: for any other type this is None.
        """
        ...

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session and its log; whether there was one."""
        ...

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        ...


class FullStore(Store, Library, Protocol):
    """Both contracts: what each kind of store implements."""
