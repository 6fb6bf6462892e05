"""The driver: delivers inputs to the session machines and performs their effects.

It owns what the machines must not know: tasks, timers, the clock, fresh ids. It performs all effects of one input
before it takes the next. Answers to effects join the queue of inputs; only that to AnswerAtOnce is delivered directly.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, assert_never

import structlog
from msgspec import structs

from server.assistant import Assistant
from server.assistant.breaker import Breaker
from server.assistant.guarded import Guarded
from server.assistant.prices import PRICES, parse_prices
from server.broker import Broker
from server.clock import new_ids, now_ms
from server.engine import look_up
from server.engine.account import Account
from server.engine.at_reconnect import name_legacy_state, summarise
from server.engine.awake import Awake, Replies, monotonic_ms
from server.engine.containment import Containment
from server.engine.delta_buffer import DeltaBuffer
from server.engine.group_commit import GroupCommit
from server.engine.leases import Leases, LocalLeases
from server.engine.look_up import NO_EVENTS
from server.engine.rescue import Rescue
from server.engine.run_step import SPARE_IDS, Means, end_at_once, fail_step, run_step
from server.engine.step_guard import BLOCKED_MS, IS_STEP, Timed, guard_loop, tell_blocked
from server.engine.turn_log import WATCHED
from server.errors import ErrorCode, StepError, StoreError
from server.machines import effects, inputs
from server.machines.session import Session
from server.machines.standing import Limits, Phase
from server.machines.trace import Spent
from server.ops.metrics import Figures
from server.records import UNKNOWN, Event, Loaded, SessionKey, Settled, Snapshot, Unstorable
from server.settings import Settings
from server.store import Store
from server.tasks import Tasks
from server.wire.protocol import Transient
from server.workflows.table import Workflow

log = structlog.get_logger()

#: While another process holds the lease of an overdue line, it is asked for again after this part of TAKEOVER_MS.
_POLL_SHARE = 3
#: How many idle sessions are evicted at once to make room for another.
_ROOM = 16
#: At shutdown, a step that has not ended after this time is cancelled again.
_AGAIN_S = 1.0
#: A step that swallows its cancellation is failed this long after STEP_TIMEOUT_MS.
OVERDUE_MS = 5_000


class Engine:
    """The sessions that are awake in this process: their machines, tasks and timers."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        workflows: Mapping[str, Workflow],
        settings: Settings,
        *,
        leases: Leases | None = None,
        takeover_ms: int = 0,
        assistant: Assistant | None = None,
    ) -> None:
        """`takeover_ms`: how long a line of another process may stay unanswered; 0: there is no other process.

        `assistant` is the language model; the engine adds retries and a circuit breaker. Without one (None), steps
        answer by their own rules.
        """
        self.store = store
        self.broker = broker
        self.leases = leases or LocalLeases()
        self.workflows = workflows
        self.settings = settings
        self.figures = Figures(workflows)
        self.commit = GroupCommit(store, batch_limit=settings.batch_limit, queue_limit=settings.commit_queue_limit)
        self.troubles = Containment(limit=settings.session_max_concurrent, retry_ms=settings.store_retry_ms)
        self._means = Means(store, settings, Guarded(assistant, Breaker()) if assistant is not None else None)
        self._page_limit, self._turn_bytes = settings.replay_page_limit, settings.turn_max_bytes
        self._prices = {**PRICES, **parse_prices(settings.assistant_prices)}
        self.replies: dict[int, Replies] = {}
        self.draining = False
        self._limits = Limits(
            inbox=settings.inbox_limit,
            takeover_ms=takeover_ms,
            status_after_ms=settings.status_after_ms,
            retry_ms=settings.store_retry_ms,
        )
        self._awake: dict[SessionKey, Awake] = {}
        # Sessions that `show` is waking: another process streams an answer to their tabs here.
        self._waking: set[SessionKey] = set()
        self._inputs: deque[tuple[SessionKey, Awake, inputs.Input]] = deque()
        self._delivering = False
        self._moved = asyncio.Event()
        self._tasks = Tasks()
        self._steps: set[asyncio.Task[None]] = set()
        self._rescue = Rescue(self)
        self._unguard: Callable[[], None] = lambda: None

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start group commit, and guard the event loop against steps that stop it."""
        self._unguard = guard_loop(asyncio.get_running_loop())
        self.commit.start()

    async def drain(self) -> None:
        """Start no new turns and wait up to DRAIN_MS for the running ones. Unfinished turns run after the restart."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_ms / 1000):
                while any(awake.is_busy for awake in self._awake.values()):
                    self._moved.clear()
                    await self._moved.wait()

    async def close(self) -> None:
        """Cancel all tasks and wait for them, commit the queued writes, forget all sessions."""
        self.draining = True
        for step in self._steps:
            step.cancel()
        await self._tasks.close()
        while self._steps:  # cancelling again shortens the wait of a step that closes its tools
            await asyncio.wait(self._steps, timeout=_AGAIN_S)
            for step in self._steps:
                step.cancel()
        await self.commit.close()
        for awake in self._awake.values():
            for timer in awake.timers.values():
                timer.cancel()
        self._awake.clear()
        self._unguard()

    # ------------------------------------------------------------ inputs from connections

    def open(self, key: SessionKey, loaded: Loaded | None, workflow: str) -> bool:
        """Give a session what a connection read (None: start it with `workflow`). Returns what `deliver` returns."""
        return self.deliver(
            key, loaded.snapshot.workflow if loaded else workflow, inputs.Opened(loaded or inputs.NOT_THERE)
        )

    def deliver(self, key: SessionKey, workflow: str, received: inputs.Input) -> bool:
        """Give an input to a session; wake it if need be. False: too many are awake, or it rests after a fault."""
        awake = self._awake.get(key) or self._awaken(key, workflow)
        if awake is None:
            return False
        self._later(key, awake, received)
        return True

    def running(self, key: SessionKey) -> int | None:
        """The number of the turn under way, here or in another process; None: none is known, or it is not awake."""
        awake = self._awake.get(key)
        return awake.machine.turn if awake else None

    def count_awake(self) -> int:
        """How many sessions are awake."""
        return len(self._awake)

    def machine(self, key: SessionKey) -> Session | None:
        """The session's machine; None when the session is not awake."""
        awake = self._awake.get(key)
        return awake.machine if awake else None

    def summary(self, workflow: str, memory: Mapping[str, object]) -> dict[str, object]:
        """A workflow's summary of a session for a reconnect; empty when the workflow cannot give one."""
        return summarise(self.workflows.get(workflow), memory)

    def legacy_state(self, snapshot: Snapshot) -> str:
        """The name of a session's state for a client that does not use the subprotocol."""
        return name_legacy_state(self.workflows.get(snapshot.workflow), snapshot)

    # ------------------------------------------------------------ inputs

    def _run(self) -> None:
        self._delivering = True
        try:
            while self._inputs:
                key, awake, received = self._inputs.popleft()
                if self._awake.get(key) is not awake:
                    # The session was evicted. Its new machine did not ask for this input, and reads the store.
                    self._rescue.came_late(key, received)
                    continue
                try:
                    machine = awake.machine
                    awake.touched_ms = now_ms()
                    if type(received) in WATCHED:
                        awake.times.watch(key, machine, received, awake.touched_ms)
                        if isinstance(received, inputs.Cancel):
                            received = structs.replace(received, spent=awake.spent(self._turn_bytes))
                    for effect in machine.deliver(received):
                        self._perform(key, awake, effect)
                    if machine.running is not None or awake.follows:
                        self._follow(key, awake)
                    if awake.is_careful and type(received) is inputs.TurnCommitted:
                        self._rescue.got_on(key, awake, received)
                except Exception as error:  # noqa: BLE001  one session's fault must not stop the others
                    self._rescue.contain(key, awake, received, error)
        finally:
            self._delivering = False
        if self.draining:
            self._moved.set()

    def _later(self, key: SessionKey, awake: Awake, received: inputs.Input) -> None:
        """Queue an input. It is delivered if the session is still awake when the queue reaches it."""
        self._inputs.append((key, awake, received))
        if not self._delivering:
            self._run()

    def _follow(self, key: SessionKey, awake: Awake) -> None:
        """Follow a session at the broker while its turn runs here: a tab of another process may cancel the turn."""
        running = awake.machine.running
        runs = running is not None and running.message is None  # a turn that carries its line is soon over
        if runs != awake.follows:
            awake.follows = runs
            (self.broker.follow if runs else self.broker.unfollow)(key)

    def _awaken(self, key: SessionKey, workflow: str) -> Awake | None:
        if self.troubles and self.troubles.is_resting(key, now_ms()):
            return None
        if len(self._awake) >= self.settings.session_max_concurrent and not self._make_room():
            return None
        machine = Session(key.session_id, key.user_id, self.workflows[workflow], self._limits)
        awake = self._awake[key] = Awake(machine, self.figures)
        awake.touched_ms = now_ms()
        awake.is_careful = self.troubles.get(key) is not None
        return awake

    def evict(self, key: SessionKey, awake: Awake) -> None:
        """Remove a session from memory; cancel its step and its timers."""
        for timer in awake.timers.values():
            timer.cancel()
        if awake.step is not None:
            awake.step.cancel()
        if self._awake.get(key) is awake:
            del self._awake[key]
        if awake.follows:
            awake.follows = False
            self.broker.unfollow(key)

    def _make_room(self) -> bool:
        """Evict up to _ROOM idle sessions, the longest idle first. Returns whether there is room for one more."""
        idle = [(awake.touched_ms, key) for key, awake in self._awake.items() if awake.machine.phase is Phase.IDLE]
        for _, key in heapq.nsmallest(_ROOM, idle):
            self._later(key, self._awake[key], inputs.Rest())
        return len(self._awake) < self.settings.session_max_concurrent

    # ------------------------------------------------------------ effects

    def _perform(self, key: SessionKey, awake: Awake, effect: effects.Effect) -> None:
        match effect:
            case effects.AnswerAtOnce():
                ended = self._end_at_once(key, awake, effect.step)
                for further in awake.machine.deliver(inputs.AtOnce(effect.message, effect.line, ended)):
                    self._perform(key, awake, further)
            case effects.Commit(run, write, again):
                if not self.commit.submit(
                    write, lambda outcome: self._committed(key, awake, run, outcome), again=again
                ):
                    self._later(key, awake, inputs.TurnCommitted(run, inputs.OVERLOADED))
            case effects.Ack():
                if (waiting := self.replies.get(effect.reply_to)) is not None:
                    waiting.acked(effect)
            case effects.Publish():
                self.broker.publish(key, effect.events)
            case effects.Append(message, write):
                if not self.commit.submit(
                    write, lambda outcome: self._later(key, awake, inputs.Appended(message, outcome))
                ):
                    self._later(key, awake, inputs.Appended(message, inputs.OVERLOADED))
            case effects.Reject(reply_to):
                if (waiting := self.replies.get(reply_to)) is not None:
                    waiting.rejected(effect)
            case effects.Show(frame, here):
                tell = self.broker.tell_transient if here else self.broker.publish_transient
                tell(key, frame)
            case effects.Tell(head):
                self.broker.tell_head(key, head)
            case effects.RunStep():
                self._begin_step(key, awake, effect)
            case effects.CancelStep(run):
                if awake.step is not None and awake.run == run:
                    awake.step.cancel()
            case effects.Interrupt(run):
                self._interrupt(key, awake, run)
            case effects.SetTimer(name, number, wait_ms):
                self._set_timer(key, awake, name, number, wait_ms)
            case effects.TakeOver():
                self.broker.ask(key)  # the process that runs the turn, while it runs
                self._tasks.spawn(self._take_over(key, awake, effect), "takeover")
            case effects.Ask():
                self.broker.ask(key)
            case effects.Load(number):
                self._answer(key, awake, look_up.load(self.store, key, number, self._rescue.load_failed), "load")
            case effects.Read(number, after):
                self._answer(key, awake, look_up.read(self.store, key, number, after, self._page_limit), "read")
            case effects.Find():
                self._answer(key, awake, look_up.find(self.store, key, effect), "find")
            case effects.Gone(code):
                for subscriber in self.broker.subscribers(key):
                    subscriber.close(code)
            case effects.Evict():
                for timer in awake.timers.values():
                    timer.cancel()
                self._awake.pop(key, None)
            case _:
                assert_never(effect)

    def _committed(self, key: SessionKey, awake: Awake, run: int, outcome: Settled) -> None:
        # A write that can never be stored is not retried; if it carries its line, the line is refused.
        if type(outcome) is not Unstorable:
            self._later(key, awake, inputs.TurnCommitted(run, outcome))
        elif not self._rescue.unstorable(key, awake, run):
            self._later(key, awake, inputs.TurnCommitted(run, UNKNOWN))

    def _interrupt(self, key: SessionKey, awake: Awake, run: int) -> None:
        if awake.run != run:
            awake.times.step_ran(awake.touched_ms, awake.touched_ms)  # the turn has no step
        self._later(key, awake, inputs.Interrupted(run, new_ids(SPARE_IDS), now_ms(), awake.spent(self._turn_bytes)))

    def _set_timer(self, key: SessionKey, awake: Awake, name: str, number: int, wait_ms: int) -> None:
        if (before := awake.timers.pop(name, None)) is not None:
            before.cancel()
        fired = inputs.TimerFired(name, number)
        awake.timers[name] = asyncio.get_running_loop().call_later(wait_ms / 1000, self._later, key, awake, fired)

    def _begin_step(self, key: SessionKey, awake: Awake, effect: effects.RunStep) -> None:
        ended = self._end_at_once(key, awake, effect)
        if not isinstance(ended, inputs.MayWait):
            self._later(key, awake, ended)
            return
        awake.account, awake.effect = Account(key, monotonic_ms, self._prices), effect
        step = Timed(self._step(key, awake, effect, awake.account), key, awake.machine.workflow.name)
        # It stays in `_steps` until it has closed its tools; `awake.step` may hold the next step before that.
        awake.step = asyncio.create_task(step, name=f"step {key.session_id}")
        self._steps.add(awake.step)
        awake.step.add_done_callback(self._steps.discard)

    def _end_at_once(
        self, key: SessionKey, awake: Awake, step: effects.RunStep
    ) -> inputs.Done | inputs.Failed | inputs.MayWait:
        awake.run, awake.account = step.run, None
        if self.draining or awake.is_careful:
            awake.times.step_ran(awake.touched_ms, awake.touched_ms)
            return inputs.MAY_WAIT
        token = IS_STEP.set(True)
        try:
            ended = end_at_once(self._means, awake.machine.workflow, step, key, awake.touched_ms)
        finally:
            IS_STEP.reset(token)
        if isinstance(ended, inputs.MayWait):
            awake.times.step_ran(awake.touched_ms, awake.touched_ms)
            return ended
        awake.times.step_ran(awake.touched_ms, ended.now_ms)
        if ended.now_ms - awake.touched_ms >= BLOCKED_MS:
            tell_blocked(key, awake.machine.workflow.name, ended.now_ms - awake.touched_ms)
        return ended

    async def _step(self, key: SessionKey, awake: Awake, effect: effects.RunStep, account: Account) -> None:
        if self.draining:
            return  # the line is durable and unanswered: the process that starts next runs it
        rolled = DeltaBuffer(
            lambda output: self._later(key, awake, output),
            wait_ms=self.settings.delta_ms,
            max_chars=self.settings.delta_max_chars,
        )
        IS_STEP.set(True)  # in this task's own context
        try:
            await run_step(self._means, awake.machine.workflow, effect, key, account=account, show=rolled.take)
        except asyncio.CancelledError as error:
            if not self._is_wanted(key, awake, effect.run):
                raise
            # The engine did not cancel it: the step raised this, or cancelled its own task.
            self._fail_step(key, awake, effect, error, account.spent(self._turn_bytes))
        finally:
            rolled.close()

    def _fail_step(
        self, key: SessionKey, awake: Awake, effect: effects.RunStep, error: BaseException, spent: Spent
    ) -> None:
        code = error.code if isinstance(error, StepError) else ErrorCode.STEP_FAILED
        self._later(key, awake, fail_step(effect, key, awake.machine.workflow, code, error, spent=spent))

    def _is_wanted(self, key: SessionKey, awake: Awake, run: int) -> bool:
        """Whether the turn of this run still needs its step's result."""
        running = awake.machine.running
        is_on = awake.machine.phase is Phase.RUNNING and running is not None and running.run == run
        return is_on and not self.draining and self._awake.get(key) is awake

    def end_overdue(self) -> None:
        """Fail the turns whose steps swallow their cancellation: OVERDUE_MS after STEP_TIMEOUT_MS."""
        oldest_ms = now_ms() - self.settings.step_timeout_ms - OVERDUE_MS
        for key, awake in list(self._awake.items()):
            step = awake.step
            if awake.machine.phase is not Phase.RUNNING or step is None or step.done():
                continue
            if awake.times.started_ms <= oldest_ms and awake.effect is not None and awake.effect.run == awake.run:
                step.cancel()
                late = StepError(ErrorCode.STEP_TIMEOUT, "the step swallows its cancellation")
                self._fail_step(key, awake, awake.effect, late, awake.spent(self._turn_bytes))

    def _answer(self, key: SessionKey, awake: Awake, work: Coroutine[Any, Any, inputs.Input], name: str) -> None:
        """Run a look-up in the store, and deliver the input that it returns."""

        async def deliver() -> None:
            self._later(key, awake, await work)

        self._tasks.spawn(deliver(), name)

    async def _take_over(self, key: SessionKey, awake: Awake, line: effects.TakeOver) -> None:
        """Wait until the line is TAKEOVER_MS old and this process gets the lease; then deliver the takeover timer."""
        patience_ms = self._limits.takeover_ms
        poll_ms = patience_ms / _POLL_SHARE
        await asyncio.sleep(min(max(0, line.since_ms + patience_ms - now_ms()), patience_ms) / 1000)
        while self._awake.get(key) is awake and awake.machine.turn == line.seq:
            # A process that streams an answer is at work; asking for its lease would cost the store a request.
            is_shown = now_ms() - awake.shown_ms < poll_ms
            if not is_shown and await self.leases.hold([key]):
                self._later(key, awake, inputs.TimerFired("takeover", line.seq))
                return
            await asyncio.sleep(poll_ms / 1000)

    # ------------------------------------------------------------ inputs from upkeep and the broker

    async def wake(self, key: SessionKey) -> bool:
        """Wake a session with an unanswered line; False: it has none, or cannot be read (logged) or woken now."""
        if self.troubles.is_resting(key, now_ms()):
            return False
        try:
            loaded = await self.store.load(key, 0, NO_EVENTS)
        except StoreError as error:  # a damaged session must not stop the sweep of the others
            self._rescue.load_failed(key, error)
            return False
        if loaded is None or not loaded.inbox:
            return False
        if loaded.snapshot.workflow not in self.workflows:
            self._rescue.unreadable(key, f"there is no workflow {loaded.snapshot.workflow[:60]!r} here")
            return False
        if self._rescue.is_beyond_help(key, loaded):
            return await self._rescue.end_turn(key, loaded)
        return self.open(key, loaded, loaded.snapshot.workflow)

    def tell_unreadable(self, key: SessionKey, reason: str) -> None:
        """Log that a connection could not read its session."""
        self._rescue.unreadable(key, reason, rests=False)

    async def look_after(self, key: SessionKey, wait_ms: int = 0) -> None:
        """Wake a session that has an unanswered line, after `wait_ms`."""
        await asyncio.sleep(wait_ms / 1000)
        await self.wake(key)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` in a task; closing the engine cancels it."""
        self._tasks.spawn(work, name)

    def hear(self, key: SessionKey, head: int, events: Sequence[Event] = ()) -> None:
        """Give a session events that were committed elsewhere. One that is not awake reads the store when it wakes."""
        if (awake := self._awake.get(key)) is not None:
            self._later(key, awake, inputs.Remote(head, events))

    def show(self, key: SessionKey, frame: Transient) -> None:
        """Take a transient frame that another process shows of its turn.

        A piece of text wakes a session with an unanswered line, because a cancellation here must store the text.
        """
        if (awake := self._awake.get(key)) is not None:
            awake.shown_ms = now_ms()
            self._later(key, awake, inputs.ShownElsewhere(frame))
        elif frame.type != "stream_delta":
            self.broker.tell_transient(key, frame)
        elif key not in self._waking:
            self._waking.add(key)
            waking = self._tasks.spawn(self.look_after(key), "wake")
            waking.add_done_callback(lambda _: self._waking.discard(key))

    def wish(self, key: SessionKey) -> None:
        """Show again what the running turn has shown so far: another process missed some of it."""
        if (awake := self._awake.get(key)) is not None:
            self._later(key, awake, inputs.Wished())

    def busy(self) -> list[SessionKey]:
        """The sessions with a turn that runs or commits in this process."""
        return [key for key, awake in self._awake.items() if awake.is_busy]

    def let_rest(self, oldest_ms: int) -> None:
        """Evict the sessions that have had no input since `oldest_ms` (UTC) and have nothing to do."""
        for key, awake in list(self._awake.items()):
            if awake.touched_ms <= oldest_ms:
                touched_ms = awake.touched_ms
                self._later(key, awake, inputs.Rest())
                awake.touched_ms = touched_ms
