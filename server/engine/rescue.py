"""Handles a session that raised: log it, evict it, refuse its waiting requests; fail the turn when it raises twice.

The state of the machine is not trusted: waiting lines are refused for now, and their senders repeat them under the
same id. A session in trouble commits each line before it runs the step, so that a failed turn has a line.

- `session_contained` (error): session_id, user_id, workflow, phase, input, turn, times, correlation_id, left_out, and
  the traceback. `times` counts the faults since the last committed turn; `left_out` is how many records of sessions in
  trouble were suppressed since the last one that was written.
- `turn_broken` (error): session_id, user_id, turn, times, correlation_id. That turn was ended as failed.
- `session_unreadable` (error): session_id, user_id, reason, left_out. The store has the session and cannot read it, or
  this server lacks its workflow. Bounded as `session_contained` is.
"""

import uuid
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog

from server.broker import Broker
from server.clock import new_ids, now_ms
from server.engine.awake import Awake, Replies
from server.engine.containment import UNKNOWN, UNREAD, Containment, brief
from server.engine.group_commit import GroupCommit
from server.errors import CloseCode, ErrorCode, SessionUnreadable, StoreError
from server.machines import effects, inputs, lines
from server.machines.broken_turn import IDS, broken_turn
from server.machines.inputs import Asked
from server.machines.session import Session
from server.records import UNSTORABLE, Committed, Event, Loaded, SessionKey, Settled
from server.workflows.table import Workflow

log = structlog.get_logger()

#: When a session has raised this often without a committed turn between, the line in turn is ended as failed.
_TRIES = 2
#: The refusal of requests that waited in a machine that raised: a temporary one.
_REFUSAL = ErrorCode.OVERLOADED


class Engine(Protocol):
    """The part of the engine that a rescue uses; see `engine.Engine` for the methods."""

    broker: Broker
    commit: GroupCommit
    replies: dict[int, Replies]
    troubles: Containment
    workflows: Mapping[str, Workflow]

    def machine(self, key: SessionKey) -> Session | None: ...  # noqa: D102
    def evict(self, key: SessionKey, awake: Awake) -> None: ...  # noqa: D102
    def hear(self, key: SessionKey, head: int, events: Sequence[Event] = ()) -> None: ...  # noqa: D102
    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None: ...  # noqa: D102
    def look_after(self, key: SessionKey, wait_ms: int = 0) -> Coroutine[Any, Any, None]: ...  # noqa: D102


