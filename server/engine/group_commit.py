"""Group commit: the writes of many sessions in one transaction.

One task commits the writes that were queued while the last transaction ran. There is no timer: an idle server adds no
wait, and a busy one makes large batches. The callers of a batch get their outcomes while the next transaction runs. A
long queue is committed in halves: with one batch for all sessions, the store would be idle while the event loop works,
and the loop while the store works.

When a batch fails, each of its writes is tried again alone, so that only the bad one fails. This is safe although the
first outcome is unknown: an accept carries a client id and a turn carries a version, so a write that was committed
returns Duplicate or Conflict the second time, and its message ids in the log show that it is the same write.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from server.errors import InvalidWrite, StoreError, StoreUnavailable
from server.records import (
    UNKNOWN,
    UNSTORABLE,
    Committed,
    Conflict,
    Duplicate,
    Event,
    Failed,
    Missing,
    Outcome,
    Settled,
    Write,
)
from server.store import Store

#: Called with the settled outcome of a write.
Resolve = Callable[[Settled], None]

#: After so many writes that failed with StoreUnavailable, the writes left of the batch are not tried: each try may
#: take as long as the store's timeout, and meanwhile no other session is served.
_GIVE_UP: Final = 2
INVALID: Final = "invalid"
#: The classes of SQLSTATE for a fault of the write itself: wrong data, a broken constraint, a limit of the program.
_FOR_GOOD: Final = frozenset({"22", "23", "54"})
_PAGE: Final = 200
#: A queue up to this long is one batch: the second transaction would cost more time than halves save.
_WHOLE: Final = 32
#: How many callers get their outcome in one iteration of the event loop.
_SLICE: Final = 16

log = structlog.get_logger()


class _Queued(NamedTuple):
    write: Write
    resolve: Resolve
    again: bool


_UnderWay = tuple[list[_Queued], "asyncio.Future[list[Outcome]]"]


class GroupCommit:
    """Commits the engine's writes: at most `batch_limit` in one transaction, at most `queue_limit` in the queue."""

    def __init__(self, store: Store, *, batch_limit: int, queue_limit: int) -> None:
        self._store = store
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._queue: deque[_Queued] = deque()
        self._wake = asyncio.Event()
        self._is_idle = False  # no flush is running, and no caller is being notified
        self._under_way: _UnderWay | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.batches = 0

    def start(self) -> None:
        """Start the task that commits. The event loop must be running."""
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def close(self) -> None:
        """Commit the queued writes, then stop. Cancelling the caller does not cancel the commits."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    def submit(self, write: Write, resolve: Resolve, *, again: bool = False) -> bool:
        """Queue a write; `resolve` is called once with its outcome, in the order of the queue.

        Returns False, and does nothing, when the queue is full or closed. `again`: the write was submitted before, and
        its outcome is unknown.
        """
        if len(self._queue) >= self._queue_limit or self._closing:
            return False
        self._queue.append(_Queued(write, resolve, again))
        self._wake.set()
        if self._is_idle and len(self._queue) == _WHOLE:
            self._begin()  # the loop may read many more lines before it runs the task
        return True

    async def _run(self) -> None:
        while True:
            self._is_idle = True
            await self._wake.wait()
            self._wake.clear()
            self._begin()
            while self._under_way is not None:
                batch, commit = self._under_way
                outcomes = await self._outcomes(batch, commit)
                self._under_way = None
                # If the batch failed, its writes are tried again first, before later ones.
                if not isinstance(outcomes, Exception):
                    self._begin()
                await self._resolve_all(batch, outcomes)
                self._begin()
            if self._closing:
                return

    def _begin(self) -> None:
        """Commit the next batch, if there is one and none is under way."""
        self._is_idle = False
        waiting = len(self._queue)
        if not waiting or self._under_way is not None:
            return
        self.batches += 1
        size = min(max(_WHOLE, (waiting + 1) // 2), waiting, self._batch_limit)
        batch = [self._queue.popleft() for _ in range(size)]
        self._under_way = batch, self._commit([queued.write for queued in batch])

    def _commit(self, writes: Sequence[Write]) -> "asyncio.Future[list[Outcome]]":
        try:
            return asyncio.ensure_future(self._store.commit(writes))
        except Exception as error:  # noqa: BLE001  as in `_outcomes`
            failed: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    async def _resolve_all(self, batch: list[_Queued], outcomes: list[Outcome] | Exception) -> None:
        if isinstance(outcomes, Exception):
            await self._commit_alone(batch)
            return
        for place, (queued, outcome) in enumerate(zip(batch, outcomes, strict=True)):
            if place % _SLICE == 0:
                # Yield: the next batch goes to the store first, and the first callers' answers are sent out early.
                await asyncio.sleep(0)
            if queued.again:
                _resolve(queued, await self._recognise(queued.write, outcome))
            else:
                _resolve(queued, _taken(queued.write, outcome) if isinstance(outcome, Failed) else outcome)

    async def _commit_alone(self, batch: list[_Queued]) -> None:
        """Commit each write in its own transaction; stop trying after _GIVE_UP failures for an unavailable store."""
        in_vain = 0
        for queued in batch:
            if in_vain == _GIVE_UP:
                _resolve(queued, UNKNOWN)
                continue
            outcomes = await self._outcomes([queued], self._commit([queued.write]))
            if isinstance(outcomes, Exception):
                in_vain += isinstance(outcomes, StoreUnavailable)
                _resolve(queued, UNSTORABLE if isinstance(outcomes, InvalidWrite) else UNKNOWN)
            else:
                in_vain = 0
                _resolve(queued, await self._recognise(queued.write, outcomes[0]))

    async def _outcomes(
        self, batch: Sequence[_Queued], commit: "asyncio.Future[list[Outcome]]"
    ) -> list[Outcome] | Exception:
        """The outcomes, or the exception of the commit. It is not raised: it would end the task that commits."""
        try:
            return await commit
        except Exception as error:  # also a bug of a store: without this task all later writes would hang
            session_id = batch[0].write.session_id if len(batch) == 1 else None
            unknown = None if isinstance(error, StoreError) else error
            log.warning("commit_failed", writes=len(batch), session_id=session_id, error=str(error), exc_info=unknown)
            return error

    async def _recognise(self, write: Write, outcome: Outcome) -> Settled:
        """The outcome of a second try: Committed if the first try was committed. Unknown if the look-up fails."""
        try:
            match outcome:
                case Duplicate(first) if first.message_id in {event.message_id for event in write.events}:
                    return await self._written(write, max(0, first.seq - len(write.events))) or outcome
                case Conflict():
                    return await self._written(write, write.events[-1].turn) or outcome
                case _:
                    return _taken(write, outcome)
        except Exception as error:  # as in `_outcomes`
            unknown = None if isinstance(error, StoreError) else error
            log.warning("lookup_failed", session_id=write.session_id, error=str(error), exc_info=unknown)
            return UNKNOWN

    async def _written(self, write: Write, after: int) -> Settled | None:
        """The write's outcome if its events are in the log behind `after`; None if they are not."""
        ids = {event.message_id for event in write.events}
        found: list[Event] = []
        while page := await self._store.read(write.key, after, _PAGE):
            found += [event for event in page if event.message_id in ids]
            if len(found) >= len(ids):
                return await self._committed(write, tuple(found))
            after = page[-1].seq
        return None

    async def _committed(self, write: Write, events: tuple[Event, ...]) -> Settled:
        if write.expected_version is not None:
            return Committed(events, write.expected_version + 1)
        loaded = await self._store.load(write.key, 0, 0)
        return Committed(events, loaded.snapshot.version) if loaded is not None else Missing()


def _taken(write: Write, outcome: Outcome) -> Settled:
    """Make a Failed outcome Unstorable (the store can never take the write) or Unknown; keep any other outcome."""
    if not isinstance(outcome, Failed):
        return outcome
    log.warning("commit_failed", writes=1, session_id=write.session_id, error=outcome.code)
    return UNSTORABLE if outcome.code[:2] in _FOR_GOOD else UNKNOWN


def _resolve(queued: _Queued, outcome: Settled) -> None:
    """Notify the caller. An exception there is one session's fault and must not reach the next in the queue."""
    try:
        queued.resolve(outcome)
    except Exception:  # a caller may raise anything; those behind it in the batch must get their outcomes
        log.exception("resolve_failed", session_id=queued.write.session_id)
