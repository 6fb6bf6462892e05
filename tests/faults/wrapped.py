"""What stands around the parts of a server so that its fault points are passed: store, broker, replies, workflows.

Everything is passed on unchanged; nothing in the server knows of it.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace

from server.broker import Broker, Subscriber
from server.engine.awake import Replies
from server.machines import effects
from server.records import Event, Loaded, Outcome, SessionKey, Write
from server.store.library import FullStore
from server.wire.protocol import Transient
from server.workflows.table import Output, Step, Turn, Workflow
from tests.faults.points import Points
from tests.support.passing_store import PassingStore


class FaultyStore(PassingStore):
    """A store whose commits, pages and look-ups pass their points."""

    def __init__(self, store: FullStore, points: Points) -> None:
        super().__init__(store)
        self._points = points

    async def reached(self, name: str) -> None:
        if name == "read":
            await self._points.reach("replay")
        if name == "pending":
            await self._points.reach("recovery")

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        kinds = {"turn" if write.update is not None else "accept" for write in writes}
        for kind in sorted(kinds):
            await self._points.reach(f"{kind}:before")
        outcomes = await super().commit(writes)
        for kind in sorted(kinds):
            await self._points.reach(f"{kind}:after")
        return outcomes

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        if not limit:  # a session that wakes: the sweep, or a machine that starts from the store
            await self._points.reach("recovery")
        return await super().load(key, after, limit)


class FaultyBroker:
    """A broker whose publications pass a point; a publication that is cut is lost."""

    def __init__(self, broker: Broker, points: Points) -> None:
        self._broker = broker
        self._points = points

    def subscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        self._broker.subscribe(key, subscriber)

    def unsubscribe(self, key: SessionKey, subscriber: Subscriber) -> None:
        self._broker.unsubscribe(key, subscriber)

    def subscribers(self, key: SessionKey) -> Sequence[Subscriber]:
        return self._broker.subscribers(key)

    def follow(self, key: SessionKey) -> None:
        self._broker.follow(key)

    def unfollow(self, key: SessionKey) -> None:
        self._broker.unfollow(key)

    @property
    def connected(self) -> bool:
        return self._broker.connected

    def sessions(self) -> Sequence[SessionKey]:
        return self._broker.sessions()

    async def joined(self, key: SessionKey) -> None:
        await self._broker.joined(key)

    def publish(self, key: SessionKey, events: Sequence[Event]) -> None:
        if self._points.reach_at_once("publish:before"):
            self._broker.publish(key, events)

    def publish_transient(self, key: SessionKey, frame: Transient) -> None:
        self._broker.publish_transient(key, frame)

    def ask(self, key: SessionKey) -> None:
        self._broker.ask(key)

    def tell_head(self, key: SessionKey, head: int) -> None:
        self._broker.tell_head(key, head)

    def tell_transient(self, key: SessionKey, frame: Transient) -> None:
        self._broker.tell_transient(key, frame)


class FaultyReplies(dict[int, Replies]):
    """Who waits for an ack; an ack that is cut is lost on its way to the socket."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def __setitem__(self, number: int, waiting: Replies) -> None:
        super().__setitem__(number, _FaultyReply(waiting, self._points))


class _FaultyReply:
    def __init__(self, waiting: Replies, points: Points) -> None:
        self._waiting = waiting
        self._points = points

    def acked(self, effect: effects.Ack) -> None:
        if self._points.reach_at_once("ack:before"):
            self._waiting.acked(effect)

    def rejected(self, effect: effects.Reject) -> None:
        self._waiting.rejected(effect)


def faulty_workflows(workflows: Mapping[str, Workflow], points: Points) -> dict[str, Workflow]:
    """The same workflows; every step passes a point before it begins."""
    return {name: _faulty_workflow(workflow, points) for name, workflow in workflows.items()}


def _faulty_workflow(workflow: Workflow, points: Points) -> Workflow:
    states = [replace(state, run=_faulty_step(state.run, points)) for state in workflow.states]
    return replace(workflow, states=states, answer=workflow.answer and _faulty_step(workflow.answer, points))


def _faulty_step(run: Step, points: Points) -> Step:
    async def step(turn: Turn) -> AsyncIterator[Output]:
        await points.reach("step")
        outputs = run(turn)
        if isinstance(outputs, Iterator):
            for output in outputs:
                yield output
        else:
            async for output in outputs:
                yield output

    return step
