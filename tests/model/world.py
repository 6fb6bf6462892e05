"""The simulated world: processes, clients, the network between the processes, and what can happen there."""

import asyncio
from typing import Any, NamedTuple

from server.machines import inputs
from server.machines.connection import Cursor
from server.machines.turn import Ending, Running, turn_write
from server.records import Committed, SessionKey
from server.wire.protocol import Cancel, Say
from server.workflows.table import Frame, chat
from tests.model.awake import Awake
from tests.model.client import Client
from tests.model.laws import POISON, Laws
from tests.model.network import Network
from tests.model.pending import Call, at_once
from tests.model.process import Process
from tests.model.tab import Tab
from tests.support.builders import T0_MS, USER
from tests.support.dict_store import DictStore
from tests.support.example_workflows import WORKFLOWS

SAYINGS = ("hello", "choose", "choose", "back", "stream 0 ab cd ef", "boom", "left", "Go left", "silent", "hello")


class Action(NamedTuple):
    """Something happens: what, where, and which of several."""

    name: str
    place: int
    number: int


class Plan(NamedTuple):
    """What does not change during a schedule, and the schedule."""

    processes: int = 2
    sessions: int = 1
    takeover_ms: int = 50
    batch_limit: int = 3
    inbox: int = 4
    slow: bool = False
    alone: bool = False
    absent: bool = False
    begun: bool = False
    workflow: str = "echo"
    actions: tuple[Action, ...] = ()


