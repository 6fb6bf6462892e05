"""Two session machines, one log, and whatever can happen between them.

Processes crash, publications are lost, come late or without their events, reads are answered out of order and out of
date, commits fail or succeed unseen, lines are sent again to either process, turns are taken over and cancelled by
either. Whatever the order: each line is stored once and answered once, in the order of the log; an ack is given only
for what is stored.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from server.errors import ErrorCode
from server.machines import effects, inputs, lines
from server.machines.session import Session
from server.machines.standing import Limits, Phase
from server.records import (
    UNKNOWN,
    Committed,
    Conflict,
    Duplicate,
    Event,
    Loaded,
    Missing,
    Settled,
    Snapshot,
    Write,
    fold,
    is_line,
    is_outrun,
    place,
)
from server.wire.protocol import Say
from server.workflows.table import Result, Workflow, chat
from tests.support.builders import SESSION, T0_MS, USER
from tests.support.example_workflows import ECHO, WORKFLOWS

PAGE = 3


class Log:
    """The store, small: a list of events and the snapshot that they fold to."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def snapshot(self) -> Snapshot | None:
        return fold(self.events, USER)

    def load(self) -> Loaded | None:
        snapshot = self.snapshot()
        if snapshot is None:
            return None
        return Loaded(snapshot, (), tuple(e for e in self.events if is_line(e) and e.seq > snapshot.cursor))

    def read(self, after: int) -> list[Event]:
        return self.events[after : after + PAGE]

    def find(self, client_id: str | None) -> Event | None:
        return next((event for event in self.events if event.client_id == client_id), None)

    def commit(self, write: Write, *, again: bool = False) -> Settled:
        known = [event for event in self.events if event.message_id in {event.message_id for event in write.events}]
        snapshot = self.snapshot()
        version = snapshot.version if snapshot else 0
        if again and known:
            return Committed(tuple(known), (write.expected_version or 0) + 1)
        if write.client_id is not None and (before := self.find(write.client_id)) is not None:
            return Duplicate(before)
        if snapshot is None and write.expected_version != 0:
            return Missing()
        if write.expected_version not in (None, version):
            return Conflict(version)
        if is_outrun(write, len(self.events)):
            return Conflict(version)
        placed = place(write.events, len(self.events), self.events[-1].created_at if self.events else 0)
        self.events += placed
        return Committed(placed, version + (write.update is not None))


