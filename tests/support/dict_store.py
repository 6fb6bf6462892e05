"""A store kept in plain dicts and lists: the readable model of the contract, for tests.

Nothing here awaits, so every call is one moment. What goes in and what comes out passes through JSON, so that nobody
outside holds an object of the store.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from server.errors import InvalidWrite, StoreClosed
from server.records import (
    SYSTEM,
    Committed,
    Conflict,
    Duplicate,
    Event,
    Loaded,
    Missing,
    Outcome,
    SessionKey,
    Snapshot,
    Summary,
    Update,
    Write,
    check_write,
    is_own_frame,
)


class DictStore:
    """Snapshots by session, and a list of events for each."""

    durability = "none (in memory)"

    def __init__(self) -> None:
        self.snapshots: dict[SessionKey, Snapshot] = {}
        self.logs: dict[SessionKey, list[Event]] = {}
        self._leases: dict[SessionKey, tuple[str, float]] = {}  # holder, end
        self._closed = False

    async def open(self) -> None:
        self._check_open()

    async def close(self) -> None:
        self._closed = True

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        self._check_open()
        kept = [_copy(write) for write in writes]  # what cannot be stored is refused before anything is
        return [self._apply(write) for write in kept]

    def _apply(self, write: Write) -> Outcome:
        before = self.snapshots.get(write.key)
        log = self.logs.get(write.key, [])
        if before is None and write.expected_version != 0:
            return Missing()
        for event in log:
            if write.client_id is not None and event.client_id == write.client_id:
                return Duplicate(_copy_event(event))
        version = before.version if before else 0
        if write.expected_version is not None and write.expected_version != version:
            return Conflict(version)
        if write.update is not None and write.events[0].role == "user" and write.update.cursor != len(log) + 1:
            return Conflict(version)

        appended = []
        seq, time = len(log), before.updated_at if before else 0
        for event in write.events:
            seq, time = seq + 1, max(event.created_at, time + 1)
            answers = seq if event.role == "user" else event.turn
            appended.append(structs.replace(event, seq=seq, created_at=time, turn=answers))
        log = self.logs[write.key] = [*log, *appended]
        after = _with_log(before or _nothing(write), log)
        self.snapshots[write.key] = after if write.update is None else _with_update(after, write.update)
        return Committed(tuple(map(_copy_event, appended)), self.snapshots[write.key].version)

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        self._check_open()
        snapshot = self.snapshots.get(key)
        if snapshot is None:
            return None
        waiting = [event for event in self._log(key) if event.role == "user" and event.seq > snapshot.cursor]
        page = await self.read(key, after, limit)
        return Loaded(structs.replace(snapshot, memory=_through_json(snapshot.memory)), tuple(page), tuple(waiting))

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        self._check_open()
        return [event for event in self._log(key) if event.seq > after][: max(limit, 0)]

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        self._check_open()
        return [self.snapshots[key].seq if key in self.snapshots else 0 for key in sessions]

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        self._check_open()
        now_s = time.monotonic()
        for session in sessions:
            before = self._leases.get(session)
            if before is None or before[0] == holder or before[1] <= now_s:
                self._leases[session] = holder, now_s + ttl_ms / 1000
        return [self._leases[session][0] == holder for session in sessions]

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        self._check_open()
        for session in sessions:
            if session in self._leases and self._leases[session][0] == holder:
                del self._leases[session]

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        self._check_open()
        return next((event for event in self._log(key) if event.client_id == client_id), None)

    async def published(self, message_id: str, type: str) -> Event | None:
        self._check_open()
        events = [event for key in self.logs for event in self._log(key)]
        named = [event for event in events if event.message_id == message_id and event.type == type]
        return next(filter(is_own_frame, named), None)

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        self._check_open()
        waiting = [session for session in self.snapshots.values() if session.lined > session.cursor]
        oldest = sorted(waiting, key=lambda session: session.updated_at)
        quiet = [session.key for session in oldest if session.updated_at <= before_ms]
        return quiet[:limit]

    async def delete(self, key: SessionKey) -> bool:
        self._check_open()
        if key not in self.snapshots:
            return False
        del self.snapshots[key], self.logs[key]
        return True

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        self._check_open()
        owned = [session for session in self.snapshots.values() if session.user_id == user_id]
        latest = sorted(owned, key=lambda session: session.updated_at, reverse=True)
        return [
            Summary(**{name: getattr(session, name) for name in Summary.__struct_fields__})
            for session in latest[:limit]
        ]

    def _log(self, key: SessionKey) -> Sequence[Event]:
        return [_copy_event(event) for event in self.logs.get(key, ())]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")


def _nothing(write: Write) -> Snapshot:
    """A session before its first event."""
    return Snapshot(
        session_id=write.session_id,
        user_id=write.user_id,
        workflow="",
        state="",
        memory={},
        version=0,
        seq=0,
        cursor=0,
        lined=0,
        visible=0,
        card=None,
        created_at=0,
        updated_at=0,
    )


def _with_log(snapshot: Snapshot, log: Sequence[Event]) -> Snapshot:
    """What the log alone says of its session."""
    return structs.replace(
        snapshot,
        seq=log[-1].seq,
        lined=max((event.seq for event in log if event.role == "user"), default=0),
        visible=sum(event.role != SYSTEM for event in log),
        created_at=log[0].created_at,
        updated_at=log[-1].created_at,
    )


def _with_update(snapshot: Snapshot, update: Update) -> Snapshot:
    """What a turn changes."""
    return structs.replace(
        snapshot,
        version=snapshot.version + 1,
        workflow=update.workflow,
        state=update.state,
        cursor=update.cursor,
        card=update.card,
        memory=snapshot.memory if update.memory is None else update.memory,
    )


def _copy(write: Write) -> Write:
    check_write(write)
    update = write.update
    if update is not None and update.memory is not None:
        update = structs.replace(update, memory=_through_json(update.memory))
    return structs.replace(write, events=tuple(map(_copy_event, write.events)), update=update)


def _copy_event(event: Event) -> Event:
    return structs.replace(event, payload=_through_json(event.payload))


def _through_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return msgspec.json.decode(msgspec.json.encode(value), type=dict[str, Any])
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidWrite(f"not JSON: {error}") from error
