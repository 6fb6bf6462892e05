"""The machine of one conversation: accepts lines, runs one turn at a time, survives conflicts and lost processes.

No asyncio, clock, randomness, logging or settings here: inputs go into `deliver`, effects come out, in order.

    COLD ──Opened/Wake/Message──▶ LOADING ──Loaded──▶ IDLE ──line──▶ RUNNING ──Done/Failed/Cancel──▶ COMMITTING ──▶ IDLE

    input         COLD            LOADING           IDLE            RUNNING              COMMITTING
    Opened        → IDLE, next;   note the head     note, next;     note                 note
                  none: greet                       none: Load
    Message       hold, Load      hold (no          Append          Append               Append
                                  snapshot) else
                                  Append
    Appended      Ack, Publish    Ack, Publish      the same, next  Ack, Publish         Ack, Publish
    Loaded        –               → IDLE, next      –               –                    –
    Done, Failed  –               –                 –               Commit → COMMITTING  –
    Cancel        hold, Load      hold              not_running     Commit → COMMITTING  hold
    Committed     –               –                 –               –                    Publish → IDLE, next
    Conflict      –               –                 –               –                    Load → LOADING
    Remote        note the head   note the head     note; a turn of another process:     note; the same, once the
                                                    CancelStep, Load → LOADING           commit has its outcome
    Rest          –               –                 Evict → COLD    –                    –

*next*: the oldest unanswered line. It runs here at once if this process accepted it, else after a takeover timer, so
that two processes seldom pay for the same answer. *note*: seq ≤ head drop, = head+1 take, > head+1 Read, and nothing
runs before the gap is filled. *greet*: the turn that opens a session, for a connection that found none; while it runs
there is no snapshot, and Message and Cancel are held. Every input that answers an effect carries its number, and a
stale one is dropped. A failed step commits too: the cursor moves and the user sees it, so a bad step cannot loop.
"""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from server import lines, protocol, signals
from server.errors import CloseCode
from server.inbox import Inbox
from server.signals import Effect
from server.store.records import Committed, Conflict, Duplicate, Event, Loaded, Missing, Outcome, Snapshot
from server.turns import Ending, Running, answered, cancelled, failed, snapshot_after, turn_write
from server.workflow import Progress, Workflow


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


