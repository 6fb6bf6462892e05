"""The machine of one conversation: accepts lines, runs one turn at a time, survives conflicts and lost processes.

No asyncio, clock, randomness, logging or settings here: `deliver` takes an input and returns effects, in order.

    COLD ──Message/Cancel──▶ LOADING ──Loaded──▶ IDLE ──line──▶ RUNNING ──Done/Failed/Cancel──▶ COMMITTING ──▶ IDLE

    input                      COLD          LOADING        IDLE               RUNNING              COMMITTING
    Opened: Loaded             Tell → IDLE   Tell           Tell               Tell                 Tell
    Opened: NotThere           run           –              load               –                    –
    Message                    hold, load    Append         AnswerAtOnce       Append               Append
    Message: wrong             hold, load    hold           Find               Find                 hold
    AtOnce: Done, Failed       never         Append         commit             Append               Append
    AtOnce: MayWait            never         Append         Append             Append               Append
    Appended: Committed        never         Ack, Publish   Ack, Publish, run  Ack, Publish         Ack, Publish
    Appended: Duplicate        never         Ack            Ack                Ack                  Ack
    Appended: Missing          never         Reject, gone   Reject, gone       Reject, stop, gone   Reject, stop, gone
    Appended: not known        never         Reject         Reject             Reject               Reject
    LoadDone: Loaded           –             Tell → IDLE    –                  –                    –
    LoadDone: NotThere         –             gone           –                  –                    –
    LoadDone: Unreadable       –             SetTimer       –                  –                    –
    ReadDone: a line           –             –              Tell, run          Tell                 Tell
    ReadDone: a cut log        –             –              load               stop, load           –
    ReadDone: Unreadable       –             –              SetTimer           SetTimer             SetTimer
    Found: Event               never         Ack            Ack                Ack                  Ack
    Found: none                never         hold           Reject             Reject               hold
    Found: Unreadable          never         Reject         Reject             Reject               Reject
    Done, Failed               –             –              –                  commit               –
    Shown, Streamed, Again     –             –              –                  Show                 –
    Wished                     –             –              –                  Show                 –
    Interrupted                –             –              –                  stop, commit         –
    Cancel                     hold, load    hold           Find               stop, commit         hold
    Cancel: elsewhere          hold, load    hold           stop, commit       stop, commit         hold
    TurnCommitted: Committed   –             –              –                  –                    Publish → IDLE
    TurnCommitted: Conflict    –             –              –                  –                    load
    TurnCommitted: not known   –             –              –                  –                    SetTimer
    TurnCommitted: else        –             –              –                  –                    stop, gone
    Remote: a line             note          note           note, run          note                 note
    Remote: a gap              note          note           note, Read         note, Read           note, Read
    Remote: a turn             note          note           note, load         note, stop, load     note
    ShownElsewhere             Show          Show           Show               Show                 Show
    ShownElsewhere: a gap      Ask           Ask            Ask                Ask                  Ask
    TimerFired: takeover       –             –              Show, load         –                    –
    TimerFired: status         –             –              –                  Show                 –
    TimerFired: commit         –             –              –                  –                    Commit
    TimerFired: load           –             Load           –                  –                    –
    TimerFired: read           never         –              Read               Read                 Read
    Rest                       –             –              Evict → COLD       –                    –

run = RunStep, SetTimer → RUNNING · load = Load → LOADING · commit = Commit → COMMITTING · stop = CancelStep ·
gone = Gone, Evict → COLD · hold: keep the request until it can be judged · never: a session that is COLD was just
made, or is evicted · The column LOADING is for a session that has a snapshot; before that, Message and Cancel are held.

*run*: answer the oldest unanswered line. A line that this process accepted runs here at once. A line of another process
is *elsewhere*: it runs here only after TakeOver and another Load, so that two processes seldom pay for the same answer.
The turn that opens a session has no line; it runs when a connection found no session. *note*: an event with seq ≤ head
is dropped, = head+1 is taken, > head+1 leads to Read, and no turn starts before the gap is filled.

*wrong*: a request that must be refused by the state known here: a button of a closed card, a cancellation of a turn
that is not under way, a full inbox. It is refused only after Find. The first two are held while the store may have
newer events, because another process may have made the request right.

Every input that answers an effect carries the effect's number; an outdated one is dropped. A failed step is committed
too: the cursor moves on and the user sees the failure, so a bad step cannot loop.

A session is *free* when no turn runs, no line or write waits and no gap is open. A line for a free session is answered
at once if its step does not wait: one write has the line and its answer. The write is for the seq behind the head; if
another write was first, the outcome is Conflict, and the line is judged again. Later lines are held until then, so that
lines keep their order.

When a line comes while a turn is under way, the workflow's `when_busy` decides. *queue*: as above. *reject*: the new
line is refused after Find; it is held while that is not certain, because an Append is on its way or events must be
read. *interrupt*: the process that runs a turn ends it when it knows a newer line; a turn that has not begun ends
without a step. The effect is Interrupt; the engine answers it with Interrupted. A turn that is being committed is not
interrupted.
"""

