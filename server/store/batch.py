"""Works out the outcomes of a batch of writes in memory.

A store reads the sessions that the batch names, applies the writes here, and writes the result. No I/O here. Writes
are applied in order, and each one sees the changes of those before it.
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
    """The fields of a session after the writes so far. `memory` is None until one changes it: it is not read."""

    __slots__ = ("card", "created_at", "cursor", "lined", "memory", "number", "seq", "state", "updated_at", "version",
                 "visible", "workflow")  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        """`row`: the store's number of the session, then HEAD_COLUMNS without `session_id` and `user_id`."""
        (self.number, self.workflow, self.state, self.version, self.seq, self.cursor, self.lined, self.visible,
         self.card, self.created_at, self.updated_at) = row  # fmt: skip
        self.memory: dict[str, Any] | None = None


def new_head(number: int) -> Head:
    """The head of a session without events. `number` is the store's number of it."""
    head = Head((number, "", "", 0, 0, 0, 0, 0, None, 0, 0))
    head.memory = {}
    return head


class Batch:
    """The writes of one transaction.

    `heads` are those of the writes' sessions that exist, `used` the stored events that have one of the writes' client
    ids, `next_number` the store's number for the first new session. After the writes were applied, the store writes
    `appended` (a session's number and new events of its log) and the heads of the sessions in `changed`.
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
        """Apply the next write and return its outcome; `key` is the identity of its session."""
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