class Rescue:
    """Handles the sessions of one engine that raised."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._troubles = engine.troubles

    def contain(self, key: SessionKey, awake: Awake, received: inputs.Input, error: Exception) -> None:
        """Handle `error`, which the session's machine or one of its effects raised while it took `received`.

        Evicts the session. It is woken after a wait, and after the second fault its turn is ended as failed.
        """
        self._let_go(key, awake, received, error)
        trouble = self._troubles.get(key)
        assert trouble is not None
        snapshot = awake.machine.snapshot
        if snapshot is None and isinstance(
            received, inputs.Opened | inputs.Done | inputs.Failed | inputs.TurnCommitted
        ):
            # The session is not stored yet: its client must reconnect, and then gets the greeting or its failed end.
            if trouble.times >= _TRIES:
                self._engine.spawn(self._end_greeting(key, awake.machine.workflow), "end broken turn")
            else:
                for subscriber in list(self._engine.broker.subscribers(key)):
                    subscriber.close(CloseCode.INTERNAL)
            return
        wait_ms = 0 if trouble.times >= _TRIES else trouble.until_ms - now_ms()
        if wait_ms == 0:
            trouble.until_ms = 0  # end the turn now
        self._engine.spawn(self._engine.look_after(key, max(0, wait_ms)), "wake")

    def unstorable(self, key: SessionKey, awake: Awake, run: int) -> bool:
        """Handle a turn whose write the store can never take. Returns whether the turn is ended as failed.

        It is not ended when it is no longer running, or when its write carries the line, because the line may be the
        fault: the line is refused, and when its sender repeats it, it is committed before its step runs.
        """
        running = awake.machine.running
        if self._engine.machine(key) is not awake.machine or running is None or running.run != run:
            return False
        if running.message is not None:
            self._troubles.note(key, awake.machine.snapshot.version if awake.machine.snapshot else UNKNOWN, now_ms())
            awake.is_careful = True
            return False
        broken = RuntimeError("the store can never take what the turn came to")
        self._let_go(key, awake, inputs.TurnCommitted(run, UNSTORABLE), broken)
        trouble = self._troubles.get(key)
        assert trouble is not None
        trouble.times, trouble.until_ms = max(trouble.times, _TRIES), 0
        if awake.machine.snapshot is None:
            self._engine.spawn(self._end_greeting(key, awake.machine.workflow), "end broken turn")
        else:
            self._engine.spawn(self._engine.look_after(key), "wake")
        return True

    def _let_go(self, key: SessionKey, awake: Awake, received: inputs.Input, error: Exception) -> None:
        machine = awake.machine
        version = machine.snapshot.version if machine.snapshot else UNKNOWN
        now, running = now_ms(), machine.running
        trouble = self._troubles.note(key, version, now)
        trouble.correlation_id = uuid.uuid4().hex
        if (left_out := self._troubles.admit_record(now)) is not None:
            log.error(
                "session_contained",
                session_id=key.session_id,
                user_id=key.user_id,
                workflow=machine.workflow.name,
                phase=machine.phase.value,
                input=type(received).__name__,
                turn=running.turn if running is not None else None,
                times=trouble.times,
                correlation_id=trouble.correlation_id,
                left_out=left_out,
                exc_info=brief(error),
            )
        waiting = [*_asked_by(received), *machine.waiting()]
        if isinstance(received, inputs.Appended | inputs.TurnCommitted) and isinstance(received.outcome, Committed):
            # The commit is durable. Publish it in a task: the fault may have been in publishing.
            message = received.message if isinstance(received, inputs.Appended) else running and running.message
            waiting = [asked for asked in waiting if asked is not message]
            self._engine.spawn(self._make_known(key, message or None, received.outcome.events), "make known")
        self._engine.evict(key, awake)
        for asked in {id(one): one for one in waiting}.values():
            self._refuse(asked)

    def came_late(self, key: SessionKey, received: inputs.Input) -> None:
        """Handle an input of an evicted session: publish the events that it says are committed, refuse its request."""
        if isinstance(received, inputs.Appended | inputs.TurnCommitted) and isinstance(received.outcome, Committed):
            message = received.message if isinstance(received, inputs.Appended) else None
            self._engine.spawn(self._make_known(key, message, received.outcome.events), "make known")
            return
        for asked in _asked_by(received):
            self._refuse(asked)

    async def _make_known(self, key: SessionKey, message: inputs.Message | None, events: tuple[Event, ...]) -> None:
        """Acknowledge `message`, publish the events that were committed for an evicted machine, wake its session."""
        if message is not None and (replies := self._engine.replies.get(message.reply_to)) is not None:
            replies.acked(effects.Ack(message.reply_to, message.say.client_id, events[0].seq, duplicate=False))
        self._publish(key, events)
        await self._engine.look_after(key)

    def got_on(self, key: SessionKey, awake: Awake, received: inputs.TurnCommitted) -> None:
        """A session in trouble got the outcome of a commit; if it was committed, its trouble is over."""
        if isinstance(received.outcome, Committed):
            self._troubles.settle(key)
            awake.is_careful = False

    def load_failed(self, key: SessionKey, error: StoreError) -> None:
        """Log that the store could not load the session. A damaged session then rests for a while."""
        log.warning("load_failed", session_id=key.session_id, error=str(error))
        if isinstance(error, SessionUnreadable):
            self.unreadable(key, str(error))

    def unreadable(self, key: SessionKey, reason: str, *, rests: bool = True) -> None:
        """Log that a session, or a part of it, cannot be read. With `rests`, it is not woken again for a while."""
        now = now_ms()
        if rests:
            self._troubles.note(key, UNREAD, now)
        if (left_out := self._troubles.admit_record(now)) is not None:
            log.error(
                "session_unreadable",
                session_id=key.session_id,
                user_id=key.user_id,
                reason=reason[:500],
                left_out=left_out,
            )

    def is_beyond_help(self, key: SessionKey, loaded: Loaded) -> bool:
        """Whether the session raised so often at its present version that the turn must be ended as failed."""
        trouble = self._troubles.get(key)
        return trouble is not None and trouble.times >= _TRIES and trouble.version in (UNKNOWN, loaded.snapshot.version)

    async def end_turn(self, key: SessionKey, loaded: Loaded) -> bool:
        """Submit the write that ends the line in turn as failed. Returns False when the commit queue is full.

        When it is committed, the lines behind it are answered.
        """
        workflow = self._engine.workflows[loaded.snapshot.workflow]
        return self._end(key, loaded, workflow, loaded.inbox[0].seq)

    async def _end_greeting(self, key: SessionKey, workflow: Workflow) -> None:
        self._end(key, None, workflow, 0)

    def _end(self, key: SessionKey, loaded: Loaded | None, workflow: Workflow, turn: int) -> bool:
        trouble = self._troubles.get(key)
        correlation_id = trouble.correlation_id if trouble is not None else uuid.uuid4().hex
        write = broken_turn(
            key,
            loaded.snapshot if loaded else None,
            workflow,
            turn=turn,
            correlation_id=correlation_id,
            ids=new_ids(IDS),
            now_ms=now_ms(),
        )

        def ended(outcome: Settled) -> None:
            if not isinstance(outcome, Committed):
                return  # the next sweep tries again, or another process has answered the line
            log.error(
                "turn_broken",
                session_id=key.session_id,
                user_id=key.user_id,
                turn=turn,
                times=trouble.times if trouble is not None else 0,
                correlation_id=correlation_id,
            )
            self._troubles.settle(key)
            self._publish(key, outcome.events)
            if loaded is not None and len(loaded.inbox) > 1:
                self._engine.spawn(self._engine.look_after(key), "wake")

        return self._engine.commit.submit(write, ended)

    def _publish(self, key: SessionKey, events: tuple[Event, ...]) -> None:
        self._engine.broker.publish(key, events)
        self._engine.hear(key, events[-1].seq, events)

    def _refuse(self, asked: Asked) -> None:
        if (replies := self._engine.replies.get(asked.reply_to)) is not None:
            replies.rejected(lines.reject(asked, _REFUSAL))


def _asked_by(received: inputs.Input) -> Iterator[Asked]:
    """The client's request that this input carries, if it carries one."""
    match received:
        case inputs.Message() | inputs.Cancel():
            yield received
        case inputs.Appended(message) | inputs.AtOnce(message):
            yield message
        case inputs.Found(asked):
            yield asked
