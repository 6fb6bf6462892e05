"""One server process: what the engine does, except that every effect waits until the schedule performs it."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from server.engine.group_commit import GroupCommit, Resolve
from server.engine.run_step import SPARE_IDS
from server.errors import CloseCode
from server.machines import effects, inputs, lines
from server.machines.session import Session
from server.machines.standing import Limits
from server.machines.turn import Running
from server.records import UNKNOWN, Committed, Event, Loaded, SessionKey, Settled, Unknown, Unstorable, Write
from server.wire.protocol import Say, Transient
from tests.model.awake import Awake
from tests.model.laws import POISON
from tests.model.network import Packet
from tests.model.pending import PendingStore, at_once
from tests.model.step import Step, end_at_once
from tests.support.builders import USER

if TYPE_CHECKING:
    from tests.model.tab import Tab
    from tests.model.world import World

NO_EVENTS = 0
PAGE_LIMIT = 3
QUEUE_LIMIT = 1000


class Process:
    """Until it crashes; `alive` tells what comes for a dead one apart."""

    def __init__(self, world: "World", place: int) -> None:
        self.world = world
        self.place = place
        self.alive = True
        self.outage = 0  # so many calls on the store will fail
        self.stall = 0  # so many will happen, but return later
        self.unanswered: Counter[tuple[int, str | None]] = Counter()
        self.store = PendingStore(world.store)
        self.commit = GroupCommit(self.store, batch_limit=world.plan.batch_limit, queue_limit=QUEUE_LIMIT)
        self.commit.start()
        self.awake: dict[str, Awake] = {}
        self.tabs: dict[int, Tab] = {}
        self.subscribers: dict[str, list[Tab]] = {session_id: [] for session_id in world.sessions}
        self._inputs: deque[tuple[str, inputs.Input]] = deque()
        self._submitted: deque[Write] = deque()
        self._delivering = False

    # ------------------------------------------------------------ inputs

    def deliver(self, session_id: str, received: inputs.Input) -> None:
        """Give an input to a session, waking it if need be."""
        if session_id not in self.awake:
            limits = Limits(inbox=self.world.plan.inbox, takeover_ms=self.world.plan.takeover_ms)
            self.awake[session_id] = Awake(Session(session_id, USER, self.world.workflow, limits), self.world.laws)
        self.answer(session_id, received)

    def answer(self, session_id: str, received: inputs.Input) -> None:
        """Give an input to a session that is still awake."""
        self._inputs.append((session_id, received))
        if not self._delivering and self.alive:
            self._run()

    def _run(self) -> None:
        self._delivering = True
        while self._inputs:
            session_id, received = self._inputs.popleft()
            awake = self.awake.get(session_id)
            if awake is None:
                continue
            self.world.tell(session_id, self.place, received)
            self._watch(awake, received)
            awake.watch(received)
            try:
                effects = awake.machine.deliver(received)
            except Exception as error:  # noqa: BLE001  noted: group commit would catch it
                self.world.laws.hold(False, f"{type(received).__name__} raised {error!r}")
                break
            for effect in effects:
                self.world.tell(session_id, self.place, effect)
                awake.performs(effect)
                self._perform(session_id, awake, effect)
            awake.delivered()
            for tab in self.subscribers[session_id]:
                tab.keeps_up_with(awake.machine.inbox.head)
        self._delivering = False
        for awake in self.awake.values():
            awake.settled()

    def _watch(self, awake: Awake, received: inputs.Input) -> None:
        match received:
            case inputs.Message(reply_to, say):
                self.unanswered[reply_to, say.client_id] += 1
            case inputs.Cancel(reply_to, client_id):
                self.unanswered[reply_to, client_id] += 1
            case inputs.TurnCommitted(_, Unknown()):
                running = awake.machine.running
                poisoned = running is not None and running.message is not None and POISON in running.message.say.text
                failed = poisoned or not self.world.is_faultless
                self.world.laws.hold(failed, "a turn was not committed though the store never failed")

    # ------------------------------------------------------------ effects

    def _perform(self, session_id: str, awake: Awake, effect: effects.Effect) -> None:
        laws = self.world.laws
        match effect:
            case effects.Append(message, write):

                def appended(outcome: Settled) -> None:
                    self.answer(session_id, inputs.Appended(message, outcome))

                self._submit(session_id, write, appended)
            case effects.Commit(run, write, again):
                running = awake.machine.running
                shown = self._shown_of(session_id, running) if running and running.cancel and not again else []

                def committed(outcome: Settled) -> None:
                    if isinstance(outcome, Committed):
                        laws.keeps_what_was_shown(outcome.events, shown)
                    self.answer(session_id, inputs.TurnCommitted(run, outcome))

                self._submit(session_id, write, committed, again=again)
            case effects.Ack(reply_to, client_id):
                self.unanswered[reply_to, client_id] -= 1
                laws.acked_by(session_id, effect)
                if (tab := self.tabs.get(reply_to)) is not None:
                    tab.put(effect)
            case effects.Reject(reply_to, client_id):
                self.unanswered[reply_to, client_id] -= 1
                laws.refused_by(session_id, effect, faultless=self.world.is_faultless)
                if (tab := self.tabs.get(reply_to)) is not None:
                    tab.put(effect)
            case effects.Publish(events):
                laws.published(session_id, events)
                self.hear(session_id, events)
                self.world.network.publish(self, session_id, events)
            case effects.Show(frame, here):
                self.hear_transient(session_id, frame)
                if not here:
                    self.world.network.publish_transient(self, session_id, frame)
            case effects.Tell(head):
                self.hear_head(session_id, head)
            case effects.RunStep():
                awake.begin_step(effect, Step(effect, session_id, self.world.workflow, self.world.fresh))
            case effects.AnswerAtOnce(message, line, step):
                awake.may_begin(step)
                # Most lines have a step that may have to be waited for.
                ended: inputs.Done | inputs.Failed | inputs.MayWait = inputs.MAY_WAIT
                if int(message.message_id.removeprefix("m")) % 4 == 1:
                    world, now_ms = self.world, self.world.now_ms(self.place)
                    ended = end_at_once(step, session_id, world.workflow, world.fresh, now_ms)
                self.answer(session_id, inputs.AtOnce(message, line, ended))
            case effects.CancelStep():
                awake.late += [awake.step] if awake.step else []
                awake.step = None
            case effects.Interrupt(run):
                ids = [self.world.fresh() for _ in range(SPARE_IDS)]
                self.answer(session_id, inputs.Interrupted(run, ids, self.world.now_ms(self.place)))
            case effects.SetTimer(name, number):
                awake.timers[name] = inputs.TimerFired(name, number)
            case effects.TakeOver(seq):
                awake.takeovers.append(seq)
                self.world.network.ask(self, session_id)
            case effects.Ask():
                self.world.network.ask(self, session_id)
            case effects.Load() | effects.Read() | effects.Find():
                self._look_up(session_id, awake, effect)
            case effects.Gone(code):
                laws.hold(code is CloseCode.STORE_UNAVAILABLE and not self.world.is_faultless, f"gone with {code.name}")
                for tab in list(self.subscribers[session_id]):
                    tab.close(code)
            case effects.Evict():
                self.awake.pop(session_id, None)
            case _:
                assert_never(effect)

    def _shown_of(self, session_id: str, running: Running) -> list[str]:
        """What the clients here read of a turn."""
        here = [one for one in self.world.clients if one.tab is not None and one.tab.process is self]
        return [one.was_shown(running.turn, running.attempt) for one in here if one.session_id == session_id]

    def _submit(self, session_id: str, write: Write, resolve: Resolve, *, again: bool = False) -> None:
        """Queue a write with group commit, which must tell the outcomes in the order of its queue."""
        self._submitted.append(write)

        def resolved(outcome: Settled) -> None:
            self.world.laws.hold(self._submitted.popleft() is write, "outcomes came out of order")
            self.world.laws.committed(session_id, write, outcome)
            resolve(UNKNOWN if isinstance(outcome, Unstorable) else outcome)

        assert self.commit.submit(write, resolved, again=again)

    def _look_up(self, session_id: str, awake: Awake, effect: effects.Load | effects.Read | effects.Find) -> None:
        store = self.world.store
        match effect:
            case effects.Load(number):
                awake.ran.clear()

                def loaded(found: Loaded | Exception | None) -> None:
                    answer = inputs.UNREADABLE if isinstance(found, Exception) else found or inputs.NOT_THERE
                    self.answer(session_id, inputs.LoadDone(number, answer))

                self.store.ask("load", lambda: store.load(SessionKey(USER, session_id), 0, NO_EVENTS), loaded)
            case effects.Read(number, after):

                def read(page: list[Event] | Exception) -> None:
                    events = inputs.UNREADABLE if isinstance(page, Exception) else page
                    self.answer(session_id, inputs.ReadDone(number, events))

                self.store.ask("read", lambda: store.read(SessionKey(USER, session_id), after, PAGE_LIMIT), read)
            case effects.Find(asked, refusal):
                self._find(session_id, asked, refusal)

    def _find(self, session_id: str, asked: inputs.Asked, refusal: str) -> None:
        """Look up what took effect under the id; then, where the refusal depends on it, the session."""
        store, client_id = self.world.store, lines.client_id(asked)

        def found(event: Event | Exception | None) -> None:
            if isinstance(event, Exception):
                self.answer(session_id, inputs.Found(asked, inputs.UNREADABLE))
            elif event is None and refusal in lines.REFUSED_BY_NEWS:
                self.store.ask("load", lambda: store.load(SessionKey(USER, session_id), 0, NO_EVENTS), loaded)
            else:
                self.answer(session_id, inputs.Found(asked, event or inputs.NOT_THERE))

        def loaded(session: Loaded | Exception | None) -> None:
            answer = session.snapshot if isinstance(session, Loaded) else inputs.NOT_THERE
            self.answer(
                session_id, inputs.Found(asked, inputs.UNREADABLE if isinstance(session, Exception) else answer)
            )

        if client_id is None:
            found(None)
        else:
            self.store.ask("find", lambda: store.find(SessionKey(USER, session_id), client_id), found)

    # ------------------------------------------------------------ what else reaches it

    def hear(self, session_id: str, events: Sequence[Event]) -> None:
        """Committed events reach the connections of this process."""
        for tab in list(self.subscribers[session_id]):
            tab.hear(events)

    def hear_head(self, session_id: str, head: int) -> None:
        """How far the log goes reaches the connections of this process."""
        for tab in list(self.subscribers[session_id]):
            tab.hint(head)

    def hear_transient(self, session_id: str, frame: Transient) -> None:
        for tab in self.subscribers[session_id]:
            tab.hear_transient(frame)

    def hear_remote(self, packet: Packet) -> None:
        """News of another process. Those of a session that nobody subscribed to here come here while its turn runs."""
        session_id = packet.session_id
        if session_id not in self._followed():
            return
        if packet.wish:
            self.answer(session_id, inputs.Wished())
            return
        if packet.frame is not None:
            if session_id in self.awake:
                self.answer(session_id, inputs.ShownElsewhere(packet.frame))
            elif packet.frame.type == "stream_delta":
                self._wake(session_id)
            else:
                self.hear_transient(session_id, packet.frame)
            return
        if packet.events:
            self.hear(session_id, packet.events)
        else:
            self.hear_head(session_id, packet.head)
        self.answer(session_id, inputs.Remote(packet.head, packet.events))

    def compare_heads(self) -> None:
        """Ask the store how far the logs go that somebody follows here."""
        sessions = self._followed()
        store = self.world.store

        def compared(heads: Sequence[int] | Exception) -> None:
            for session_id, head in zip(sessions, () if isinstance(heads, Exception) else heads, strict=False):
                if head:
                    self.hear_head(session_id, head)
                    self.answer(session_id, inputs.Remote(head))

        if sessions:
            self.store.ask(
                "heads", lambda: store.heads([SessionKey(USER, session_id) for session_id in sessions]), compared
            )

    def _followed(self) -> list[str]:
        running = {session_id for session_id, awake in self.awake.items() if awake.machine.running is not None}
        return [session_id for session_id, tabs in self.subscribers.items() if tabs or session_id in running]

    def open(self, session_id: str, loaded: Loaded | None) -> None:
        self.deliver(session_id, inputs.Opened(loaded or inputs.NOT_THERE))

    def sweep(self) -> None:
        """Wake the sessions whose line has no answer."""
        for _, session_id in at_once(self.world.store.pending(2**62, 100)):
            self._wake(session_id)

    def _wake(self, session_id: str) -> None:
        store = self.world.store

        def loaded(found: Loaded | Exception | None) -> None:
            if isinstance(found, Loaded) and found.inbox:
                self.open(session_id, found)

        self.store.ask("load", lambda: store.load(SessionKey(USER, session_id), 0, NO_EVENTS), loaded)

    def rest(self, session_id: str) -> None:
        self.answer(session_id, inputs.Rest())

    def say(self, session_id: str, say: Say) -> None:
        """A line whose sender does not wait for the ack."""
        reply_to = -int(self.world.fresh()[1:])
        self.world.laws.asked(reply_to, say)
        self.deliver(session_id, inputs.Message(reply_to, say, self.world.fresh(), self.world.now_ms(self.place)))

    def go_on(self, session_id: str, *, broken: bool = False) -> None:
        """The running step's next output."""
        awake = self.awake[session_id]
        if awake.step is None:
            return
        output = awake.step.go_on(self.world.now_ms(self.place), broken=broken)
        if isinstance(output, inputs.Done | inputs.Failed):
            awake.step = None
        self.answer(session_id, output)

    def begin_again(self, session_id: str) -> None:
        """The running step breaks off, and is begun again."""
        if (step := self.awake[session_id].step) is not None:
            self.answer(session_id, step.begin_again())

    def work(self) -> bool:
        """Every call on the store happens and returns, every step goes on; whether there was anything to do."""
        calls, self.store.calls = self.store.calls, []
        for call in calls:
            if not call.happened:
                call.happen()
            call.come_back()
        stepping = [session_id for session_id, awake in self.awake.items() if awake.step is not None]
        for session_id in stepping:
            self.go_on(session_id)
        for awake in self.awake.values():
            awake.late.clear()
        return bool(calls or stepping)
