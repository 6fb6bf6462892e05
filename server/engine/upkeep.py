"""Background loops of one process: answer orphaned lines, detect missed events, renew leases, evict idle sessions.

A turn is correct without them. The sweep finds lines without an answer (L8). The comparison of heads finds events whose
notice was lost between processes (L5). The leases show which process works on a session.
"""

import asyncio
import random
from collections.abc import Sequence, Set
from typing import Final

import structlog

from server.clock import now_ms
from server.engine.engine import Engine
from server.errors import StoreError
from server.records import SessionKey
from server.settings import Settings
from server.tasks import Tasks

log = structlog.get_logger()

#: Idle sessions are looked for this many times in SESSION_IDLE_MS.
_REST_SHARE: Final = 4
#: Leases are renewed this many times in TAKEOVER_MS: a lease survives two failed renewals.
_LEASE_SHARE: Final = 3
#: A sweep takes the leases of so many sessions at a time, so that the processes share a long list.
_SHARE: Final = 16
#: Each wait is longer or shorter by up to this part, so that the processes do not run in step.
_JITTER: Final = 0.2


class Upkeep:
    """The background loops of one process. `shared`: other processes use the same store."""

    def __init__(self, engine: Engine, settings: Settings, *, shared: bool) -> None:
        self._engine = engine
        self._leases = engine.leases
        self._settings = settings
        self._shared = shared
        self._looks = asyncio.Event()
        self._tasks = Tasks()

    def start(self) -> None:
        """Start the loops; the first sweep begins at once."""
        self._tasks.spawn(self._sweep(), "sweep")
        self._tasks.spawn(self._let_rest(), "rest")
        if self._shared:
            self._tasks.spawn(self._compare_heads(), "heads")
            self._tasks.spawn(self._keep_leases(), "leases")

    async def close(self) -> None:
        """Stop the loops, and release the leases of this process."""
        await self._tasks.close()
        await self._leases.release(list(self._leases.held))

    def look(self) -> None:
        """Compare the heads now, because news of other processes may have been lost."""
        self._looks.set()

    async def _sweep(self) -> None:
        """Wake the sessions with an unanswered line, at start and every SWEEP_MS. No client need reconnect (L8).

        All processes sweep. The process that gets a session's lease wakes it, so they share the work.
        """
        grace_ms = self._settings.takeover_ms if self._shared else 0
        while True:
            limit = self._settings.sweep_limit
            try:
                # Sessions that rest after a fault have the oldest lines, and must not displace the others.
                limit += len(self._engine.troubles)
                waiting = await self._engine.store.pending(now_ms() - grace_ms, limit)
            except StoreError as error:
                log.warning("sweep_failed", error=str(error))
                waiting = []
            # Every sweep finds the lines that are being answered; those of this process are skipped.
            self._engine.end_overdue()
            busy = set(self._engine.busy()) if waiting else frozenset()
            keys = [key for key in waiting if key not in busy]
            random.shuffle(keys)  # other processes sweep now too, and should begin elsewhere
            woken = 0
            for start in range(0, len(keys), _SHARE):
                ours = await self._share(keys[start : start + _SHARE])
                for key in ours:
                    woken += await self._engine.wake(key)
            if woken:
                log.info("sweep", sessions=woken)
            if len(waiting) < limit or not woken:  # sweeping at once would find the same lines again
                await _pause(self._settings.sweep_ms)
            else:
                await asyncio.sleep(self._settings.store_retry_ms / 1000)

    async def _share(self, keys: list[SessionKey]) -> Sequence[SessionKey]:
        """The sessions that this process must wake: those whose leases it gets."""
        if not self._shared:
            return keys
        held = await self._leases.hold(keys)
        return [key for key in keys if key in held]

    async def _compare_heads(self) -> None:
        """Read the heads of all sessions followed in this process; more often while the broker is away."""
        while True:
            self._looks.clear()  # news lost from now on are for the next round
            keys = list(self._engine.broker.sessions())
            for start in range(0, len(keys), self._settings.heads_limit):
                await self._compare(keys[start : start + self._settings.heads_limit])
            away = not self._engine.broker.connected
            wait_ms = self._settings.head_poll_ms if away else self._settings.head_check_ms
            await _pause(wait_ms, self._looks)

    async def _compare(self, keys: Sequence[SessionKey]) -> None:
        try:
            heads = await self._engine.store.heads(keys)
        except StoreError as error:
            log.warning("heads_failed", error=str(error))
            return
        for key, head in zip(keys, heads, strict=True):
            if head:
                self._engine.broker.tell_head(key, head)
                self._engine.hear(key, head)

    async def _keep_leases(self) -> None:
        """Hold a lease for each session with a running turn, and release the others.

        A lease is released after two rounds without a turn: a session whose lease was just taken is still being read.
        """
        idle: Set[SessionKey] = frozenset()
        while True:
            await asyncio.sleep(self._settings.takeover_ms / 1000 / _LEASE_SHARE)
            busy = set(self._engine.busy())
            idle, before = self._leases.held - busy, idle
            if over := idle & before:
                await self._leases.release(list(over))
            if busy:
                await self._leases.hold(list(busy))

    async def _let_rest(self) -> None:
        """Evict the sessions that have had nothing to do for SESSION_IDLE_MS."""
        while True:
            await asyncio.sleep(self._settings.session_idle_ms / 1000 / _REST_SHARE)
            self._engine.let_rest(now_ms() - self._settings.session_idle_ms)


async def _pause(wait_ms: int, until: asyncio.Event | None = None) -> None:
    """Wait for `wait_ms`, give or take _JITTER, or until the event is set."""
    wait_s = wait_ms / 1000 * random.uniform(1 - _JITTER, 1 + _JITTER)
    try:
        async with asyncio.timeout(wait_s):
            await (until or asyncio.Event()).wait()
    except TimeoutError:
        pass