class Process:
    """A process around one machine: what it still has to perform, and what it has not been told yet."""

    def __init__(self, world: "World", takeover_ms: int) -> None:
        self.world = world
        self.limits = Limits(inbox=4, takeover_ms=takeover_ms)
        self.crash()

    def crash(self) -> None:
        self.machine = Session(SESSION, USER, self.world.workflow, self.limits)
        self.commits: list[effects.Append | effects.Commit] = []  # performed and answered in order
        self.reads: list[effects.Effect] = []  # performed and answered in any order
        self.answers: list[inputs.Input] = []
        self.timers: dict[str, inputs.TimerFired] = {}
        self.takeovers: list[int] = []
        self.step: effects.RunStep | None = None
        self.late: list[effects.RunStep] = []  # cancelled, but their end was already on its way

    def deliver(self, received: inputs.Input) -> None:
        for effect in self.machine.deliver(received):
            self.perform(effect)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Append() | effects.Commit():
                self.commits.append(effect)
            case effects.Load() | effects.Read() | effects.Find():
                self.reads.append(effect)
            case effects.Ack(_, client_id, seq):
                stored = self.world.log.events[seq - 1]
                assert stored.client_id == client_id
                self.world.acked.add(client_id)
            case effects.Publish(events):
                assert list(events) == [self.world.log.events[event.seq - 1] for event in events]
                self.world.published.append((self, inputs.Remote(events[-1].seq, events)))
            case effects.RunStep():
                assert self.step is None, "two steps at once"
                self.step = effect
            case effects.AnswerAtOnce(message, line, step):
                self.answers.append(inputs.AtOnce(message, line, self.world.end_at_once(step)))
            case effects.CancelStep():
                self.late += [self.step] if self.step else []
                self.step = None
            case effects.Interrupt(run):
                ids = [self.world.fresh() for _ in range(3)]
                self.answers.append(inputs.Interrupted(run, ids, T0_MS))
            case effects.SetTimer(name, number):
                self.timers[name] = inputs.TimerFired(name, number)
            case effects.TakeOver(seq):
                self.takeovers.append(seq)
            case effects.Evict():
                self.crash()
            case _:
                pass

    def open(self) -> None:
        self.deliver(inputs.Opened(self.world.log.load() or inputs.NOT_THERE))

    def end_step(self, *, well: bool) -> None:
        step, self.step = self.step, None
        if step is not None:
            self.tell_end(step, well=well)

    def end_late(self) -> None:
        if self.late:
            self.tell_end(self.late.pop(), well=True)

    def tell_end(self, step: effects.RunStep, *, well: bool) -> None:
        self.deliver(self.world.end(step, well=well))

    def commit(self, fate: str) -> None:
        if not self.commits:
            return
        effect, log = self.commits.pop(0), self.world.log
        outcome: Settled = UNKNOWN
        if fate != "failed":
            outcome = log.commit(effect.write, again=isinstance(effect, effects.Commit) and effect.again)
        if isinstance(effect, effects.Append):
            self.deliver(inputs.Appended(effect.message, outcome if fate == "seen" else UNKNOWN))
        else:
            self.deliver(inputs.TurnCommitted(effect.run, outcome if fate == "seen" else UNKNOWN))

    def read(self, number: int, *, failed: bool) -> None:
        if not self.reads:
            return
        log = self.world.log
        match self.reads.pop(number % len(self.reads)):
            case effects.Load(load):
                self.answers.append(
                    inputs.LoadDone(load, inputs.UNREADABLE if failed else log.load() or inputs.NOT_THERE)
                )
            case effects.Read(read, after):
                self.answers.append(inputs.ReadDone(read, inputs.UNREADABLE if failed else log.read(after)))
            case effects.Find(asked):
                known = log.find(lines.client_id(asked)) or log.snapshot() or inputs.NOT_THERE
                self.answers.append(inputs.Found(asked, inputs.UNREADABLE if failed else known))

    def answer(self, number: int) -> None:
        if self.answers:
            self.deliver(self.answers.pop(number % len(self.answers)))

    def take_over(self) -> None:
        if self.takeovers:
            self.deliver(inputs.TimerFired("takeover", self.takeovers.pop(0)))

    def fire(self, number: int) -> None:
        if self.timers:
            self.deliver(self.timers.pop(sorted(self.timers)[number % len(self.timers)]))


