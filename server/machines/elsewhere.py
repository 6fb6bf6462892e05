"""What other processes show of the turns that they run, as this process hears it.

No I/O, clock or randomness here.
"""

from server.machines.effects import Ask, Effect, Show
from server.machines.turn import Running
from server.wire.protocol import Transient


class Elsewhere:
    """The turns of other processes in one session.

    `awaited` is the turn whose line is known here and is another process's to answer; None when there is none.

    A piece of text may come before its line is known, or while the session is read again. It is kept for the newest
    turn, because a cancellation must keep what tabs of this process were shown.
    """

    def __init__(self) -> None:
        self.awaited: Running | None = None
        self._newest: Running | None = None

    def wait_for(self, turn: int, run: int) -> None:
        """Await the answer to the line `turn`, with what was shown of it before; `run` is its number from now on."""
        self.awaited = self._kept(turn)
        self.awaited.run, self.awaited.is_seen = run, True

    def show(self, frame: Transient, last: int) -> list[Effect]:
        """Pass on what another process shows; a piece of text only where it goes on from what is known.

        `last` is the last turn that runs or ran in this session, as far as is known here; -1: none.
        """
        if frame.type != "stream_delta" or not self._goes_on(frame.payload["turn"], last):
            return [Show(frame, here=True)]
        kept = self._kept(frame.payload["turn"])
        if kept.follow(frame):
            return [Show(frame, here=True)]
        return [Ask()] if kept.is_new(frame) else []

    def is_ahead_of(self, turn: int) -> bool:
        """Whether text of a newer turn than `turn` was shown: its line, or the end before it, is not known here."""
        return self._newest is not None and self._newest.turn > turn

    def said_after(self, turn: int) -> list[Transient]:
        """The text so far of a turn that is newer than `turn`, for a connection that comes now."""
        return self._newest.said() if self._newest is not None and self._newest.turn > turn else []

    def attempt(self, turn: int) -> int:
        """The attempt of `turn` whose text clients may have; 0: none was heard of."""
        return self._newest.attempt if self._newest is not None and self._newest.turn == turn else 0

    def forget(self) -> None:
        """Forget what was shown: the log was cut, and a turn may come again under the same number."""
        self._newest = None

    def _goes_on(self, turn: int, last: int) -> bool:
        """Whether a turn is another process's and goes on, as far as is known here: a newer one ends it."""
        if self._newest is not None and turn < self._newest.turn:
            return False
        return turn > last if self.awaited is None else turn >= self.awaited.turn

    def _kept(self, turn: int) -> Running:
        """What was shown of a turn; only the newest one is kept, for an older one it begins empty."""
        known = self._newest
        if known is not None and known.turn == turn:
            return known
        begun = Running(run=0, turn=turn, attempt=0)
        if known is None or known.turn < turn:
            self._newest = begun
        return begun
