"""The log as a session machine follows it: how far it is known, how far it is said to go, which lines want an answer.

A line is ours if this process accepted it or took it over; the others are first of all their own processes' to run.

No I/O, clock or randomness here.
"""

from collections.abc import Sequence

from server.records import STATE_UPDATE, Event, is_line


class KnownLog:
    """`head` is the last event that was taken, `high` the last one that was heard of, `lines` the unanswered lines."""

    def __init__(self) -> None:
        self.head = 0
        self.high = 0
        self.lines: list[Event] = []
        self._ours: set[int] = set()

    @property
    def is_behind(self) -> bool:
        """Whether there is a gap: only the store can fill it (L2)."""
        return self.high > self.head

    @property
    def newest(self) -> int:
        """The last line that wants an answer; 0 when there is none."""
        return self.lines[-1].seq if self.lines else 0

    def forget(self) -> None:
        """The store is asked anew: it will tell of everything that was heard of until now."""
        self.high = 0

    def begin(self, head: int, lines: Sequence[Event]) -> None:
        """Start from what the store told."""
        self.head = head
        self.lines = list(lines)

    def hear_of(self, head: int) -> None:
        """Note that the log goes as far as `head`."""
        self.high = max(self.high, head)

    def hear(self, events: Sequence[Event]) -> None:
        """Note how far the log goes, and take nothing."""
        if events:
            self.hear_of(events[-1].seq)

    def joins(self, events: Sequence[Event]) -> bool:
        """Whether a page goes on where we are: one that does not is of another log than ours."""
        return bool(events) and events[0].seq <= self.head + 1

    def take(self, events: Sequence[Event]) -> int | None:
        """Take what joins on; the answer is the last turn that ended in it."""
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
        """Take a line together with its answer, if it joins on and nothing else waits; whether it did."""
        if self.lines or self.high > self.head or events[0].seq != self.head + 1:
            return False
        self.head = self.high = events[-1].seq
        return True

    def own(self, seq: int) -> None:
        """The line `seq` is ours."""
        self._ours.add(seq)

    def is_ours(self, line: Event) -> bool:
        """Whether this process accepted the line, or took it over."""
        return line.seq in self._ours

    def next_line(self, cursor: int) -> Event | None:
        """The oldest line behind `cursor`, the last one that was answered; None too before a gap is filled."""
        self.lines = [line for line in self.lines if line.seq > cursor]
        self._ours = {seq for seq in self._ours if seq > cursor}
        return self.lines[0] if self.lines and not self.is_behind else None
