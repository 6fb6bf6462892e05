"""A conversation in small steps: a session machine, and what goes into it."""

from typing import Any

from server.errors import ErrorCode
from server.machines.effects import AnswerAtOnce, Append, Commit, Effect, Load, RunStep
from server.machines.inputs import (
    MAY_WAIT,
    Appended,
    AtOnce,
    Cancel,
    Done,
    Failed,
    LoadDone,
    Message,
    NotThere,
    Opened,
    Remote,
    TurnCommitted,
)
from server.machines.session import Session
from server.machines.standing import Limits
from server.machines.trace import NOTHING_SPENT, Spent
from server.records import Event, Loaded
from server.wire.protocol import Say
from server.workflows.table import Frame, Result, Workflow, chat
from tests.support.builders import SESSION, T0_MS, USER, committed, snapshot, the
from tests.support.example_workflows import ECHO

IDS = [f"id{number}" for number in range(9)]
LEFT_CARD = "card1"


def cold(workflow: Workflow = ECHO, **limits: int) -> Session:
    return Session(SESSION, USER, workflow, Limits(**limits))


def idle(*inbox: Event, workflow: Workflow = ECHO, limits: dict[str, int] | None = None, **fields: Any) -> Session:
    """An awake session; its greeting is events 1 and 2."""
    machine = cold(workflow, **(limits or {}))
    machine.deliver(Opened(Loaded(snapshot(**fields), (), inbox)))
    return machine


def say(text: str = "hello", client_id: str | None = "c3", **fields: Any) -> Message:
    return Message(7, Say(client_id, text, **fields), f"m-{client_id}", T0_MS)


def press(card: str = LEFT_CARD, client_id: str = "c3") -> Message:
    return say("Go left", client_id, action="left", action_message_id=card)


def may_wait(machine: Session, effects: list[Effect]) -> list[Effect]:
    """What follows where a line that could be answered at once has a step that may have to be waited for."""
    if not any(isinstance(effect, AnswerAtOnce) for effect in effects):
        return effects
    asked = the(effects, AnswerAtOnce)
    return [
        *(effect for effect in effects if effect is not asked),
        *machine.deliver(AtOnce(asked.message, asked.line, MAY_WAIT)),
    ]


def append(machine: Session, message: Message) -> Append:
    """The line is sent, and its step may have to be waited for."""
    return the(may_wait(machine, machine.deliver(message)), Append)


def accept(machine: Session, message: Message, seq: int) -> list[Effect]:
    """The line is sent and stored as event `seq`; the effects of its commit."""
    return machine.deliver(Appended(message, committed(append(machine, message).write, seq - 1)))


def running(client_id: str = "c3", seq: int = 3, workflow: Workflow = ECHO, **limits: int) -> tuple[Session, RunStep]:
    """A session that runs the turn of its first line, event 3."""
    machine = idle(workflow=workflow, limits=limits)
    return machine, the(accept(machine, say(client_id=client_id), seq), RunStep)


def done(step: RunStep, *frames: Frame, spent: Spent = NOTHING_SPENT, **fields: Any) -> Done:
    known: dict[str, Any] = {"intent": "Say", "to": "HELLO", "memory": {}}
    return Done(step.run, Result(frames=frames or (chat("answer"),), **{**known, **fields}), IDS, T0_MS, spent)


def broken(step: RunStep) -> Failed:
    return Failed(step.run, ErrorCode.STEP_FAILED, "It broke.", "corr", True, IDS, T0_MS)


def cancel(turn: int = 3, client_id: str = "x1", spent: Spent = NOTHING_SPENT) -> Cancel:
    return Cancel(8, client_id, turn, IDS, T0_MS, spent)


def committing() -> tuple[Session, Commit]:
    """A session whose turn for event 3 is on its way to the store."""
    machine, step = running()
    return machine, the(machine.deliver(done(step)), Commit)


def finish(machine: Session, commit: Commit, after: int, version: int = 2) -> list[Effect]:
    return machine.deliver(TurnCommitted(commit.run, committed(commit.write, after, version)))


def loaded(*inbox: Event, **fields: Any) -> Loaded:
    return Loaded(snapshot(**fields), (), inbox)


def reload(machine: Session, effects: list[Effect], answer: Loaded | NotThere) -> list[Effect]:
    return machine.deliver(LoadDone(the(effects, Load).number, answer))


def news(*events: Event) -> Remote:
    """What another process committed, with its events."""
    return Remote(events[-1].seq, events)
