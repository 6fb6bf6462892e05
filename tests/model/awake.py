"""A session machine in one process: what it waits for, and what it may do by what it was told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.errors import ERROR_CODES
from server.machines import effects, inputs
from server.machines.session import Session
from server.machines.standing import Phase
from server.records import Committed, Event, Loaded, is_line
from server.wire.protocol import Cancel, Say, Transient
from tests.model.step import Step

if TYPE_CHECKING:
    from tests.model.laws import Laws


class Awake:
    """A session machine, and what it waits for."""

    def __init__(self, machine: Session, laws: "Laws") -> None:
        self.machine = machine
        self.step: Step | None = None
        self.late: list[Step] = []  # cancelled, with an output already on its way
        self.timers: dict[str, inputs.TimerFired] = {}
        self.takeovers: list[int] = []  # lines of other processes that have not lain long enough
        self.ran: set[int] = set()  # turns whose step ran since we last asked the store
        self._laws = laws
        self._session_id = machine.session_id
        self._heard = 0  # how far the log goes, by what other processes and the store have told
        self._accepted: set[int] = {0}  # turns that are ours
        self._taken: dict[int, bool] = {}  # turns that were taken over; whether they had their answer by then
        self._begun: set[int] = set()  # turns that ran here, or were cancelled here
        self._awaits: int | None = None  # the line that we asked to take over, since we last asked the store
        self._shown: Transient | None = None  # the status that was shown here, and not taken back
        self._passes_on = False  # what it shows now is another process's
        self._streamed: str | None = None  # the message that the running step announced
        self._piece = (-1, 0, 0)  # turn, attempt and number of the last piece of text that was shown
        self._is_anew = False  # its step was begun anew, and has said nothing since
        self._sought: dict[tuple[int, str | None], bool] = {}  # whether what was asked was right when it was looked up
        self._sought_at: dict[tuple[int, str | None], int] = {}  # the last answered turn at that time
        self._appending = 0

    def watch(self, received: inputs.Input) -> None:
        """An input is about to be delivered."""
        self._passes_on = isinstance(received, inputs.ShownElsewhere)
        match received:
            case inputs.Appended(_, outcome):
                self._appending -= 1
                if isinstance(outcome, Committed):
                    self._accepted.add(outcome.events[-1].seq)
            case inputs.Again():
                self._is_anew = True
            case inputs.Remote(head):
                self._heard = max(self._heard, head)
            case inputs.Opened(Loaded() as loaded):
                self._heard = max(self._heard, loaded.snapshot.seq)
            case inputs.TimerFired("takeover", number) if number == self._awaits:
                snapshot = self._laws.snapshot(self._session_id)
                self._taken[number] = snapshot is not None and snapshot.cursor >= number

    def delivered(self) -> None:
        """An input was taken, and its effects were performed."""
        machine, hold = self.machine, self._laws.hold
        if machine.phase in (Phase.IDLE, Phase.RUNNING, Phase.COMMITTING):
            known = machine.inbox.head >= self._heard or machine.inbox.is_behind
            hold(known, f"the session heard of event {self._heard}, and takes {machine.inbox.head} for the last one")
        if machine.turn is None:
            hold(self._shown is None, f"{self._shown} was shown and not taken back")

    def settled(self) -> None:
        """Every input was taken: a turn that was overtaken does not run on."""
        machine = self.machine
        if self._laws.when_busy == "interrupt" and machine.phase is Phase.RUNNING and machine.running is not None:
            runs_on = machine.inbox.newest > machine.running.turn
            self._laws.hold(not runs_on, f"turn {machine.running.turn} runs on, with line {machine.inbox.newest} known")

    def performs(self, effect: effects.Effect) -> None:
        """An effect is about to be performed."""
        match effect:
            case effects.Append():
                self._appending += 1
                if self._laws.when_busy == "reject":
                    self._laws.hold(self._appending == 1, "two lines are on their way to the store")
                    self._laws.hold(self.machine.turn is None, f"a line is stored while turn {self.machine.turn} runs")
            case effects.Load():
                self.ran.clear()
                self._awaits = self._streamed = None
            case effects.Commit(_, write):
                self._begun.add(write.events[-1].turn)
                self._awaits = None
            case effects.TakeOver(seq, since_ms):
                lines = [line for line in self.machine.inbox.lines if line.seq == seq]
                self._laws.hold(lines and since_ms >= lines[0].created_at, f"line {seq} has not lain since {since_ms}")
                self._awaits = seq
            case effects.Publish(events):
                self._end_stream({event.type for event in events}, {event.message_id for event in events})
            case effects.Gone():
                self._shown = None  # nobody is left who sees it
            case effects.Find(asked):
                self._sought[asked.reply_to, _client_id(asked)] = self._is_right(asked)
                snapshot = self._laws.snapshot(self._session_id)
                self._sought_at.setdefault((asked.reply_to, _client_id(asked)), snapshot.cursor if snapshot else -1)
            case effects.Reject(reply_to, client_id, "turn_running"):
                turn, answered = self.machine.turn, self._sought_at.get((reply_to, client_id))
                known = turn is not None and answered is not None and answered < turn
                self._laws.hold(known, f"{client_id} was refused for turn {turn}, and {answered} was answered")
            case effects.Reject(reply_to, client_id, code) if code in ("stale_action", "not_running"):
                self._refuses(reply_to, client_id, code)
            case effects.Show(frame, here) if not self._passes_on:
                self._shows(frame, here=here)

    def caught_up(self, frames: list[Transient]) -> None:
        """A connection was shown what is under way."""
        for frame in frames:
            if frame.type == "status_update":
                self._shown = frame

    def _shows(self, frame: Transient, *, here: bool) -> None:
        if frame.type == "stream_delta":
            self._streamed = frame.message_id
            self._streams(frame.payload)
            return
        turn, is_over = frame.payload["turn"], frame.payload["status"] == "idle"
        self._laws.hold(here or turn in self._begun, f"everybody is told of turn {turn}, which is another process's")
        self._shown = None if is_over else frame

    def _streams(self, piece: Mapping[str, Any]) -> None:
        """Pieces go on from each other; another attempt begins anew, and is told from the one before."""
        before, now = self._piece, (piece["turn"], piece["attempt"], piece["n"])
        goes_on = now == (*before[:2], before[2] + 1) and not self._is_anew
        begins = piece["reset"] and now[:2] > before[:2] and now[2] == 1
        is_repeated = piece["reset"] and now == before
        self._laws.hold(goes_on or begins or is_repeated, f"piece {now} was shown behind {before}")
        self._piece, self._is_anew = now, False

    def _end_stream(self, kinds: set[str], ids: set[str]) -> None:
        """A turn that was streamed says what it announced, unless it failed, or was stopped when it had begun anew."""
        if "state_update" not in kinds:
            return
        is_broken_off = "turn_failed" in kinds or ("turn_cancelled" in kinds and self._is_anew)
        if self._streamed and not is_broken_off:
            self._laws.hold(self._streamed in ids, f"{self._streamed} was streamed and never said")
        self._streamed, self._is_anew = None, False

    def may_begin(self, effect: effects.RunStep) -> None:
        """A step runs where nothing is missing, on the state that is known; to interrupt is for the newest."""
        hold, turn, machine = self._laws.hold, effect.turn, self.machine
        hold(self.step is None, "two steps at once")
        hold(not machine.inbox.is_behind, f"turn {turn} ran before a gap was filled")
        known = self._laws.log(self._session_id)[: machine.inbox.head]
        version = sum(event.type == "state_update" for event in known)
        of_version = effect.snapshot.version if effect.snapshot else 0
        hold(of_version == version, f"turn {turn} ran on version {of_version}, but {version} was known")
        newer = [event.seq for event in known if self._laws.when_busy == "interrupt" and is_line(event)]
        hold(all(seq <= turn for seq in newer), f"turn {turn} ran though {newer} were known")

    def begin_step(self, effect: effects.RunStep, step: Step) -> None:
        """A step may run once, where nothing is missing, on the state that is known, and not before its time."""
        hold, turn, machine = self._laws.hold, effect.turn, self.machine
        self.may_begin(effect)
        if machine.limits.takeover_ms and turn not in self._accepted:
            hold(turn in self._taken, f"turn {turn} ran here before its takeover")
            hold(not self._taken.get(turn), f"turn {turn} was taken over though it had its answer")
        hold(turn not in self.ran, f"turn {turn} ran twice without a cause")
        self.ran.add(turn)
        self._begun.add(turn)
        self._streamed, self._awaits = None, None
        self.step = step

    # ------------------------------------------------------------ refusals

    def _refuses(self, reply_to: int, client_id: str | None, code: str) -> None:
        """What is refused for good must be wrong: another process may know better than ours (L5)."""
        assert not ERROR_CODES[code].temporary
        for request in self._laws.requests(reply_to, client_id):
            right = self._sought.get((reply_to, client_id), False) and self._is_right(request)
            self._laws.hold(not right, f"{client_id} was right, and was refused: {code}")

    def _is_right(self, request: inputs.Message | inputs.Cancel | Say | Cancel) -> bool:
        """Whether a press is on the card that is open, or a cancellation of the turn that is next to end."""
        snapshot, log = self._laws.snapshot(self._session_id), self._laws.log(self._session_id)
        if snapshot is None:
            return False
        if isinstance(request, inputs.Message):
            request = request.say
        if isinstance(request, Say):
            return request.action_message_id is not None and request.action_message_id == snapshot.card
        return request.turn == next((event.seq for event in unanswered(log, snapshot.cursor)), None)


def unanswered(log: list[Event], cursor: int) -> list[Event]:
    return [event for event in log if event.role == "user" and event.seq > cursor]


def _client_id(asked: inputs.Asked) -> str | None:
    return asked.say.client_id if isinstance(asked, inputs.Message) else asked.client_id