class World:
    """One log, two processes, and the clients' outbox."""

    def __init__(self, takeover_ms: int, workflow: Workflow = ECHO) -> None:
        self.workflow = workflow
        self.log = Log()
        self.sent: list[str] = []
        self.acked: set[str | None] = set()
        self.published: list[tuple[Process, inputs.Remote]] = []
        self.made = self.lines_begun = 0
        self.processes = [Process(self, takeover_ms), Process(self, takeover_ms)]
        self.processes[0].open()

    def fresh(self) -> str:
        self.made += 1
        return f"id{self.made}"

    def end(self, step: effects.RunStep, *, well: bool) -> inputs.Done | inputs.Failed:
        ids = [self.fresh() for _ in range(3)]
        if not well:
            return inputs.Failed(step.run, ErrorCode.STEP_FAILED, "It broke.", "corr", True, ids, T0_MS)
        return inputs.Done(step.run, Result("Say", "HELLO", (chat("answer"),), {"n": step.turn}), ids, T0_MS)

    def end_at_once(self, step: effects.RunStep) -> inputs.Done | inputs.Failed | inputs.MayWait:
        """Of three lines one is answered at once, one breaks at once, and one may have to wait."""
        self.lines_begun += 1
        return inputs.MAY_WAIT if self.lines_begun % 3 == 0 else self.end(step, well=self.lines_begun % 3 == 1)

    def send(self, process: Process, client_id: str) -> None:
        message = inputs.Message(1, Say(client_id, f"line {client_id}"), self.fresh(), T0_MS)
        process.deliver(message)

    def pass_on(self, number: int, *, lost: bool = False, bare: bool = False) -> None:
        if self.published:
            sender, news = self.published.pop(number % len(self.published))
            for process in self.processes:
                if process is not sender and not lost:
                    process.deliver(inputs.Remote(news.head) if bare else news)

    def act(self, name: str, place: int, number: int) -> None:
        process = self.processes[place]
        match name:
            case "send":
                self.sent.append(f"c{len(self.sent)}")
                self.send(process, self.sent[-1])
            case "send again" if self.sent:
                self.send(process, self.sent[number % len(self.sent)])
            case "cancel" if (turn := self.processes[number % 2].machine.turn) is not None:
                ids = [self.fresh() for _ in range(3)]
                process.deliver(inputs.Cancel(1, f"x{number}", turn, ids, T0_MS))
            case "commit" | "commit fails" | "commit unseen":
                process.commit({"commit": "seen", "commit fails": "failed", "commit unseen": "unseen"}[name])
            case "read" | "read fails":
                process.read(number, failed=name == "read fails")
            case "answer":
                process.answer(number)
            case "step ends" | "step breaks":
                process.end_step(well=name == "step ends")
            case "late":
                process.end_late()
            case "timer":
                process.fire(number)
            case "take over":
                process.take_over()
            case "news" | "news lost" | "news bare":
                self.pass_on(number, lost=name == "news lost", bare=name == "news bare")
            case "heads":
                process.deliver(inputs.Remote(len(self.log.events)))
            case "open":
                process.open()
            case "rest":
                process.deliver(inputs.Rest())
            case "crash":
                process.crash()

    def calm_down(self, *, alone: bool) -> None:
        """Everything works from now on, and the clients send again what was not acked.

        Alone, the first process cannot hope for the other one.
        """
        self.processes = self.processes[:1] if alone else self.processes
        for _ in range(60 + 20 * len(self.sent)):
            for process in self.processes:
                for client_id in self.sent:
                    if self.log.events and client_id not in self.acked and not process.machine.inbox.lines:
                        self.send(process, client_id)
                if not self.log.events or self.pending():
                    process.deliver(inputs.Rest())
                    process.open()
                process.commit("seen")
                process.read(0, failed=False)
                process.answer(0)
                process.end_step(well=True)
                process.fire(0)
                process.take_over()
            self.pass_on(0)

    def pending(self) -> Sequence[Event]:
        loaded = self.log.load()
        return loaded.inbox if loaded else ()


OFTEN = ["send", "commit", "commit", "read", "answer", "step ends", "news", "timer"]
SELDOM = [
    "send again", "cancel", "commit fails", "commit unseen", "read fails", "step breaks", "news lost", "news bare",
    "heads", "take over", "open", "rest", "crash", "late",
]  # fmt: skip
ACTIONS = st.tuples(st.sampled_from(OFTEN * 2 + SELDOM), st.integers(0, 1), st.integers(0, 5))


@settings(max_examples=300, deadline=None)
@given(
    takeover_ms=st.sampled_from([0, 50]),
    workflow=st.sampled_from(["echo", "echo", "echo-interrupt", "echo-reject"]),
    alone=st.booleans(),
    actions=st.lists(ACTIONS, min_size=20, max_size=100),
)
def test_each_line_is_stored_once_and_answered_once_in_order(
    takeover_ms: int, workflow: str, alone: bool, actions: list[tuple[str, int, int]]
) -> None:
    world = World(takeover_ms, WORKFLOWS[workflow])
    for action in actions:
        world.act(*action)
    world.calm_down(alone=alone)
    log = world.log.events
    said = [event for event in log if is_line(event)]
    answered = [event.turn for event in log if event.type == "state_update"]
    assert sorted(str(event.client_id) for event in said) == sorted(world.sent)
    assert world.acked >= set(world.sent)
    assert answered == [0, *(event.seq for event in said)]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    ids: list[Any] = [event.message_id for event in log]
    assert len(set(ids)) == len(ids)
    known = world.log.snapshot()
    for process in world.processes:
        assert process.machine.phase in (Phase.COLD, Phase.IDLE)
        assert not process.machine.inbox.lines
        assert process.machine.turn is None
        left = process.machine.snapshot
        if left is not None and known is not None and left.version == known.version:
            assert structs.replace(left, seq=0, lined=0, visible=0, updated_at=0) == structs.replace(
                known, seq=0, lined=0, visible=0, updated_at=0
            )
