"""Leases: which process works on which session, so that two processes do not pay for the same answer.

A lease is a courtesy, never a lock: what guards a turn is its version (L3). A process that was paused may believe in a
lease that is gone, and its commit is refused all the same. Leases live in the store, which every process has, so they
hold whether or not there is a Redis; only turns that run for a while have one, so they cost little.
"""

import uuid
from collections.abc import Sequence, Set
from typing import Protocol

import structlog

from server.errors import StoreError
from server.records import SessionKey
from server.store import Store

log = structlog.get_logger()


class Leases(Protocol):
    """What the engine needs of leases."""

    @property
    def held(self) -> Set[SessionKey]:
        """The leases that were ours when we last asked."""
        ...

    async def hold(self, keys: Sequence[SessionKey]) -> Set[SessionKey]:
        """Take or renew the leases of these sessions: those that are ours now."""
        ...

    async def release(self, keys: Sequence[SessionKey]) -> None:
        """Release leases of this process; leases of others stay."""
        ...


class LocalLeases:
    """Leases of a process that is alone: it holds all of them."""

    held: Set[SessionKey] = frozenset()

    async def hold(self, keys: Sequence[SessionKey]) -> Set[SessionKey]:
        """All of them."""
        return set(keys)

    async def release(self, keys: Sequence[SessionKey]) -> None:
        """There is nothing to release."""


class StoreLeases:
    """Leases of one process in the store that it shares with others; each outlives its holder by `ttl_ms` at most."""

    def __init__(self, store: Store, ttl_ms: int) -> None:
        self._store = store
        self._ttl_ms = ttl_ms
        self._holder = uuid.uuid4().hex
        self._held: set[SessionKey] = set()

    @property
    def held(self) -> Set[SessionKey]:
        """The leases that were ours when we last asked."""
        return self._held

    async def hold(self, keys: Sequence[SessionKey]) -> Set[SessionKey]:
        """Take or renew these leases; returns those held by this process now, none without the store."""
        try:
            answers = await self._store.hold(keys, self._holder, self._ttl_ms) if keys else ()
        except StoreError as error:
            log.warning("leases_failed", error=str(error))
            return frozenset()
        ours = {key for key, is_ours in zip(keys, answers, strict=True) if is_ours}
        self._held -= set(keys) - ours
        self._held |= ours
        return ours

    async def release(self, keys: Sequence[SessionKey]) -> None:
        """Release them. When the store cannot be reached they expire."""
        self._held.difference_update(keys)
        try:
            if keys:
                await self._store.release(keys, self._holder)
        except StoreError as error:
            log.warning("leases_failed", error=str(error))
