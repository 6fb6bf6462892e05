"""The engine's contract of a store: it keeps sessions and their logs. (`library.py` is the contract for people.)

One conformance suite runs over every implementation. Rules that all of them keep:

- a batch is one transaction; each write has its own outcome, and a write that is refused leaves its neighbours alone;
- `seq` is gapless per session and given inside the transaction, times rise by at least 1 ms;
- the owner is looked at first, then the client id, then the version, then the place of a turn's own line: a repeated
  cancellation is a Duplicate however stale it is;
- what goes in comes out, to the letter: whole numbers of any size, floats, NUL and U+2028 in a text. NaN and the
  infinities are no JSON and become null, as on the wire. What `check_write` refuses, or what is not JSON, is an
  InvalidWrite, and the batch that it stands in is not written;
- a commit whose caller stops waiting is there or is not there, never a part of it, and the store goes on;
- a write that the store itself stumbles over may be Failed alone, where the store can tell; nothing of it was written;
- when `commit` returns, what was committed survives power loss, if the store says so in `durability`;
- the owner (`user_id`) stands in every statement: another user's session looks like one that does not exist;
- "not there" is a value (None, Missing); "could not look" is StoreUnavailable.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from server.records import Event, Loaded, Outcome, SessionKey, Write


class Store(Protocol):
    """What the engine needs of a store."""

    @property
    def durability(self) -> str:
        """In a few words, what a commit survives: goes to the log at start."""
        ...

    async def open(self) -> None:
        """Connect, and create or migrate the schema. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and disconnect; every later call raises StoreClosed, but for another `close`."""
        ...

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, list[Outcome]]:
        """Commit a batch as one transaction: one outcome per write, in order. It may begin with the call.

        Raises StoreUnavailable, or InvalidWrite when one of them cannot be stored; in both cases nothing was written.
        """
        ...

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """The session, at most `limit` events with `seq > after`, and its unanswered lines, in one consistent read."""
        ...

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        """At most `limit` events with `seq > after`, in order. Clients say `after`: it may be any number."""
        ...

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        """For each session the `seq` of its last event, 0 where there is no such session; in one call.

        The caller bounds how many it asks for.
        """
        ...

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        """Take or renew the leases of these sessions for `holder`: whether each is its own now.

        A lease ends `ttl_ms` later by the store's clock, unless it is renewed. It guards nothing and need not be
        durable; there need not be such a session.
        """
        ...

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End these leases, where they are the holder's."""
        ...

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """The event that took effect under this client id."""
        ...

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """Sessions with an unanswered line that did not change since `before_ms` (UTC ms)."""
        ...