from collections.abc import Sequence
from typing import assert_never

from server.errors import CloseCode, ErrorCode
from server.machines import effects, inputs, lines
from server.machines.effects import Effect
from server.machines.standing import Phase, Standing
from server.machines.turn import Ending, Running, cancelled, interrupted, snapshot_after, tell_usage, turn_write
from server.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    EventType,
    Loaded,
    Missing,
    Settled,
    Snapshot,
    Unknown,
    Unstorable,
)  # fmt: skip


class Session(Standing):
    """The machine of one conversation that is awake in this process; the file's docstring has its table."""

    def deliver(self, received: inputs.Input) -> list[Effect]:
        """Take one input. Returns the effects, which the caller performs in order before the next input."""
        out = self._take(received)
        if self._held.asked and self.snapshot and self.phase in (Phase.IDLE, Phase.RUNNING) and not self._asking:
            for asked in self._held.take():
                out += self._judge(asked)
        return out

    def _take(self, received: inputs.Input) -> list[Effect]:
        match received:
            case inputs.Message():
                return self._message(received, looked=False)
            case inputs.AtOnce():
                return self._at_once(received.message, received.line, received.ended)
            case inputs.TurnCommitted():
                return self._turn_committed(received.run, received.outcome)
            case inputs.Appended():
                return self._appended(received)
            case inputs.Done() | inputs.Failed():
                return self._done(received)
            case inputs.Cancel():
                return self._cancel(received, looked=False)
            case inputs.Interrupted():
                return self._interrupted(received)
            case inputs.Shown(run, progress):
                running = self._runs(run)
                return [effects.Show(running.show(progress))] if running else []
            case inputs.Streamed(run, text, message_id):
                running = self._runs(run)
                return [effects.Show(running.stream(text, message_id))] if running else []
            case inputs.Again(run):
                return self._again(run)
            case inputs.Opened(loaded):
                return self._opened(loaded)
            case inputs.LoadDone():
                return self._load_done(received)
            case inputs.ReadDone():
                return self._read_done(received)
            case inputs.Remote(head, events):
                self.inbox.hear_of(head)
                return self._note(events) + self._next()
            case inputs.ShownElsewhere(frame):
                return self.elsewhere.show(frame, self.running.turn if self.running else self._last_turn())
            case inputs.Wished():
                running = self.running if self.phase is Phase.RUNNING else None
                return [effects.Show(frame) for frame in running.show_again()] if running else []
            case inputs.Found():
                return self._found(received)
            case inputs.TimerFired(name, number):
                return self._timer(name, number)
            case inputs.Rest():
                return self._rest()
            case _:
                assert_never(received)

    # ------------------------------------------------------------ loads and reads

    def _opened(self, loaded: Loaded | inputs.NotThere) -> list[Effect]:
        self._wanted = self._wanted or isinstance(loaded, inputs.NotThere)
        if self.phase is Phase.COLD:
            return self._loaded(loaded)
        if isinstance(loaded, Loaded):  # it may have lines whose commit seemed to fail
            self.inbox.hear_of(loaded.snapshot.seq)
            return [effects.Tell(loaded.snapshot.seq), *self._note(loaded.inbox), *self._next()]
        # The connection found no session, and we know one: its read or ours is outdated, so load again.
        return self._load() if self.phase is Phase.IDLE else []

    def _load(self) -> list[Effect]:
        """Load the session anew. The turn that ran here is dropped, and a read under way is ignored."""
        taken_back = self._take_back()
        self.phase, self.running, self.elsewhere.awaited, self._outdated = Phase.LOADING, None, None, False
        self._read_number = 0
        self.inbox.forget()
        self._load_number = self._next_number()
        return [*taken_back, effects.Load(self._load_number)]

    def _load_done(self, done: inputs.LoadDone) -> list[Effect]:
        if done.number != self._load_number or self.phase is not Phase.LOADING:
            return []
        if not isinstance(done.loaded, inputs.Unreadable):
            return self._loaded(done.loaded)
        refused = self._held.refuse(ErrorCode.STORE_UNAVAILABLE)
        if self.snapshot is None:
            self.phase = Phase.COLD
            return [*refused, effects.Evict()]
        return [*refused, self._retry("load")]

    def _loaded(self, loaded: Loaded | inputs.NotThere) -> list[Effect]:
        if isinstance(loaded, inputs.NotThere):
            greets = self._wanted and self.snapshot is None
            return self._run(None) if greets else self._gone(CloseCode.NOT_FOUND)
        self._failures = 0
        self.snapshot = loaded.snapshot
        self.inbox.begin(loaded.snapshot.seq, loaded.inbox)
        self.phase = Phase.IDLE
        told = effects.Tell(loaded.snapshot.seq)
        # Events that were published while we loaded were noted, not taken: read them from the store.
        return [told, *(self._read() if self.inbox.is_behind else self._next())]

    def _gone(self, code: CloseCode) -> list[Effect]:
        refused = self._held.refuse(ErrorCode.NOT_FOUND if code is CloseCode.NOT_FOUND else ErrorCode.STORE_UNAVAILABLE)
        stopped: list[Effect] = [effects.CancelStep(self.running.run)] if self.running else []
        self.phase, self.running, self.elsewhere.awaited = Phase.COLD, None, None
        return [*refused, *stopped, effects.Gone(code), effects.Evict()]

    def _read(self) -> list[Effect]:
        self._read_number = self._next_number()
        return [effects.Read(self._read_number, self.inbox.head)]

    def _read_done(self, done: inputs.ReadDone) -> list[Effect]:
        if done.number != self._read_number:
            return []
        self._read_number = 0
        if isinstance(done.events, inputs.Unreadable):
            return [*self._held.refuse(ErrorCode.STORE_UNAVAILABLE), self._retry("read")]
        self._failures = 0
        if not self.inbox.joins(done.events):
            self.elsewhere.forget()
            return self._reload()  # the log was cut: the store lacks events that were published
        return [effects.Tell(done.events[-1].seq), *self._note(done.events), *self._next()]

    def _note(self, events: Sequence[Event]) -> list[Effect]:
        """Take the events that follow the known log. If there is a gap, read the store (L2)."""
        self.inbox.hear(events)
        if self.phase in (Phase.COLD, Phase.LOADING):
            return []
        turn = self.inbox.take(events)
        if turn is not None and turn > self._last_turn():
            return self._reload()
        return self._read() if self.inbox.is_behind and not self._read_number else []

    def _reload(self) -> list[Effect]:
        """Load again, because another process ended a turn or the log was cut; a commit under way ends first."""
        if self.phase is Phase.COMMITTING:
            self._outdated = True
            return []
        stopped: list[Effect] = [effects.CancelStep(self.running.run)] if self.running else []
        return stopped + self._load()

    # ------------------------------------------------------------ lines

    def _judge(self, asked: inputs.Asked, *, looked: bool = False) -> list[Effect]:
        """Do a request, hold it or refuse it. `looked`: Find has shown that it did not take effect before."""
        return self._message(asked, looked) if isinstance(asked, inputs.Message) else self._cancel(asked, looked)

    def _message(self, message: inputs.Message, looked: bool) -> list[Effect]:
        # Held behind a line that is committed together with its answer, so that lines keep their order.
        if self.snapshot is None or self._asking or (self.running is not None and self.running.message is not None):
            return self._hold(message)
        if self.workflow.when_busy == "reject":
            if self._is_late or self._appending:
                return self._hold(message)  # whether a turn is under way is not certain yet
            if self.turn is not None:
                return self._refuse(message, ErrorCode.TURN_RUNNING, looked)
        if len(self.inbox.lines) + self._appending >= self.limits.inbox:
            return self._refuse(message, ErrorCode.INBOX_FULL, looked)
        asked = message.say.action_message_id
        if asked is not None and asked != self.snapshot.card:
            # The card known here may be older than the card that the user sees.
            return self._hold(message) if self._is_late else self._refuse(message, ErrorCode.STALE_ACTION, looked)
        line = lines.line_event(message, self.snapshot, self.workflow)
        if not self._is_free:
            return self._append(message, line)
        self._asking = self._next_number()
        step = effects.RunStep(self._asking, self.inbox.head + 1, 1, line, self.snapshot, stale=False)
        return [effects.AnswerAtOnce(message, line, step)]

    def _append(self, message: inputs.Message, line: Event) -> list[Effect]:
        self._appending += 1
        return [effects.Append(message, lines.accept_write(line, self.user_id))]

    def _at_once(
        self, message: inputs.Message, line: Event, ended: inputs.Done | inputs.Failed | inputs.MayWait
    ) -> list[Effect]:
        """Commit a line with its answer; append it alone if its step may wait, or the session is not free any more."""
        asked, self._asking = self._asking, 0
        if isinstance(ended, inputs.MayWait) or ended.run != asked or not self._is_free:
            return self._append(message, line)
        self.running = Running(run=ended.run, turn=self.inbox.head + 1, attempt=1, message=message)
        ending = self._ending(ended, self.running)
        return self._commit(self.running, ending, ended.ids, ended.now_ms, line)

    def _hold(self, asked: inputs.Asked) -> list[Effect]:
        return [*self._held.add(asked), *(self._load() if self.phase is Phase.COLD else [])]

    def _appended(self, appended: inputs.Appended) -> list[Effect]:
        self._appending -= 1
        message = appended.message
        match appended.outcome:
            case Committed(events, _):
                self.inbox.own(events[-1].seq)
                ack = effects.Ack(message.reply_to, message.say.client_id, events[-1].seq, duplicate=False)
                return [ack, effects.Publish(events), *self._note(events), *self._next()]
            case Duplicate(event):
                return self._repeated(message, event)
            case Missing():
                return [lines.reject(message, ErrorCode.NOT_FOUND), *self._gone(CloseCode.NOT_FOUND)]
            case (
                inputs.Refused() | Unknown() | Unstorable() | Conflict()
            ):  # an accept has no version, so Conflict does not occur
                return [lines.reject(message, lines.why(appended.outcome))]
            case _:
                assert_never(appended.outcome)

    def _repeated(self, asked: inputs.Asked, event: Event) -> list[Effect]:
        """Answer a request that took effect before, as `event`. Note the event: its commit may have seemed to fail."""
        self.inbox.hear([event])
        return [lines.repeat(asked, event, self.workflow), *self._note([]), *self._next()]

    def _refuse(self, asked: inputs.Asked, code: ErrorCode, looked: bool) -> list[Effect]:
        """Refuse a request, but only after Find: it may have taken effect before, or our state may be outdated."""
        if looked:
            return [lines.reject(asked, code, self.snapshot)]
        self._finding += 1
        return [effects.Find(asked, code)]

    def _found(self, found: inputs.Found) -> list[Effect]:
        self._finding -= 1
        match found.answer:
            case inputs.Unreadable():
                return [lines.reject(found.asked, ErrorCode.STORE_UNAVAILABLE)]
            case Event():
                return self._repeated(found.asked, found.answer)
            case Snapshot(seq=seq):
                self.inbox.hear_of(seq)  # news of another process may not have reached us
            case inputs.NotThere():
                pass
            case _:
                assert_never(found.answer)
        return self._judge(found.asked, looked=True) + self._note([])

    # ------------------------------------------------------------ turns

    def _next(self) -> list[Effect]:
        """Run the oldest unanswered line, or wait for the process that accepted it. Interrupt an overtaken turn."""
        if self.phase is Phase.RUNNING and self.running is not None and self._is_overtaken(self.running.turn):
            return [effects.Interrupt(self.running.run)]
        if self.phase is not Phase.IDLE:
            return []
        assert self.snapshot is not None
        line = self.inbox.next_line(self.snapshot.cursor)
        if line is None:
            return []
        if self.inbox.is_ours(line) or self.limits.takeover_ms == 0:
            return self._run(line)
        if self.elsewhere.awaited is not None:
            return []  # we wait for this line already: the next line comes only after its turn
        self.elsewhere.wait_for(line.seq, self._next_number())
        return [effects.TakeOver(line.seq, max(line.created_at, self.snapshot.updated_at))]

    def _run(self, line: Event | None) -> list[Effect]:
        turn, run, is_seen = line.seq if line else 0, self._next_number(), self.elsewhere.awaited is not None
        # A process that died may have shown a part of an answer to a line that we did not accept. A higher attempt
        # number makes clients replace that text.
        before = 0 if line is None or self.inbox.is_ours(line) else 1
        before = self._attempt if turn == self._tried else before
        self._tried, self._attempt = turn, max(before, self.elsewhere.attempt(turn)) + 1
        self.running = Running(run=run, turn=turn, attempt=self._attempt, is_seen=is_seen)
        self.elsewhere.awaited = None
        self.phase = Phase.RUNNING
        if self._is_overtaken(turn):
            return [effects.Interrupt(run)]  # a newer line replaced it: run no step, call no model
        asked = line.payload.get("action_message_id") if line else None
        stale = asked is not None and self.snapshot is not None and asked != self.snapshot.card
        step = effects.RunStep(run, turn, self._attempt, line, self.snapshot, stale)
        return [step, effects.SetTimer("status", run, self.limits.status_after_ms)]

    def _again(self, run: int) -> list[Effect]:
        """Show that the step starts again. Clients replace its text when they see a higher attempt number."""
        running = self._runs(run)
        if running is None:
            return []
        shown = running.begin_again()
        self._attempt = running.attempt
        return [effects.Show(shown)]

    def _done(self, done: inputs.Done | inputs.Failed) -> list[Effect]:
        running = self._runs(done.run)
        if running is None:
            return []
        return self._commit(running, self._ending(done, running), done.ids, done.now_ms)

    def _cancel(self, cancel: inputs.Cancel, looked: bool) -> list[Effect]:
        if self.snapshot is None:
            return self._hold(cancel)
        running = self._underway
        if running is None or running.turn != cancel.turn:
            return self._hold(cancel) if self._is_late else self._refuse(cancel, ErrorCode.NOT_RUNNING, looked)
        # If another process runs the turn, it learns of the end from the log, and its own commit is a Conflict.
        self.running, self.elsewhere.awaited = running, None
        running.cancel = cancel
        return self._stop(running, cancelled(cancel, running, self._state()), cancel.ids, cancel.now_ms)

    def _interrupted(self, ready: inputs.Interrupted) -> list[Effect]:
        running = self._runs(ready.run)
        if running is None:
            return []
        return self._stop(running, interrupted(ready, running, self._state()), ready.ids, ready.now_ms)

    def _stop(self, running: Running, ending: Ending, ids: Sequence[str], now_ms: int) -> list[Effect]:
        return [effects.CancelStep(running.run), *self._commit(running, ending, ids, now_ms)]

    def _commit(
        self, running: Running, ending: Ending, ids: Sequence[str], now_ms: int, line: Event | None = None
    ) -> list[Effect]:
        running.write = turn_write(
            ending, running, self.snapshot, self.workflow,
            session_id=self.session_id, user_id=self.user_id, ids=ids, now_ms=now_ms, line=line,
        )  # fmt: skip
        self.phase = Phase.COMMITTING
        return [effects.Commit(running.run, running.write)]

    def _turn_committed(self, run: int, outcome: Settled | inputs.Refused) -> list[Effect]:
        running = self.running
        if running is None or running.run != run or running.write is None:
            return []
        if running.message is not None and not isinstance(outcome, Committed):
            return self._came_to_nothing(running.message, outcome)
        match outcome:
            case Committed(events, version):
                return self._turn_ended(running, events, version)
            case Duplicate(event) if running.cancel is not None:
                return [lines.repeat(running.cancel, event, self.workflow), *self._load()]
            case Duplicate() | Missing():
                return self._gone(CloseCode.NOT_FOUND)
            case Conflict():
                refused = self._held.add(running.cancel) if running.cancel else []
                return [*refused, *self._load()]
            case Unknown() | Unstorable() | inputs.Refused():
                if self.snapshot is None:
                    return self._gone(CloseCode.STORE_UNAVAILABLE)  # no client has seen this session yet
                return [*self._held.refuse(ErrorCode.STORE_UNAVAILABLE), self._retry("commit")]
            case _:
                assert_never(outcome)

    def _came_to_nothing(
        self, message: inputs.Message, outcome: Duplicate | Conflict | Missing | Unknown | Unstorable | inputs.Refused
    ) -> list[Effect]:
        """Handle a write of a line and its answer that was not committed, or may not be: answer the sender, load."""
        match outcome:
            case Duplicate(event):
                return [lines.repeat(message, event, self.workflow), *self._load()]
            case Conflict():
                return [*self._held.put_back(message), *self._load()]
            case inputs.Refused() | Unknown() | Unstorable():
                return [lines.reject(message, lines.why(outcome)), *self._load()]
            case Missing():
                return [lines.reject(message, ErrorCode.NOT_FOUND), *self._gone(CloseCode.NOT_FOUND)]
            case _:
                assert_never(outcome)

    def _turn_ended(self, running: Running, events: Sequence[Event], version: int) -> list[Effect]:
        assert running.write is not None
        self.snapshot = snapshot_after(running.write, events, version, self.snapshot)
        out: list[Effect] = [effects.Publish(events)]
        if (message := running.message) is not None:
            out.insert(0, effects.Ack(message.reply_to, message.say.client_id, events[0].seq, duplicate=False))
            if not self._outdated and self.inbox.pass_over(events):
                self.running, self.phase, self._failures = None, Phase.IDLE, 0
                return out
        if (usage := tell_usage(events[-1])) is not None:
            out.append(effects.Show(usage))
        if (cancel := running.cancel) is not None:
            stopped = next(event for event in events if event.type == EventType.TURN_CANCELLED)
            out.append(effects.Ack(cancel.reply_to, cancel.client_id, stopped.seq, duplicate=False))
        out += self._take_back()
        self.running, self.phase, self._failures = None, Phase.IDLE, 0
        if self._outdated:
            return out + self._load()
        return out + self._note(events) + self._next()

    # ------------------------------------------------------------ time

    def _timer(self, name: str, number: int) -> list[Effect]:
        running = self.running if self.running and self.running.run == number else None
        match name:
            case "takeover" if self.elsewhere.awaited is not None and self.elsewhere.awaited.turn == number:
                self.inbox.own(number)
                # Clients may have text of the other process's attempt: count it, so that ours gets a higher number.
                self._tried, self._attempt = number, 1
                return self._load()  # it may have its answer, and the news of it did not reach us
            case "status" if running and running.status is None and running.write is None:
                return [effects.Show(running.think())]
            case "commit" if running and running.write is not None:
                return [effects.Commit(number, running.write, again=True)]
            case "load" if self.phase is Phase.LOADING:
                return self._load()
            case "read" if self.phase is not Phase.LOADING and self.inbox.is_behind and not self._read_number:
                return self._read()
        return []

    def _rest(self) -> list[Effect]:
        waits = self.inbox.lines or self.inbox.is_behind or self._appending or self._finding or self._asking
        if self.phase is not Phase.IDLE or waits or self._is_told_early:
            return []
        self.phase = Phase.COLD
        return [effects.Evict()]
