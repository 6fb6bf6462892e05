"""Follows what other processes show of the turns that they run in a session: their text and their attempts.

No I/O, clock or randomness here.
"""

from server.machines.effects import Ask, Effect, Show
from server.machines.turn import Running
from server.wire.protocol import Transient


class Elsewhere:
    """The turns of other processes in one session.

    `awaited` is the turn whose line is known here and which another process must answer; None when there is none.

    A piece of text may come before its line is known, or while the session is read again. The text of the newest turn
    is kept, because a cancellation here must store what clients were shown.
    """

    __slots__ = ("_newest", "awaited")  # there is one a session: a dict more would be kept for each

    def __init__(self) -> None:
        self.awaited: Running | None = None
        self._newest: Running | None = None

    def wait_for(self, turn: int, run: int) -> None:
        """Await another process's answer to the line `turn`; text shown before counts. `run` is its number here."""
        self.awaited = self._kept(turn)
        self.awaited.run, self.awaited.is_seen = run, True

    def show(self, frame: Transient, last: int) -> list[Effect]:
        """Show a frame of another process here. A piece of text behind a missed one is not shown: Ask for all of it.

        `last` is the last turn that runs or ran in this session, as far as is known here; -1: none.
        """
        if frame.type != "stream_delta" or not self._goes_on(frame.payload["turn"], last):
            return [Show(frame, here=True)]
        kept = self._kept(frame.payload["turn"])
        if kept.follow(frame):
            return [Show(frame, here=True)]
        return [Ask()] if kept.is_new(frame) else []

    def is_ahead_of(self, turn: int) -> bool:
        """Whether text of a turn newer than `turn` was shown."""
        return self._newest is not None and self._newest.turn > turn

    def said_after(self, turn: int) -> list[Transient]:
        """The text so far of a turn newer than `turn`, as frames for a new connection; empty when there is none."""
        return self._newest.said() if self._newest is not None and self._newest.turn > turn else []

    def attempt(self, turn: int) -> int:
        """The last attempt of `turn` whose text was shown here; 0: none."""
        return self._newest.attempt if self._newest is not None and self._newest.turn == turn else 0

    def forget(self) -> None:
        """Forget the text shown: the log was cut, and a new turn may have the same number."""
        self._newest = None

    def _goes_on(self, turn: int, last: int) -> bool:
        """Whether `turn` may still run in another process: no newer turn is known, and it has not ended here."""
        if self._newest is not None and turn < self._newest.turn:
            return False
        return turn > last if self.awaited is None else turn >= self.awaited.turn

    def _kept(self, turn: int) -> Running:
        """The kept text of a turn. Only the newest turn is kept; an older one gets an empty Running."""
        known = self._newest
        if known is not None and known.turn == turn:
            return known
        begun = Running(run=0, turn=turn, attempt=0)
        if known is None or known.turn < turn:
            self._newest = begun
        return begun
