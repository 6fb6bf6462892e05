"""Group commit: the writes of many sessions in one transaction.

One task takes what queued while the last transaction ran (no timer: an idle server adds no wait, a busy one makes large
batches), commits it, and resolves each write while the next transaction runs. So that there is a next one, a long queue
goes in halves: sessions that all wait for one transaction would come back all at once, and store and loop would work in
turns. A batch that fails is tried again write by write, so that a bad one fails alone. Trying again is safe although
the first outcome is unknown: an accept carries a client id, a turn a version, so a commit that did happen comes back as
Duplicate or Conflict and is recognised by its message ids.
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

#: After so many writes in a row that the store was not there for, the rest of their batch is not tried: each try may
#: take as long as the store's timeout, and meanwhile no other session is served.
_GIVE_UP: Final = 2
INVALID: Final = "invalid"
#: The classes of SQLSTATE that speak of the write itself: wrong data, a broken constraint, a limit of the program.
_FOR_GOOD: Final = frozenset({"22", "23", "54"})
_PAGE: Final = 200
#: A queue that is no longer than this goes whole: halves of it would cost more transactions than they save time.
_WHOLE: Final = 32
#: So many are told in one turn of the loop.
_SLICE: Final = 16

log = structlog.get_logger()


class _Queued(NamedTuple):
    write: Write
    resolve: Resolve
    again: bool


_UnderWay = tuple[list[_Queued], "asyncio.Future[list[Outcome]]"]


class GroupCommit:
    """Between engine and store. `batch_limit` bounds a transaction, `queue_limit` what waits for one."""

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
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def close(self) -> None:
        """Commit what is queued, then stop. Giving up this wait does not stop it."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    def submit(self, write: Write, resolve: Resolve, *, again: bool = False) -> bool:
        """Queue a write; `resolve` is called once, in the order of the queue. False: the queue is full, nothing done.

        `again` says that the write was submitted before and its outcome is unknown.
        """
        if len(self._queue) >= self._queue_limit or self._closing:
            return False
        self._queue.append(_Queued(write, resolve, again))
        self._wake.set()
        if self._is_idle and len(self._queue) == _WHOLE:
            self._begin()  # the loop has more such lines to read before it comes round to the task
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
                # Where it failed, what is tried again must keep its place before what came later.
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
                # The next batch sets out before anybody is told, and what the first were told before the last are.
                await asyncio.sleep(0)
            if queued.again:
                _resolve(queued, await self._recognise(queued.write, outcome))
            else:
                _resolve(queued, _taken(queued.write, outcome) if isinstance(outcome, Failed) else outcome)

    async def _commit_alone(self, batch: list[_Queued]) -> None:
        """Each write in a transaction of its own, until it is clear that the store is away."""
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
        """The outcomes, or why there are none. Whatever it was, it must not end the task that everybody waits for."""
        try:
            return await commit
        except Exception as error:  # a store's own fault, too: without this task every later write would hang
            session_id = batch[0].write.session_id if len(batch) == 1 else None
            unknown = None if isinstance(error, StoreError) else error
            log.warning("commit_failed", writes=len(batch), session_id=session_id, error=str(error), exc_info=unknown)
            return error

    async def _recognise(self, write: Write, outcome: Outcome) -> Settled:
        """A refused second try may be the answer to a first one that did happen. Unknown: it could not be looked up."""
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
        """What became of the write, if its events are in the log behind `after`, where they stand together."""
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
    """Unstorable for a write that the store can never take, Unknown for one that it stumbled over."""
    if not isinstance(outcome, Failed):
        return outcome
    log.warning("commit_failed", writes=1, session_id=write.session_id, error=outcome.code)
    return UNSTORABLE if outcome.code[:2] in _FOR_GOOD else UNKNOWN


def _resolve(queued: _Queued, outcome: Settled) -> None:
    """Notify the caller. An exception there is one session's fault and must not reach the next in the queue."""
    try:
        queued.resolve(outcome)
    except Exception:  # whatever a waiter raises: the write has its outcome, and those behind it must hear of theirs
        log.exception("resolve_failed", session_id=queued.write.session_id)
