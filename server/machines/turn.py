"""A turn: the frames that it shows while it runs, and the one write that ends it (answer, state, memory, cursor).

No I/O, clock or randomness here: ids and times arrive with the inputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from server.machines.inputs import Cancel, Done, Failed, Interrupted, Message
from server.machines.trace import NOTHING_SPENT, Spent
from server.records import (
    CHAT_MESSAGE,
    STATE_UPDATE,
    SYSTEM,
    SYSTEM_TYPES,
    TURN_CANCELLED,
    TURN_FAILED,
    Event,
    Snapshot,
    Update,
    Write,
    merge_memory,
    next_card,
)
from server.server_memory import USAGE_KEY, StoredSummary, remember
from server.wire import protocol
from server.wire.protocol import Transient
from server.workflows.table import Frame, Progress, Workflow, chat

#: The status of a turn whose step has shown none.
_THINKING = Progress("Thinking …", status="thinking")


class Running(Struct):
    """A turn that is under way: the seq of its line (`turn`), the text and status shown so far, the write that ends it.

    `is_seen`: a client may have been shown a status of it.
    """

    run: int
    turn: int
    attempt: int
    text: str = ""
    chunks: int = 0
    message_id: str | None = None
    status: Transient | None = None
    is_seen: bool = False
    write: Write | None = None
    cancel: Cancel | None = None
    message: Message | None = None  # the line, if one write has it and its answer: its sender waits for an ack

    def show(self, progress: Progress) -> Transient:
        """The status frame for a step's progress. It is kept for connections that come later."""
        self.status = self._status(progress)
        return self.status

    def think(self) -> Transient:
        """The status frame for a step that has shown no progress."""
        return self.show(_THINKING)

    def stream(self, text: str, message_id: str) -> Transient:
        """The frame for a piece of the answer. The first `message_id` becomes the id of the whole message."""
        self.message_id = self.message_id or message_id
        self.text += text
        self.chunks += 1
        return self._delta(text, reset=self.chunks == 1)

    def begin_again(self) -> Transient:
        """Begin another attempt, with empty text. Returns its status frame. The message keeps its id."""
        self.attempt += 1
        self.text, self.chunks = "", 0
        return self.think()

    def follow(self, delta: Transient) -> bool:
        """Take a piece of text that another process shows. False, and no change: it is old, or there is a gap."""
        piece = delta.payload
        if not self.is_new(delta) or not (piece["reset"] or self._is_next(piece)):
            return False
        self.text = piece["text"] if piece["reset"] else self.text + piece["text"]
        self.attempt, self.chunks, self.message_id = piece["attempt"], piece["n"], delta.message_id
        return True

    def is_new(self, delta: Transient) -> bool:
        """Whether a piece is newer than the text kept here: of a later attempt, or further on in this one."""
        piece = delta.payload
        return bool((piece["attempt"], piece["n"]) > (self.attempt, self.chunks))

    def _is_next(self, piece: Mapping[str, Any]) -> bool:
        return bool((piece["attempt"], piece["n"]) == (self.attempt, self.chunks + 1))

    def catch_up(self) -> list[Transient]:
        """The frames for a connection that comes while the step runs: the status, the text so far."""
        return [self.status or self._status(_THINKING), *self.said()]

    def said(self) -> list[Transient]:
        """The frame with the text so far, which replaces what a client has; empty without text."""
        return [self._delta(self.text, reset=True)] if self.text else []

    def show_again(self) -> list[Transient]:
        """The frames shown so far, for a client that missed some. Empty when the turn has shown none."""
        return self.catch_up() if self.status is not None or self.text else []

    def take_back(self) -> list[Transient]:
        """The frame that ends the status of the turn; none if no client can have seen it."""
        return [protocol.status(self.turn, "idle", "")] if self.is_seen else []

    def _status(self, progress: Progress) -> Transient:
        self.is_seen = True
        told = progress.status, progress.text, progress.progress, progress.estimated_time
        return protocol.status(self.turn, *told)

    def _delta(self, text: str, *, reset: bool) -> Transient:
        payload = {"turn": self.turn, "attempt": self.attempt, "n": self.chunks, "text": text, "reset": reset}
        return Transient("stream_delta", payload, role="assistant", message_id=self.message_id)


class Ending(Struct, frozen=True):
    """The end of a turn: its frames, its intent, the next state (`to`), the changes of the memory, its usage and trace.

    `client_id` is the id of the cancellation that ended it, if one did. `summary` is the new summary of the older
    messages, if the turn made one.
    """

    frames: Sequence[Frame]
    intent: str
    to: str
    memory: dict[str, Any]
    client_id: str | None = None
    spent: Spent = NOTHING_SPENT
    summary: StoredSummary | None = None


def answered(done: Done, running: Running) -> Ending:
    """The end of a turn whose step gave a result. The final message gets the id of the streamed text."""
    result = done.result
    frames: Sequence[Frame] = result.frames
    if running.message_id is not None:
        spoken = next((place for place, frame in enumerate(frames) if frame.type == CHAT_MESSAGE), None)
        if spoken is not None:
            named = Frame(CHAT_MESSAGE, frames[spoken].payload, running.message_id)
            frames = [*frames[:spoken], named, *frames[spoken + 1 :]]
    return Ending(frames, result.intent, result.to, result.memory, None, done.spent, done.summary)


