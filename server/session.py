"""The machine of one conversation: accepts lines, runs one turn at a time, survives conflicts and lost processes.

No asyncio, clock, randomness, logging or settings here: inputs go into `deliver`, effects come out, in order.

    COLD ──Wake/Loaded/Message──▶ LOADING ──Loaded──▶ IDLE ──line──▶ RUNNING ──Done/Failed/Cancel──▶ COMMITTING ──▶ IDLE

    input         COLD            LOADING           IDLE            RUNNING              COMMITTING
    Message       hold, Load      hold (no          Append          Append               Append
                                  snapshot) else
                                  Append
    Appended      –               Ack, Publish      the same, next  the same             the same
    Loaded        → IDLE, next    → IDLE, next      –               –                    –
    Done, Failed  –               –                 –               Commit → COMMITTING  –
    Cancel        hold, Load      hold              not_running     Commit → COMMITTING  not_running
    Committed     Publish         Publish           –               –                    Publish → IDLE, next
    Conflict      –               –                 –               –                    Load → LOADING
    Remote        –               note the head     note; a turn of another process: CancelStep, Load → LOADING
    Rest          –               –                 Evict → COLD    –                    –

*next*: the oldest unanswered line. It runs here at once if this process accepted it, else after a takeover timer, so
that two processes seldom pay for the same answer. *note*: seq ≤ head drop, = head+1 take, > head+1 Read. Every input
that answers an effect carries its number, and a stale one is dropped. A failed step commits too: the cursor moves and
the user sees it, so a bad step cannot loop.
"""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from server import protocol
from server.errors import CloseCode
from server.lines import accept_write, is_same
from server.signals import (
    Ack,
    Append,
    Appended,
    Asked,
    Cancel,
    CancelStep,
    Commit,
    Done,
    Effect,
    Evict,
    Failed,
    Find,
    Found,
    Gone,
    Input,
    Load,
    LoadDone,
    Message,
    Opened,
    Publish,
    Read,
    ReadDone,
    Reject,
    Remote,
    Rest,
    RunStep,
    SetTimer,
    Show,
    Shown,
    Streamed,
    TimerFired,
    TurnCommitted,
    Wake,
)
from server.store.records import Committed, Conflict, Duplicate, Event, Loaded, Missing, Outcome, Snapshot, is_line
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
        self.head = 0
        self.high = 0
        self.inbox: list[Event] = []
        self.running: Running | None = None
        self._mine: set[int] = set()
        self._taken: set[int] = set()
        self._attempts: dict[int, int] = {}
        self._held: list[Message | Cancel] = []
        self._appending = 0
        self._number = 0
        self._load_number = 0
        self._read_number = 0
        self._failures = 0
        self._foreign = False

    def deliver(self, received: Input) -> list[Effect]:
        """Take one input; the effects are to be performed in their order, before the next input."""
        match received:
            case Message():
                return self._message(received)
            case Appended():
                return self._appended(received)
            case Done() | Failed():
                return self._done(received)
            case TurnCommitted(run, outcome):
                return self._turn_committed(run, outcome)
            case Shown(run, progress):
                return self._shown(run, progress)
            case Streamed():
                return self._streamed(received)
            case Opened(loaded):
                return self._loaded(loaded) if self.phase is Phase.COLD else []
            case LoadDone():
                return self._load_done(received)
            case ReadDone():
                return self._read_done(received)
            case Remote(events):
                return self._note(events) + self._go()
            case Cancel():
                return self._cancel(received)
            case Found():
                return self._found(received)
            case TimerFired(name, number):
                return self._timer(name, number)
            case Wake():
                return self._load() if self.phase is Phase.COLD else []
            case Rest():
                return self._rest()

    def catch_up(self) -> list[protocol.Transient]:
        """What a connection that has just become live must see of the running turn: its status, its text so far."""
        running = self.running
        if running is None or self.phase is not Phase.RUNNING:
            return []
        frames = [running.status or protocol.status(running.turn, "thinking", "Thinking …")]
        if running.text:
            frames.append(_delta(running, running.text, reset=True))
        return frames

    # ------------------------------------------------------------ what the store knows

    def _load(self) -> list[Effect]:
        self.phase = Phase.LOADING
        self.running = None
        self._foreign = False
        self._load_number = self._next_number()
        return [Load(self._load_number)]

    def _load_done(self, done: LoadDone) -> list[Effect]:
        if done.number != self._load_number or self.phase is not Phase.LOADING:
            return []
        if not done.failed:
            return self._loaded(done.loaded)
        refused = self._refuse_held("store_unavailable")
        if self.snapshot is None:
            self.phase = Phase.COLD
            return [*refused, Evict()]
        return [*refused, self._retry("load")]

    def _loaded(self, loaded: Loaded | None) -> list[Effect]:
        if loaded is None:
            known = self.snapshot is not None or self._held
            return self._gone(CloseCode.NOT_FOUND) if known else self._run(None)
        self._failures = 0
        self.snapshot = loaded.snapshot
        self.head = loaded.snapshot.seq
        self.inbox = list(loaded.inbox)
        self._mine = {seq for seq in self._mine if seq > loaded.snapshot.cursor}
        self.phase = Phase.IDLE
        # A line that was committed while we loaded was only noted: the store has it.
        return (self._read() if self.high > self.head else self._next()) + self._release_held()

    def _gone(self, code: CloseCode) -> list[Effect]:
        refused = self._refuse_held("not_found" if code is CloseCode.NOT_FOUND else "store_unavailable")
        stopped: list[Effect] = [CancelStep(self.running.run)] if self.running else []
        self.phase, self.running = Phase.COLD, None
        return [*refused, *stopped, Gone(code), Evict()]

    def _read(self) -> list[Effect]:
        self._read_number = self._next_number()
        return [Read(self._read_number, self.head)]

    def _read_done(self, done: ReadDone) -> list[Effect]:
        if done.number != self._read_number:
            return []
        self._read_number = 0
        if done.events is None:
            return [self._retry("read")]
        return self._note(done.events) + self._go()

    def _note(self, events: Sequence[Event], *, own: bool = False) -> list[Effect]:
        """Take what joins on to the log that we know; a gap means: read the store (L2)."""
        if events:
            self.high = max(self.high, events[-1].seq)
        if self.phase in (Phase.COLD, Phase.LOADING):
            return []
        turned = False
        for event in events:
            if event.seq != self.head + 1:
                continue
            self.head = event.seq
            if is_line(event):
                self.inbox.append(event)
            elif event.type == "state_update":
                turned = turned or not (own or self._is_mine(event))
        if turned:
            return self._turned_elsewhere()
        return self._read() if self.high > self.head and not self._read_number else []

    def _is_mine(self, event: Event) -> bool:
        """Whether a turn that we read back is the one that we are just committing."""
        write = self.running.write if self.running else None
        return write is not None and event.message_id == write.events[-1].message_id

    def _turned_elsewhere(self) -> list[Effect]:
        """Another process made a turn: what we know of the state is old."""
        if self.phase is Phase.COMMITTING:
            self._foreign = True  # our commit comes back as a Conflict, or it was before theirs
            return []
        stopped: list[Effect] = [CancelStep(self.running.run)] if self.running else []
        return stopped + self._load()

    # ------------------------------------------------------------ lines

    def _message(self, message: Message) -> list[Effect]:
        if self.snapshot is None:
            return self._hold(message)
        if len(self.inbox) + self._appending >= self.limits.inbox:
            return [Find(message, "inbox_full")]  # but a line that was accepted before is told so
        asked = message.say.action_message_id
        if asked is not None and asked != self.snapshot.card:
            return [Find(message, "stale_action")]
        self._appending += 1
        return [Append(message, accept_write(message, self.snapshot, self.workflow))]

    def _hold(self, asked: Asked) -> list[Effect]:
        if len(self._held) >= self.limits.inbox:
            return [Reject(asked.reply_to, _client_id(asked), "inbox_full")]
        self._held.append(asked)
        return self._load() if self.phase is Phase.COLD else []

    def _release_held(self) -> list[Effect]:
        held, self._held = self._held, []
        return [effect for asked in held for effect in self.deliver(asked)]

    def _refuse_held(self, code: str) -> list[Effect]:
        held, self._held = self._held, []
        return [Reject(asked.reply_to, _client_id(asked), code) for asked in held]

    def _appended(self, appended: Appended) -> list[Effect]:
        self._appending -= 1
        message, client_id = appended.message, appended.message.say.client_id
        match appended.outcome:
            case Committed(events, _):
                seq = events[-1].seq
                self._mine.add(seq)
                told: list[Effect] = [Ack(message.reply_to, client_id, seq, duplicate=False), Publish(events)]
                return told + self._note(events, own=True) + self._go()
            case Duplicate(event):
                return [self._repeated(message, event)]
            case Missing():
                return [Reject(message.reply_to, client_id, "not_found"), *self._gone(CloseCode.NOT_FOUND)]
            case _:
                return [Reject(message.reply_to, client_id, appended.refusal)]

    def _repeated(self, asked: Asked, event: Event) -> Effect:
        """An id that took effect before: the first promise again, or a refusal when it is another message (L4)."""
        if is_same(asked, event, self.workflow):
            return Ack(asked.reply_to, _client_id(asked), event.seq, duplicate=True)
        return Reject(asked.reply_to, _client_id(asked), "id_reuse")

    def _found(self, found: Found) -> list[Effect]:
        asked = found.asked
        if found.failed:
            return [Reject(asked.reply_to, _client_id(asked), "store_unavailable")]
        if found.event is not None:
            return [self._repeated(asked, found.event)]
        card = self.snapshot.card if self.snapshot and found.refusal == "stale_action" else None
        return [Reject(asked.reply_to, _client_id(asked), found.refusal, card)]

    # ------------------------------------------------------------ turns

    def _go(self) -> list[Effect]:
        return self._next() if self.phase is Phase.IDLE else []

    def _next(self) -> list[Effect]:
        """Run the oldest unanswered line, or wait for the process that accepted it."""
        assert self.snapshot is not None
        cursor = self.snapshot.cursor
        self.inbox = [line for line in self.inbox if line.seq > cursor]
        if not self.inbox or self._read_number:
            return []
        line = self.inbox[0]
        if line.seq in self._mine or line.seq in self._taken or self.limits.takeover_ms == 0:
            return self._run(line)
        return [SetTimer("takeover", line.seq, self.limits.takeover_ms)]

    def _run(self, line: Event | None) -> list[Effect]:
        turn, run = line.seq if line else 0, self._next_number()
        attempt = self._attempts[turn] = self._attempts.get(turn, 0) + 1
        self.running = Running(run=run, turn=turn, attempt=attempt)
        self.phase = Phase.RUNNING
        asked = line.payload.get("action_message_id") if line else None
        stale = asked is not None and self.snapshot is not None and asked != self.snapshot.card
        step = RunStep(run, turn, attempt, line, self.snapshot, stale)
        return [step, SetTimer("status", run, self.limits.status_after_ms)]

    def _runs(self, run: int) -> Running | None:
        """The running turn, if `run` is its number and its step may still speak."""
        running = self.running
        return running if running and running.run == run and self.phase is Phase.RUNNING else None

    def _shown(self, run: int, progress: Progress) -> list[Effect]:
        running = self._runs(run)
        if running is None:
            return []
        running.status = protocol.status(
            running.turn, progress.status, progress.text, progress.progress, progress.estimated_time
        )
        return [Show(running.status)]

    def _streamed(self, streamed: Streamed) -> list[Effect]:
        running = self._runs(streamed.run)
        if running is None:
            return []
        running.message_id = running.message_id or streamed.message_id
        running.text += streamed.text
        running.chunks += 1
        return [Show(_delta(running, streamed.text, reset=False))]

    def _done(self, done: Done | Failed) -> list[Effect]:
        running = self._runs(done.run)
        if running is None:
            return []
        ending = answered(done, running) if isinstance(done, Done) else failed(done, running, self._state())
        return self._commit(running, ending, done.ids, done.now_ms)

    def _cancel(self, cancel: Cancel) -> list[Effect]:
        if self.snapshot is None or self.phase is Phase.LOADING:
            return self._hold(cancel)
        running = self.running
        if running is None or self.phase is not Phase.RUNNING or running.turn != cancel.turn:
            return [Find(cancel, "not_running")]
        running.cancel = cancel
        ending = cancelled(cancel, running, self._state())
        return [CancelStep(running.run), *self._commit(running, ending, cancel.ids, cancel.now_ms)]

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
        return [Commit(running.run, running.write)]

    def _turn_committed(self, run: int, outcome: Outcome | None) -> list[Effect]:
        running = self.running
        if running is None or running.run != run or self.phase is not Phase.COMMITTING:
            return []
        cancel = running.cancel
        match outcome:
            case Committed(events, version):
                return self._turn_ended(running, events, version)
            case Duplicate(event) if cancel is not None:
                return [self._repeated(cancel, event), *self._load()]
            case Conflict():
                if cancel is not None:
                    self._held.append(cancel)
                return self._load()
            case None if self.snapshot is None:
                return self._gone(CloseCode.STORE_UNAVAILABLE)  # nobody has seen this session yet
            case None:
                return [self._retry("commit")]
            case _:
                return self._gone(CloseCode.NOT_FOUND)

    def _turn_ended(self, running: Running, events: Sequence[Event], version: int) -> list[Effect]:
        assert running.write is not None
        noted = self._note(events, own=True)
        self.snapshot = snapshot_after(running.write, events, version, self.snapshot)
        self._mine.discard(running.turn)
        self._taken.discard(running.turn)
        self._attempts.pop(running.turn, None)
        self.running, self.phase, self._failures = None, Phase.IDLE, 0
        effects: list[Effect] = [Publish(events)]
        if running.cancel is not None:
            stopped = next(event for event in events if event.type == "turn_cancelled")
            effects.append(Ack(running.cancel.reply_to, running.cancel.client_id, stopped.seq, duplicate=False))
        if running.status is not None:
            effects.append(Show(protocol.status(running.turn, "idle", "")))
        if self._foreign:
            return effects + self._load()
        return effects + noted + self._go() + self._release_held()

    def _state(self) -> str:
        return self.snapshot.state if self.snapshot else self.workflow.start

    # ------------------------------------------------------------ time

    def _timer(self, name: str, number: int) -> list[Effect]:
        running = self.running
        match name:
            case "takeover" if self.phase is Phase.IDLE:
                self._taken.add(number)
                return self._next()
            case "status" if running and running.run == number and self.phase is Phase.RUNNING:
                return [] if running.status else self._shown(number, Progress("Thinking …", status="thinking"))
            case "commit" if running and running.run == number and running.write is not None:
                return [Commit(number, running.write, again=True)]
            case "load" if self.phase is Phase.LOADING:
                return self._load()
            case "read" if self.phase is not Phase.LOADING and self.high > self.head and not self._read_number:
                return self._read()
        return []

    def _retry(self, name: str) -> SetTimer:
        """Try again later, and later still: a store that is away must not be hammered when it comes back."""
        self._failures += 1
        wait_ms = min(self.limits.retry_ms * 2 ** min(self._failures - 1, 10), self.limits.retry_max_ms)
        return SetTimer(name, self.running.run if self.running else 0, wait_ms)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _rest(self) -> list[Effect]:
        busy = self.inbox or self._held or self._appending or self._read_number
        if self.phase is not Phase.IDLE or busy:
            return []
        self.phase = Phase.COLD
        return [Evict()]


def _delta(running: Running, text: str, *, reset: bool) -> protocol.Transient:
    payload = {
        "turn": running.turn,
        "attempt": running.attempt,
        "n": running.chunks,
        "text": text,
        "reset": reset,
    }
    return protocol.Transient("stream_delta", payload, role="assistant", message_id=running.message_id)


def _client_id(asked: Asked) -> str | None:
    return asked.say.client_id if isinstance(asked, Message) else asked.client_id
