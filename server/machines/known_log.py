"""The log as a session machine follows it: the events it has taken, the head it has heard of, the unanswered lines.

A line is *ours* if this process accepted it or took it over. The process that accepted a line answers it first.

No I/O, clock or randomness here.
"""

from collections.abc import Sequence

from server.records import STATE_UPDATE, Event, is_line


class KnownLog:
    """`head`: seq of the last event taken; `high`: the highest seq heard of; `lines`: unanswered lines, in order."""

    __slots__ = ("_ours", "head", "high", "lines")  # there is one a session: a dict more would be kept for each

    def __init__(self) -> None:
        self.head = 0
        self.high = 0
        self.lines: list[Event] = []
        self._ours: set[int] = set()

    @property
    def is_behind(self) -> bool:
        """Whether there are events that were heard of and not taken: the store must be read (L2)."""
        return self.high > self.head

    @property
    def newest(self) -> int:
        """The seq of the last unanswered line; 0 when there is none."""
        return self.lines[-1].seq if self.lines else 0

    def forget(self) -> None:
        """Forget the head heard of, before a load: the store's answer will have all events heard of until now."""
        self.high = 0

    def begin(self, head: int, lines: Sequence[Event]) -> None:
        """Start from a snapshot of the store: its `seq`, and its unanswered lines."""
        self.head = head
        self.lines = list(lines)

    def hear_of(self, head: int) -> None:
        """Note that the log goes as far as `head`."""
        self.high = max(self.high, head)

    def hear(self, events: Sequence[Event]) -> None:
        """Note that these events exist, without taking them."""
        if events:
            self.hear_of(events[-1].seq)

    def joins(self, events: Sequence[Event]) -> bool:
        """Whether a page that was read behind `head` begins at the next event. If not, the log was cut."""
        return bool(events) and events[0].seq <= self.head + 1

    def take(self, events: Sequence[Event]) -> int | None:
        """Take the events that follow `head` without a gap. Returns the last turn that ended in them, or None."""
        turn: int | None = None
        for event in events:
            if event.seq != self.head + 1:
                continue
            self.head = event.seq
            if is_line(event):
                self.lines.append(event)
            elif event.type == STATE_UPDATE:
                turn = event.turn
        return turn

    def pass_over(self, events: Sequence[Event]) -> bool:
        """Take a line together with its answer, so that the line never waits. Returns whether they were taken.

        They are not taken when they do not follow `head`, when other lines wait, or when there is a gap.
        """
        if self.lines or self.high > self.head or events[0].seq != self.head + 1:
            return False
        self.head = self.high = events[-1].seq
        return True

    def own(self, seq: int) -> None:
        """Note that the line `seq` is ours."""
        self._ours.add(seq)

    def is_ours(self, line: Event) -> bool:
        """Whether this process accepted the line, or took it over."""
        return line.seq in self._ours

    def next_line(self, cursor: int) -> Event | None:
        """The oldest line behind `cursor` (the last answered line). None when there is none, or while there is a gap.

        Forgets the lines up to `cursor`.
        """
        self.lines = [line for line in self.lines if line.seq > cursor]
        self._ours = {seq for seq in self._ours if seq > cursor}
        return self.lines[0] if self.lines and not self.is_behind else None