def failed(failure: Failed, running: Running, state: str) -> Ending:
    """The end of a turn whose step failed: the user sees a message, the state stays, the cursor moves on."""
    payload = {
        "turn": running.turn,
        "code": failure.code,
        "correlation_id": failure.correlation_id,
        "retryable": failure.retryable,
    }
    return Ending([Frame(TURN_FAILED, payload), chat(failure.words)], "Failed", state, {}, spent=failure.spent)


def cancelled(cancel: Cancel, running: Running, state: str) -> Ending:
    """The end of a turn that a user cancelled. The text so far is stored and marked as cancelled."""
    frames = _stopped(running, {"turn": cancel.turn})
    return Ending(frames, "Cancelled", state, {}, cancel.client_id, cancel.spent)


def interrupted(ready: Interrupted, running: Running, state: str) -> Ending:
    """The end of a turn that a newer line interrupted, maybe before its step began. Its event has that reason."""
    frames = _stopped(running, {"turn": running.turn, "reason": "interrupted"})
    return Ending(frames, "Cancelled", state, {}, spent=ready.spent)


def _stopped(running: Running, told: dict[str, Any]) -> list[Frame]:
    stopped = Frame(TURN_CANCELLED, told)
    if not running.text:
        return [stopped]
    said = chat(running.text)
    return [Frame(said.type, {**said.payload, "cancelled": True}, running.message_id), stopped]


def tell_usage(ended: Event) -> Transient | None:
    """The token_usage frame for a turn, from its state_update; None if the turn called no model.

    `session` in it is the usage of all turns of the session.
    """
    usage = ended.payload.get("usage")
    if usage is None:
        return None
    total_tokens = usage["input_tokens"] + usage["output_tokens"]
    session = ended.payload["memory"][USAGE_KEY]
    payload = {"turn": ended.turn, **usage, "total_tokens": total_tokens, "session": session}
    return Transient("token_usage", payload)


def _as_json(spent: Spent) -> dict[str, Any]:
    """`usage` and `trace`, if there are any, in the form that the log stores."""
    kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(spent))
    return kept


def turn_write(
    ending: Ending,
    running: Running,
    before: Snapshot | None,
    workflow: Workflow,
    *,
    session_id: str,
    user_id: str,
    ids: Sequence[str],
    now_ms: int,
    line: Event | None = None,
) -> Write:
    """The one write that ends a turn: its events and the session's new state, guarded by the version.

    `before` is None for the turn that opens the session. `ids` are fresh message ids: at least one for each frame and
    one for the state_update. `line` is the turn's line if it is not stored yet. `now_ms` is UTC.
    """
    came_from = before.state if before else None
    known = before.memory if before else {}
    changes = ending.memory
    spent = _as_json(ending.spent) if ending.spent is not NOTHING_SPENT else {}
    if spent or ending.summary is not None:
        changes = {**changes, **remember(known, usage=spent.get("usage"), summary=ending.summary)}
    ended: dict[str, Any] = {
        "from": came_from,
        "to": ending.to,
        "intent": ending.intent,
        "turn": running.turn,
        "memory": changes,
        **spent,
    }
    if before is None:
        ended["workflow"] = workflow.name
    turn = running.turn
    events = [
        Event(
            session_id=session_id,
            type=frame.type,
            role=SYSTEM if frame.type in SYSTEM_TYPES else "assistant",
            message_id=frame.message_id or message_id,
            payload=frame.payload,
            created_at=now_ms,
            turn=turn,
            client_id=ending.client_id if frame.type == TURN_CANCELLED else None,
        )
        for frame, message_id in zip([*ending.frames, Frame(STATE_UPDATE, ended)], ids, strict=False)
    ]
    if line is not None:
        events.insert(0, line)
    remembered = merge_memory(known, changes) if changes or before is None else None
    update = Update(
        workflow=before.workflow if before else workflow.name,
        state=ending.to,
        cursor=running.turn,
        memory=remembered,
        card=next_card(before.card if before else None, events, moved=ending.to != came_from),
    )
    return Write(
        session_id=session_id,
        user_id=user_id,
        events=tuple(events),
        client_id=ending.client_id if line is None else line.client_id,
        expected_version=before.version if before else 0,
        update=update,
    )


def snapshot_after(write: Write, events: Sequence[Event], version: int, before: Snapshot | None) -> Snapshot:
    """The snapshot after a committed turn, for the session machine. `lined` and `visible` are 0: the store has them."""
    update = write.update
    assert update is not None
    memory = before.memory if before else {}
    return Snapshot(
        session_id=write.session_id,
        user_id=write.user_id,
        workflow=update.workflow,
        state=update.state,
        memory=memory if update.memory is None else update.memory,
        version=version,
        seq=events[-1].seq,
        cursor=update.cursor,
        lined=0,
        visible=0,
        card=update.card,
        created_at=before.created_at if before else events[0].created_at,
        updated_at=events[-1].created_at,
    )