class Session:
    """One conversation that is awake in this process."""

    def __init__(self, session_id: str, user_id: str, workflow: Workflow, limits: Limits) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.workflow = workflow
        self.limits = limits
        self.phase = Phase.COLD
        self.snapshot: Snapshot | None = None
        self.inbox = Inbox()
        self.running: Running | None = None
        self._ours: set[int] = set()  # lines that were accepted or taken over here
        self._awaited = 0  # the line whose takeover timer was set
        self._attempts: dict[int, int] = {}
        self._held: list[signals.Asked] = []
        self._appending = self._finding = 0
        self._number = self._load_number = self._read_number = 0
        self._failures = 0
        self._wanted = False  # a connection found no session and wants one
        self._outdated = False  # what we know is old, but our own commit must have its outcome first

    def deliver(self, received: signals.Input) -> list[Effect]:
        """Take one input; the effects are to be performed in their order, before the next input."""
        match received:
            case signals.Message():
                return self._message(received)
            case signals.Appended():
                return self._appended(received)
            case signals.Done() | signals.Failed():
                return self._done(received)
            case signals.TurnCommitted(run, outcome):
                return self._turn_committed(run, outcome)
            case signals.Shown(run, progress):
                running = self._runs(run)
                return [signals.Show(running.show(progress))] if running else []
            case signals.Streamed(run, text, message_id):
                running = self._runs(run)
                return [signals.Show(running.stream(text, message_id))] if running else []
            case signals.Opened(loaded):
                return self._opened(loaded)
            case signals.LoadDone():
                return self._load_done(received)
            case signals.ReadDone():
                return self._read_done(received)
            case signals.Remote(events):
                return self._note(events) + self._next()
            case signals.Cancel():
                return self._cancel(received)
            case signals.Found():
                return self._found(received)
            case signals.TimerFired(name, number):
                return self._timer(name, number)
            case signals.Wake():
                return self._load() if self.phase is Phase.COLD else []
            case _:  # Rest
                return self._rest()

    def catch_up(self) -> list[protocol.Transient]:
        """What a connection that has just become live must see of the running turn."""
        return self.running.catch_up() if self.running and self.phase is Phase.RUNNING else []

    # ------------------------------------------------------------ what the store knows

    def _opened(self, loaded: Loaded | None) -> list[Effect]:
        self._wanted = self._wanted or loaded is None
        if self.phase is Phase.COLD:
            return self._loaded(loaded)
        if loaded is not None:
            return self._note(loaded.inbox) + self._next()  # a line whose commit seemed to fail may be among them
        # The connection found nothing where we know a session: one of us is late, so look again.
        return self._load() if self.phase is Phase.IDLE else []

    def _load(self) -> list[Effect]:
        """Ask the store for everything; what was running and reading here is over."""
        taken_back: list[Effect] = [signals.Show(frame) for frame in self.running.take_back()] if self.running else []
        self.phase, self.running, self._outdated = Phase.LOADING, None, False
        self._read_number = 0
        self.inbox.forget()
        self._load_number = self._next_number()
        return [*taken_back, signals.Load(self._load_number)]

    def _load_done(self, done: signals.LoadDone) -> list[Effect]:
        if done.number != self._load_number or self.phase is not Phase.LOADING:
            return []
        if not done.failed:
            return self._loaded(done.loaded)
        refused = self._refuse_held("store_unavailable")
        if self.snapshot is None:
            self.phase = Phase.COLD
            return [*refused, signals.Evict()]
        return [*refused, self._retry("load")]

    def _loaded(self, loaded: Loaded | None) -> list[Effect]:
        if loaded is None:
            greets = self._wanted and self.snapshot is None
            return self._run(None) if greets else self._gone(CloseCode.NOT_FOUND)
        self._failures = 0
        self.snapshot = loaded.snapshot
        self.inbox.begin(loaded.snapshot.seq, loaded.inbox)
        self._ours = {seq for seq in self._ours if seq > loaded.snapshot.cursor}
        self.phase = Phase.IDLE
        # An event that was committed while we loaded was only heard of: the store has it.
        return (self._read() if self.inbox.is_behind else self._next()) + self._release_held()

    def _gone(self, code: CloseCode) -> list[Effect]:
        refused = self._refuse_held("not_found" if code is CloseCode.NOT_FOUND else "store_unavailable")
        stopped: list[Effect] = [signals.CancelStep(self.running.run)] if self.running else []
        self.phase, self.running = Phase.COLD, None
        return [*refused, *stopped, signals.Gone(code), signals.Evict()]

    def _read(self) -> list[Effect]:
        self._read_number = self._next_number()
        return [signals.Read(self._read_number, self.inbox.head)]

    def _read_done(self, done: signals.ReadDone) -> list[Effect]:
        if done.number != self._read_number:
            return []
        self._read_number = 0
        if done.events is None:
            return [self._retry("read")]
        self._failures = 0
        if not self.inbox.joins(done.events):
            return self._reload()  # what we heard of is not there: the log is not the one that we know
        return self._note(done.events) + self._next()

    def _note(self, events: Sequence[Event]) -> list[Effect]:
        """Take what joins on to the log that we know; a gap means: read the store (L2)."""
        self.inbox.hear(events)
        if self.phase in (Phase.COLD, Phase.LOADING):
            return []
        turn = self.inbox.take(events)
        if turn is not None and turn > self._last_turn():
            return self._reload()
        return self._read() if self.inbox.is_behind and not self._read_number else []

    def _last_turn(self) -> int:
        """The last turn whose outcome is known here, or on its way to us."""
        if self.running is not None and self.phase is Phase.COMMITTING:
            return self.running.turn
        return self.snapshot.cursor if self.snapshot else -1

    def _reload(self) -> list[Effect]:
        """What we know is old: another process made a turn, or the log was cut."""
        if self.phase is Phase.COMMITTING:
            self._outdated = True
            return []
        stopped: list[Effect] = [signals.CancelStep(self.running.run)] if self.running else []
        return stopped + self._load()

    # ------------------------------------------------------------ lines

    def _message(self, message: signals.Message) -> list[Effect]:
        if self.snapshot is None:
            return self._hold(message)
        if len(self.inbox.lines) + self._appending >= self.limits.inbox:
            return self._find(message, "inbox_full")  # but a line that was accepted before is told so
        asked = message.say.action_message_id
        if asked is not None and asked != self.snapshot.card:
            # While we load, the card that we know may be older than the one that the user sees.
            return self._hold(message) if self.phase is Phase.LOADING else self._find(message, "stale_action")
        self._appending += 1
        return [signals.Append(message, lines.accept_write(message, self.snapshot, self.workflow))]

    def _hold(self, asked: signals.Asked) -> list[Effect]:
        if len(self._held) >= self.limits.inbox:
            return [lines.reject(asked, "inbox_full")]
        self._held.append(asked)
        return self._load() if self.phase is Phase.COLD else []

    def _release_held(self) -> list[Effect]:
        held, self._held = self._held, []
        return [effect for asked in held for effect in self.deliver(asked)]

    def _refuse_held(self, code: str) -> list[Effect]:
        held, self._held = self._held, []
        return [lines.reject(asked, code) for asked in held]

    def _appended(self, appended: signals.Appended) -> list[Effect]:
        self._appending -= 1
        message = appended.message
        match appended.outcome:
            case Committed(events, _):
                seq = events[-1].seq
                self._ours.add(seq)
                ack = signals.Ack(message.reply_to, message.say.client_id, seq, duplicate=False)
                return [ack, signals.Publish(events), *self._note(events), *self._next()]
            case Duplicate(event):
                return self._repeated(message, event)
            case Missing():
                return [lines.reject(message, "not_found"), *self._gone(CloseCode.NOT_FOUND)]
            case _:
                return [lines.reject(message, appended.refusal)]

    def _repeated(self, asked: signals.Asked, event: Event) -> list[Effect]:
        """What was asked took effect before, as `event`; maybe unseen by us, when its commit seemed to fail."""
        self.inbox.hear([event])
        return [lines.repeat(asked, event, self.workflow), *self._note([]), *self._next()]

    def _find(self, asked: signals.Asked, refusal: str) -> list[Effect]:
        self._finding += 1
        return [signals.Find(asked, refusal)]

    def _found(self, found: signals.Found) -> list[Effect]:
        self._finding -= 1
        if found.failed:
            return [lines.reject(found.asked, "store_unavailable")]
        if found.event is not None:
            return self._repeated(found.asked, found.event)
        card = self.snapshot.card if self.snapshot and found.refusal == "stale_action" else None
        return [lines.reject(found.asked, found.refusal, card)]

    # ------------------------------------------------------------ turns

    def _next(self) -> list[Effect]:
        """Run the oldest unanswered line, or wait for the process that accepted it."""
        if self.phase is not Phase.IDLE:
            return []
        assert self.snapshot is not None
        self.inbox.drop_answered(self.snapshot.cursor)
        if self.inbox.is_behind or not self.inbox.lines:
            return []
        line = self.inbox.lines[0]
        if line.seq in self._ours or self.limits.takeover_ms == 0:
            return self._run(line)
        if self._awaited == line.seq:
            return []
        self._awaited = line.seq
        return [signals.SetTimer("takeover", line.seq, self.limits.takeover_ms)]

    def _run(self, line: Event | None) -> list[Effect]:
        turn, run = line.seq if line else 0, self._next_number()
        attempt = self._attempts[turn] = self._attempts.get(turn, 0) + 1
        self.running = Running(run=run, turn=turn, attempt=attempt)
        self.phase = Phase.RUNNING
        asked = line.payload.get("action_message_id") if line else None
        stale = asked is not None and self.snapshot is not None and asked != self.snapshot.card
        step = signals.RunStep(run, turn, attempt, line, self.snapshot, stale)
        return [step, signals.SetTimer("status", run, self.limits.status_after_ms)]

    def _runs(self, run: int) -> Running | None:
        """The running turn, if `run` is its number and its step may still speak."""
        running = self.running
        return running if running and running.run == run and self.phase is Phase.RUNNING else None

    def _done(self, done: signals.Done | signals.Failed) -> list[Effect]:
        running = self._runs(done.run)
        if running is None:
            return []
        ending = answered(done, running) if isinstance(done, signals.Done) else failed(done, running, self._state())
        return self._commit(running, ending, done.ids, done.now_ms)

    def _cancel(self, cancel: signals.Cancel) -> list[Effect]:
        if self.snapshot is None or self.phase in (Phase.LOADING, Phase.COMMITTING):
            return self._hold(cancel)  # until it is known what there is to cancel
        running = self.running
        if running is None or running.turn != cancel.turn:
            return self._find(cancel, "not_running")
        running.cancel = cancel
        ending = cancelled(cancel, running, self._state())
        return [signals.CancelStep(running.run), *self._commit(running, ending, cancel.ids, cancel.now_ms)]

    def _commit(self, running: Running, ending: Ending, ids: Sequence[str], now_ms: int) -> list[Effect]:
        running.write = turn_write(
            ending,
            running,
            self.snapshot,
            self.workflow,
            session_id=self.session_id,
            user_id=self.user_id,
            ids=ids[: len(ending.frames) + 1],
            now_ms=now_ms,
        )
        self.phase = Phase.COMMITTING
        return [signals.Commit(running.run, running.write)]

    def _turn_committed(self, run: int, outcome: Outcome | None) -> list[Effect]:
        running = self.running
        if running is None or running.run != run or running.write is None:
            return []
        match outcome:
            case Committed(events, version):
                return self._turn_ended(running, events, version)
            case Duplicate(event) if running.cancel is not None:
                return [lines.repeat(running.cancel, event, self.workflow), *self._load()]
            case Conflict():
                self._held += [running.cancel] if running.cancel else []
                return self._load()
            case None if self.snapshot is None:
                return self._gone(CloseCode.STORE_UNAVAILABLE)  # nobody has seen this session yet
            case None:
                return [self._retry("commit")]
            case _:
                return self._gone(CloseCode.NOT_FOUND)

    def _turn_ended(self, running: Running, events: Sequence[Event], version: int) -> list[Effect]:
        assert running.write is not None
        self.snapshot = snapshot_after(running.write, events, version, self.snapshot)
        self._ours.discard(running.turn)
        self._attempts.pop(running.turn, None)
        effects: list[Effect] = [signals.Publish(events)]
        if (cancel := running.cancel) is not None:
            stopped = next(event for event in events if event.type == "turn_cancelled")
            effects.append(signals.Ack(cancel.reply_to, cancel.client_id, stopped.seq, duplicate=False))
        effects += [signals.Show(frame) for frame in running.take_back()]
        self.running, self.phase, self._failures = None, Phase.IDLE, 0
        if self._outdated:
            return effects + self._load()
        return effects + self._note(events) + self._next() + self._release_held()

    def _state(self) -> str:
        return self.snapshot.state if self.snapshot else self.workflow.start

    # ------------------------------------------------------------ time

    def _timer(self, name: str, number: int) -> list[Effect]:
        running = self.running if self.running and self.running.run == number else None
        match name:
            case "takeover":
                self._ours.add(number)
                return self._next()
            case "status" if running and running.status is None and running.write is None:
                return [signals.Show(running.show(Progress("Thinking …", status="thinking")))]
            case "commit" if running and running.write is not None:
                return [signals.Commit(number, running.write, again=True)]
            case "load" if self.phase is Phase.LOADING:
                return self._load()
            case "read" if self.phase is not Phase.LOADING and self.inbox.is_behind and not self._read_number:
                return self._read()
        return []

    def _retry(self, name: str) -> signals.SetTimer:
        """Try again later, and later still: a store that is away must not be hammered when it comes back."""
        self._failures += 1
        wait_ms = min(self.limits.retry_ms * 2 ** min(self._failures - 1, 10), self.limits.retry_max_ms)
        return signals.SetTimer(name, self.running.run if self.running else 0, wait_ms)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _rest(self) -> list[Effect]:
        if self.phase is not Phase.IDLE or self.inbox.lines or self._appending or self._finding or self._read_number:
            return []
        self.phase = Phase.COLD
        return [signals.Evict()]
