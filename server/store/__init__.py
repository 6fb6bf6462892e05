"""The engine's contract of a store, which keeps sessions and their logs. (`library.py` has the contract for people.)

One conformance suite runs over every implementation. Every store keeps these rules:

- a batch is one transaction; each write has its own outcome, and a refused write does not affect the others;
- `seq` has no gaps within a session and is set inside the transaction; times rise by at least 1 ms;
- the store checks the owner first, then the client id, then the version, then the `seq` of a turn's own line: a
  repeated cancellation is a Duplicate, even when its version is old;
- a store returns payloads exactly as they were written: integers of any size, floats, NUL and U+2028 in a text. NaN
  and the infinities are not JSON and become null, as on the wire. A write that `check_write` refuses, or that is not
  JSON, raises InvalidWrite, and nothing of its batch is written;
- a cancelled commit is written as a whole or not at all, and the store goes on working;
- where the store can tell which write it failed on, that write alone is Failed, and nothing of it is written;
- after `commit` has returned, its writes survive power loss, if `durability` says so;
- every statement names the owner (`user_id`): a session of another user looks like one that does not exist;
- a missing record is a value (None, Missing); a failed look-up raises StoreUnavailable.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from server.records import Event, Loaded, Outcome, SessionKey, Write


class Store(Protocol):
    """The operations of a store that the engine needs."""

    @property
    def durability(self) -> str:
        """Which failures a commit survives, in a few words. The server logs it when it starts."""
        ...

    async def open(self) -> None:
        """Connect, and create or migrate the schema. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish the calls that were made and disconnect. Later calls raise StoreClosed, except another `close`."""
        ...

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, list[Outcome]]:
        """Commit a batch as one transaction; returns one outcome per write, in order.

        The work may begin with the call, before the coroutine is awaited. Raises StoreUnavailable, or InvalidWrite
        when no store could store one of the writes; in both cases nothing was written.
        """
        ...

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """The session, at most `limit` events with `seq > after`, and its unanswered lines, in one consistent read.

        None when this user has no such session.
        """
        ...

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        """At most `limit` events with `seq > after`, in order. `after` comes from clients, so it may be any integer."""
        ...

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        """For each session the `seq` of its last event, 0 for a session that does not exist.

        The caller bounds the number of sessions in a call.
        """
        ...

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        """Take or renew the leases of these sessions for `holder`; returns for each whether `holder` has it now.

        A lease ends `ttl_ms` later by the store's clock, unless it is renewed. It does not guard writes and need not
        be durable. The sessions need not exist.
        """
        ...

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End those of these leases that `holder` has."""
        ...

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """The event of this session that was stored with this client id, or None."""
        ...

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """At most `limit` sessions that have an unanswered line and no event since `before_ms` (UTC ms)."""
        ...