class World:
    """Two or three processes, three clients, one or two sessions."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.workflow = WORKFLOWS[plan.workflow]
        self.sessions = [f"session-{number}" for number in range(plan.sessions)]
        self.store = DictStore()
        self.laws = Laws(self.store, self.workflow)
        self.story: list[tuple[str, int, Any]] = []
        self.network = Network(self)
        self.faults = 0  # one at a time, group commit hides
        self.ticks = self._made = self._tabs = 0
        self.processes = [Process(self, place) for place in range(plan.processes)]
        self._dead: list[Process] = []
        self.clients = [Client(self, f"client {n}", self.sessions[n % plan.sessions]) for n in range(3)]
        for session_id in self.sessions if plan.begun else ():
            self._begin(session_id)
        self.clients[0].connect(self.processes[0], Cursor())

    def _begin(self, session_id: str) -> None:
        """The conversation is under way: it was greeted, a choice is open, and every process knows it so."""
        opening = Ending([chat("Welcome."), Frame("action_request", {})], "Open", "CHOICE", {})
        write = turn_write(
            opening,
            Running(run=1, turn=0, attempt=1),
            None,
            self.workflow,
            session_id=session_id,
            user_id=USER,
            ids=[self.fresh() for _ in range(3)],
            now_ms=self.now_ms(0),
        )
        [outcome] = at_once(self.store.commit([write]))
        assert isinstance(outcome, Committed)
        self.laws.published(session_id, outcome.events)
        for process in self.processes:
            process.open(session_id, at_once(self.store.load(SessionKey(USER, session_id), 0, 0)))

    # ------------------------------------------------------------ what everybody needs

    def fresh(self) -> str:
        self._made += 1
        return f"m{self._made}"

    def now_ms(self, place: int) -> int:
        """The clocks of the processes differ, and are coarse."""
        return T0_MS + self.ticks // 8 + 3 * place

    def tell(self, session_id: str, place: int, what: object) -> None:
        self.story.append((session_id, place, what))

    def new_tab(self, client: Client, process: Process, cursor: Cursor) -> Tab:
        self._tabs += 1
        self.tell(client.session_id, 100 + self._tabs, (client.name, f"process {process.place}", cursor))
        return Tab(100 + self._tabs, client, process, cursor)

    @property
    def is_faultless(self) -> bool:
        """Whether nobody should have noticed a failure of the store."""
        return self.faults <= 1

    def at(self, place: int) -> Process:
        return next(process for process in self.processes if process.place == place)

    # ------------------------------------------------------------ actions

    async def act(self, action: Action) -> None:
        """One thing happens, and whatever it makes happen at once."""
        self.ticks += 1
        process = self.processes[action.place % len(self.processes)]
        client = self.clients[action.number % len(self.clients)]
        self.tell("", -1, action)
        name, number = action.name, action.number
        if name in ("happen", "return", "call", "call failed", "call cut", "read failed"):
            self._call(name, process, number)
        elif name in ("step", "step breaks", "late", "timer", "takeover", "takeover early", "rest"):
            self._awake(name, process, number)
        elif name.startswith("news"):
            self.network.pass_on(name, number)
        elif name == "rush":
            await self._rush(process)
        elif name in ("sweep", "heads", "crash", "crash applied", "outage", "stall"):
            self._process(name, process, number)
        else:
            self._client(name, client, process, number)
        await self.settle()

    async def _rush(self, process: Process) -> None:
        """Everything that one process has to do, at once."""
        while process.work():
            await self.settle()

    async def settle(self) -> None:
        """Group commit takes what was queued; fast readers read; the log is looked at."""
        await asyncio.sleep(0)
        if not self.plan.slow:
            self.read_all()
        await asyncio.sleep(0)
        for session_id in self.sessions:
            self.laws.look_at_log(session_id)

    def read_all(self) -> None:
        for client in self.clients:
            while client.tab is not None and client.tab.queue:
                client.tab.read(len(client.tab.queue))

    def _call(self, name: str, process: Process, number: int) -> None:
        """A call on the store happens, returns, or fails."""
        calls = process.store.calls
        if name == "return":
            calls = [call for call in calls if call.happened]
        elif name != "happen":
            calls = [call for call in calls if name != "read failed" or call.is_read]
        else:
            calls = [call for call in calls if not call.happened]
        if not calls:
            return
        call = calls[number % len(calls)]
        if not call.happened:
            fate = {"call failed": "failed", "read failed": "failed", "call cut": "cut"}.get(name, "well")
            if process.outage:
                fate, process.outage = "failed", process.outage - 1
            if fate != "well":
                self.faults += 2 if call.is_read else 1
            call.happen(fate)
        if name == "call" and process.stall:
            process.stall -= 1
        elif name != "happen":
            self._return(process, call)

    def _return(self, process: Process, call: Call[Any]) -> None:
        process.store.calls.remove(call)
        call.come_back()

    def _awake(self, name: str, process: Process, number: int) -> None:
        if not process.awake:
            return
        session_id, awake = sorted(process.awake.items())[number % len(process.awake)]
        match name:
            case "step breaks" if number // 6 % 2:
                process.begin_again(session_id)
            case "step" | "step breaks":
                process.go_on(session_id, broken=name == "step breaks")
            case "late" if awake.late:
                process.answer(session_id, awake.late.pop().go_on(self.now_ms(process.place)))
            case "timer":
                self._fire(process, session_id, awake, number)
            case "takeover" | "takeover early" if awake.takeovers:
                self._take_over(process, session_id, awake, early=name == "takeover early")
            case "rest":
                process.rest(session_id)

    def _fire(self, process: Process, session_id: str, awake: Awake, number: int) -> None:
        if awake.timers:
            name = sorted(awake.timers)[number % len(awake.timers)]
            process.answer(session_id, awake.timers.pop(name))

    def _take_over(self, process: Process, session_id: str, awake: Awake, *, early: bool) -> None:
        """A line has lain long enough and nobody holds the lease of its session; early: the lease has lied."""
        others = [other.awake.get(session_id) for other in self.processes if other is not process]
        at_work = any(other is not None and other.machine.running is not None for other in others)
        if early or not at_work:
            process.answer(session_id, inputs.TimerFired("takeover", awake.takeovers.pop(0)))

    def _process(self, name: str, process: Process, number: int) -> None:
        if name == "outage":
            process.outage = 2 + number % 6
            return
        if name == "stall":
            process.stall = 3 + number % 12
            return
        if name == "heads":
            process.compare_heads()
            return
        if name != "sweep":
            process = self.crash(process, applied=name == "crash applied")
        process.sweep()

    def crash(self, process: Process, *, applied: bool) -> Process:
        """A process dies and starts again."""
        self.die(process, applied=applied)
        again = Process(self, process.place)
        self.processes.insert(process.place, again)
        return again

    def die(self, process: Process, *, applied: bool) -> None:
        """Its commit on the way takes effect or not; its clients are cut."""
        process.alive = False
        self.faults += 2
        self._dead.append(process)
        self.processes.remove(process)
        for call in process.store.calls:
            if applied and not call.is_read and not call.happened:
                call.happen()
        for client in self.clients:
            if client.tab is not None and client.tab.process is process:
                client.drop()
        self.network.forget(process.place)

    # ------------------------------------------------------------ what clients do

    def _client(self, name: str, client: Client, process: Process, number: int) -> None:
        match name:
            case "say":
                text = SAYINGS[number % len(SAYINGS)]
                client.send(Say(self._id(number), f"hello {self.fresh()}" if text == "hello" else text))
            case "say poison":
                self.faults += 1
                client.send(Say(self.fresh(), POISON))
            case "press":
                self._press(client, number)
            case "say again" if client.outbox:
                client.transmit(list(client.outbox.values())[number % len(client.outbox)])
            case "say old again" if client.said:
                client.transmit(list(client.said.values())[number % len(client.said)])
            case "say otherwise":
                self._say_otherwise(process, number)
            case "cancel":
                self._cancel(client, process)
            case "connect":
                client.connect(process, client.cursor(with_id=number % 2 == 0))
            case "connect oddly":
                client.connect(process, self._odd_cursor(client, number))
            case "skip history":
                wrong = (0, 0, 50, -1)[number % 4]
                client.connect(process, Cursor(skip_history=True, message_count=client.shown() + wrong))
            case "drop":
                client.drop()
            case "read" if client.tab is not None:
                client.tab.read(1 + number % 4)
            case "resume" if client.tab is not None and not client.tab.is_syncing:
                ahead = 50 if number % 5 == 0 else 0
                client.tab.resume(number % (len(client.applied) + 1) + ahead)
            case "tick" if client.tab is not None:
                self.hint(client.tab)

    def _id(self, number: int) -> str | None:
        """Older clients give no id."""
        return None if number % 7 == 6 else self.fresh()

    def _press(self, client: Client, number: int) -> None:
        """A button of the last card that it sees, or of one before, or of one that was never there."""
        events = self.laws.log(client.session_id)[: len(client.applied)]
        cards = [event.message_id for event in events if event.type == "action_request"][-2:]
        if cards:
            card = {0: "no card", 1: cards[0]}.get(number % 5, cards[-1])
            left = number % 9 == 0
            label, value = ("Go left", "left") if left else ("Go right", "right")
            client.send(Say(self.fresh(), label if number % 2 else value, value, card))

    def _say_otherwise(self, process: Process, number: int) -> None:
        """Somebody uses an id that another line has."""
        said = [(client, client_id) for client in self.clients for client_id in client.said]
        if said:
            client, client_id = said[number % len(said)]
            if self.laws.log(client.session_id):
                process.say(client.session_id, Say(client_id, f"not {client_id}"))

    def _cancel(self, client: Client, process: Process) -> None:
        awake = process.awake.get(client.session_id)
        running = awake.machine.running if awake else None
        turn = running.turn if running else client.running
        if turn is not None:
            client.send(Cancel(self.fresh(), turn))

    def _odd_cursor(self, client: Client, number: int) -> Cursor:
        """A cursor of another life: too far, or with an id that is not there."""
        has = len(client.applied)
        if number % 2:
            return Cursor(after=has + 50, last_message_id="other")
        return Cursor(after=max(1, has - number % 3), last_message_id="other")

    def hint(self, tab: Tab) -> None:
        """The slow tick: the head is compared with the store's."""
        tab.hint(len(self.laws.log(tab.session_id)))
