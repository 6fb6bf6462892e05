"""What a batch of writes amounts to, worked out in memory: one read of what it touches, then one write of the result.

No I/O here. Writes are taken in their order, and each sees what those before it leave behind.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from server.records import (
    SYSTEM,
    Committed,
    Conflict,
    Duplicate,
    Event,
    Missing,
    Outcome,
    Write,
    is_outrun,
    place,
)


class Head:
    """A session as the writes so far leave it. `memory` is None while none of them changes it: then it is not read."""

    __slots__ = ("card", "created_at", "cursor", "lined", "memory", "seq", "state", "updated_at", "user_id",
                 "version", "visible", "workflow")  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        """`row`: HEAD_COLUMNS without the id."""
        (self.user_id, self.workflow, self.state, self.version, self.seq, self.cursor, self.lined, self.visible,
         self.card, self.created_at, self.updated_at) = row  # fmt: skip
        self.memory: dict[str, Any] | None = None


def new_head(user_id: str) -> Head:
    """A session that has no event yet."""
    head = Head((user_id, "", "", 0, 0, 0, 0, 0, None, 0, 0))
    head.memory = {}
    return head


class Batch:
    """The writes of one transaction.

    `heads` are the sessions that they name, whoever owns them; `used` are the events that took effect under their
    client ids. `events` and `changed` are what is to be written.
    """

    def __init__(self, heads: dict[str, Head], used: Iterable[Event]) -> None:
        self.heads = heads
        self.events: list[Event] = []
        self.changed: set[str] = set()
        self._used = {(event.session_id, event.client_id): event for event in used}

    def apply(self, write: Write) -> Outcome:
        """The outcome of the next write. Its owner is looked at first: a stranger learns nothing (L10)."""
        head = self.heads.get(write.session_id)
        if head is None:
            if write.expected_version != 0:
                return Missing()
            head = new_head(write.user_id)
        if head.user_id != write.user_id:
            return Missing()
        if write.client_id is not None and (before := self._used.get((write.session_id, write.client_id))) is not None:
            return Duplicate(before)
        if write.expected_version is not None and write.expected_version != head.version:
            return Conflict(head.version)
        if is_outrun(write, head.seq):
            return Conflict(head.version)
        return Committed(self._append(write, head), head.version)

    def _append(self, write: Write, head: Head) -> tuple[Event, ...]:
        events = place(write.events, head.seq, head.updated_at)
        head.seq, head.updated_at = events[-1].seq, events[-1].created_at
        head.created_at = head.created_at or events[0].created_at
        for event in events:
            if event.role != SYSTEM:
                head.visible += 1
            if event.role == "user":
                head.lined = event.seq
            if event.client_id is not None:
                self._used[event.session_id, event.client_id] = event
        if (update := write.update) is not None:
            head.version += 1
            head.workflow, head.state = update.workflow, update.state
            head.cursor, head.card = update.cursor, update.card
            head.memory = head.memory if update.memory is None else update.memory
        self.heads[write.session_id] = head
        self.changed.add(write.session_id)
        self.events += events
        return events
