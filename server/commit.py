"""Group commit: the writes of many sessions in one transaction.

One task takes everything that queued while the last transaction ran (no timer: an idle server adds no wait, a busy one
makes large batches), commits it, and resolves each write. A batch that fails is tried again write by write, so that a
bad one fails alone. Trying again is safe although the first outcome is unknown: an accept carries a client id, a turn a
version, so a commit that did happen comes back as Duplicate or Conflict and is recognised by its message ids.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from server.errors import InvalidWrite, StoreUnavailable
from server.store import Store
from server.store.records import Committed, Conflict, Duplicate, Event, Outcome, Write

#: Told the outcome of a write, or None when the store could not commit it.
Resolve = Callable[[Outcome | None], None]

log = structlog.get_logger()


class _Queued(NamedTuple):
    write: Write
    resolve: Resolve
    again: bool


class GroupCommit:
    """Between engine and store. `batch_limit` bounds a transaction, `queue_limit` what waits for one."""

    def __init__(self, store: Store, *, batch_limit: int, queue_limit: int) -> None:
        self._store = store
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._queue: deque[_Queued] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.batches = 0

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def submit(self, write: Write, resolve: Resolve, *, again: bool = False) -> bool:
        """Queue a write; `resolve` is called once, in the order of the queue. False: the queue is full, nothing done.

        `again` says that the write was submitted before and its outcome is unknown.
        """
        if len(self._queue) >= self._queue_limit or self._closing:
            return False
        self._queue.append(_Queued(write, resolve, again))
        self._wake.set()
        return True

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_limit))]
                await self._commit(batch)
            if self._closing:
                return

    async def _commit(self, batch: list[_Queued]) -> None:
        self.batches += 1
        try:
            outcomes: Sequence[Outcome | None] = await self._store.commit([queued.write for queued in batch])
        except (StoreUnavailable, InvalidWrite) as error:
            log.warning("commit_failed", writes=len(batch), error=str(error))
            outcomes = [await self._alone(queued.write) for queued in batch]
        for queued, outcome in zip(batch, outcomes, strict=True):
            doubtful = queued.again and outcome is not None
            queued.resolve(await self._recognise_or_fail(queued.write, outcome) if doubtful else outcome)

    async def _alone(self, write: Write) -> Outcome | None:
        try:
            [outcome] = await self._store.commit([write])
        except (StoreUnavailable, InvalidWrite) as error:
            log.warning("write_failed", session_id=write.session_id, error=str(error))
            return None
        return await self._recognise_or_fail(write, outcome)

    async def _recognise_or_fail(self, write: Write, outcome: Outcome | None) -> Outcome | None:
        try:
            return outcome and await self._recognise(write, outcome)
        except StoreUnavailable as error:
            log.warning("lookup_failed", session_id=write.session_id, error=str(error))
            return None

    async def _recognise(self, write: Write, outcome: Outcome) -> Outcome:
        """A refused second try may be the answer to a first one that did happen: its message ids are in the log."""
        ids = {event.message_id for event in write.events}
        if isinstance(outcome, Duplicate) and outcome.event.message_id in ids and write.update is None:
            return Committed((outcome.event,), 0)
        if isinstance(outcome, Conflict | Duplicate) and write.update is not None:
            events = await self._written(write, ids)
            if events:
                return Committed(events, (write.expected_version or 0) + 1)
        return outcome

    async def _written(self, write: Write, ids: set[str]) -> tuple[Event, ...]:
        """The events of this turn, if they are in the log: a turn stands behind the line that it answers."""
        after = write.events[-1].turn
        while page := await self._store.read(write.session_id, write.user_id, after, 200):
            found = tuple(event for event in page if event.message_id in ids)
            if found:
                rest = (
                    []
                    if len(found) == len(ids)
                    else await self._store.read(write.session_id, write.user_id, page[-1].seq, len(ids))
                )
                return found + tuple(event for event in rest if event.message_id in ids)
            after = page[-1].seq
        return ()
