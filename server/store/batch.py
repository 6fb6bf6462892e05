"""What a batch of writes amounts to, worked out in memory: one read of what it touches, then one write of the result.

No I/O here. Writes are taken in their order, and each sees what those before it leave behind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.records import (
    SYSTEM,
    Committed,
    Conflict,
    Duplicate,
    Event,
    Missing,
    Outcome,
    SessionKey,
    Write,
    is_outrun,
    place,
)


class Head:
    """A session as the writes so far leave it. `memory` is None while none of them changes it: then it is not read."""

    __slots__ = ("card", "created_at", "cursor", "lined", "memory", "number", "seq", "state", "updated_at", "version",
                 "visible", "workflow")  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        """`row`: the store's own number of the session, then HEAD_COLUMNS without the identity."""
        (self.number, self.workflow, self.state, self.version, self.seq, self.cursor, self.lined, self.visible,
         self.card, self.created_at, self.updated_at) = row  # fmt: skip
        self.memory: dict[str, Any] | None = None


def new_head(number: int) -> Head:
    """A session that has no event yet."""
    head = Head((number, "", "", 0, 0, 0, 0, 0, None, 0, 0))
    head.memory = {}
    return head


class Batch:
    """The writes of one transaction.

    `heads` are the sessions that they name and that are there, `used` the events that took effect under their client
    ids, `next_number` the store's number for the first session that they make. `appended` (the number of a session and
    events of its log) and `changed` are what is to be written.
    """

    def __init__(
        self, heads: dict[SessionKey, Head], used: Mapping[tuple[SessionKey, str], Event], next_number: int = 0
    ) -> None:
        self.heads = heads
        self.appended: list[tuple[str | int, Sequence[Event]]] = []
        self.changed: set[SessionKey] = set()
        self._used = dict(used)
        self._next_number = next_number

    def apply(self, write: Write, key: SessionKey) -> Outcome:
        """The outcome of the next write; `key` is its session's."""
        head = self.heads.get(key)
        if head is None:
            if write.expected_version != 0:
                return Missing()
            head = new_head(self._next_number)
            self._next_number += 1  # also when the write is refused: numbers may have gaps
        if write.client_id is not None and (before := self._used.get((key, write.client_id))) is not None:
            return Duplicate(before)
        if write.expected_version is not None and write.expected_version != head.version:
            return Conflict(head.version)
        if is_outrun(write, head.seq):
            return Conflict(head.version)
        return Committed(self._append(write, key, head), head.version)

    def _append(self, write: Write, key: SessionKey, head: Head) -> tuple[Event, ...]:
        events = place(write.events, head.seq, head.updated_at)
        head.seq, head.updated_at = events[-1].seq, events[-1].created_at
        head.created_at = head.created_at or events[0].created_at
        for event in events:
            if event.role != SYSTEM:
                head.visible += 1
            if event.role == "user":
                head.lined = event.seq
            if event.client_id is not None:
                self._used[key, event.client_id] = event
        if (update := write.update) is not None:
            head.version += 1
            head.workflow, head.state = update.workflow, update.state
            head.cursor, head.card = update.cursor, update.card
            head.memory = head.memory if update.memory is None else update.memory
        self.heads[key] = head
        self.changed.add(key)
        self.appended.append((head.number, events))
        return events
