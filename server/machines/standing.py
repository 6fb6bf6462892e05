"""The state of one conversation as this process knows it, and the questions that can be answered from it.

The session machine (`session.py`) changes the state.
"""

from enum import Enum

from msgspec import Struct

from server.machines.effects import Effect, SetTimer, Show
from server.machines.elsewhere import Elsewhere
from server.machines.inputs import Asked, Done, Failed
from server.machines.known_log import KnownLog
from server.machines.lines import Held
from server.machines.turn import Ending, Running, answered, failed
from server.records import Snapshot
from server.wire.protocol import Transient
from server.workflows.table import Workflow


class Phase(Enum):
    """What the session is doing."""

    COLD = "cold"
    LOADING = "loading"
    IDLE = "idle"
    RUNNING = "running"
    COMMITTING = "committing"


class Limits(Struct, frozen=True):
    """The bounds and waits of a session; ms where it says so."""

    inbox: int = 20
    takeover_ms: int = 0
    status_after_ms: int = 400
    retry_ms: int = 500
    retry_max_ms: int = 10_000


class Standing:
    """The state of one session machine, and its queries."""

    def __init__(self, session_id: str, user_id: str, workflow: Workflow, limits: Limits) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.workflow = workflow
        self.limits = limits
        self.phase = Phase.COLD
        self.snapshot: Snapshot | None = None
        self.inbox = KnownLog()
        self.running: Running | None = None
        self.elsewhere = Elsewhere()
        self._tried, self._attempt = -1, 0  # the last turn that ran here, and its last attempt
        self._held = Held(limits.inbox)
        self._appending = self._finding = 0
        self._asking = 0  # the run of the AnswerAtOnce whose answer is awaited; 0: none
        self._number = self._load_number = self._read_number = 0
        self._failures = 0
        self._wanted = False  # a connection found no session and wants it started
        self._outdated = False  # load again, but only after our own commit has its outcome

    @property
    def turn(self) -> int | None:
        """The number of the turn under way, here or in another process; None when none is known."""
        underway = self.running or self.elsewhere.awaited
        return underway.turn if underway else None

    def catch_up(self) -> list[Transient]:
        """The frames of the running turn for a connection that has just become live: its status, its text so far."""
        if (underway := self._underway) is not None:
            return underway.catch_up()
        return self.elsewhere.said_after(self.turn or self._last_turn())

    @property
    def _underway(self) -> Running | None:
        """The turn that still runs, here or in another process. A turn that is being committed does not count."""
        return self.running if self.phase is Phase.RUNNING else self.elsewhere.awaited

    @property
    def _is_told_early(self) -> bool:
        """Whether another process has shown text of a turn that is newer than the last one known here."""
        return self.elsewhere.is_ahead_of(self.turn or self._last_turn())

    @property
    def _is_late(self) -> bool:
        """Whether the store has, or may have, events that are not known here yet."""
        return self.phase in (Phase.LOADING, Phase.COMMITTING) or self.inbox.is_behind

    def _last_turn(self) -> int:
        """The last turn that ended, or is being committed here; -1: none."""
        if self.running is not None and self.phase is Phase.COMMITTING:
            return self.running.turn
        return self.snapshot.cursor if self.snapshot else -1

    @property
    def _is_free(self) -> bool:
        """Whether a new line can be answered at once: nothing runs, waits, is being appended or must be read."""
        waits = self.inbox.lines or self.inbox.is_behind or self._appending or self.elsewhere.awaited
        return self.phase is Phase.IDLE and not waits

    def _is_overtaken(self, turn: int) -> bool:
        """Whether a newer line interrupts the turn, by the workflow's `when_busy`."""
        return self.workflow.when_busy == "interrupt" and self.inbox.newest > turn

    def _runs(self, run: int) -> Running | None:
        """The running turn if its run is `run` and it is not being committed; else None."""
        running = self.running
        return running if running and running.run == run and self.phase is Phase.RUNNING else None

    def _ending(self, done: Done | Failed, running: Running) -> Ending:
        """The end of a turn, from the end of its step."""
        return answered(done, running) if isinstance(done, Done) else failed(done, running, self._state())

    def _take_back(self) -> list[Effect]:
        """End the shown status of the turn under way; if it runs in another process, only for subscribers here."""
        underway = self.running or self.elsewhere.awaited
        shown = underway.take_back() if underway else []
        return [Show(frame, here=self.running is None) for frame in shown]

    def _state(self) -> str:
        return self.snapshot.state if self.snapshot else self.workflow.start

    def waiting(self) -> list[Asked]:
        """The clients' requests without an answer that are held here or belong to the running turn."""
        running = self.running
        asked: list[Asked | None] = [*self._held.asked]
        if running is not None:
            asked += [running.message, running.cancel]
        return [one for one in asked if one is not None]

    def _retry(self, name: str) -> SetTimer:
        """A timer for the next try. The wait doubles with each failure, to spare a store that has just come back."""
        self._failures += 1
        wait_ms = min(self.limits.retry_ms * 2 ** min(self._failures - 1, 10), self.limits.retry_max_ms)
        return SetTimer(name, self.running.run if self.running else 0, wait_ms)

    def _next_number(self) -> int:
        self._number += 1
        return self._number
