"""The effects of the session machine. The engine performs them, in their order.

The engine answers with an input that carries the effect's number. Nothing here does anything.
"""

from collections.abc import Sequence

from msgspec import Struct

from server.errors import CloseCode, ErrorCode
from server.machines.inputs import Asked, Message
from server.records import Event, Snapshot, Write
from server.wire.protocol import Transient


class Load(Struct, frozen=True):
    """Load the snapshot and the inbox."""

    number: int


class Read(Struct, frozen=True):
    """Read the events behind `after`."""

    number: int
    after: int


class Append(Struct, frozen=True):
    """Commit a line."""

    message: Message
    write: Write


class Find(Struct, frozen=True):
    """Look up what took effect under a client's id, before refusing it for `refusal`."""

    asked: Asked
    refusal: ErrorCode


class Commit(Struct, frozen=True):
    """Commit a turn; `again` when an earlier try may have been committed without our knowing."""

    run: int
    write: Write
    again: bool = False


class Ack(Struct, frozen=True):
    """Confirm to a client that its line is durable."""

    reply_to: int
    client_id: str | None
    seq: int
    duplicate: bool


class Reject(Struct, frozen=True):
    """Refuse a client's line; nothing was stored. `card` names the open action request to show again."""

    reply_to: int
    client_id: str | None
    code: ErrorCode
    card: str | None = None


class Publish(Struct, frozen=True):
    """Tell every subscriber of committed events."""

    events: Sequence[Event]


class Show(Struct, frozen=True):
    """Tell every subscriber something transient; with `here`, only those of this process."""

    frame: Transient
    here: bool = False


class RunStep(Struct, frozen=True):
    """Run the workflow's step for a line (None: open the session)."""

    run: int
    turn: int
    attempt: int
    line: Event | None
    snapshot: Snapshot | None
    stale: bool


class AnswerAtOnce(Struct, frozen=True):
    """Run the step for a line that is not stored yet, if it does not wait: line and answer are then one write."""

    message: Message
    line: Event
    step: RunStep


class CancelStep(Struct, frozen=True):
    """Stop the running step; its result is not wanted any more."""

    run: int


class Interrupt(Struct, frozen=True):
    """A newer line ends the turn, whether or not its step has begun."""

    run: int


class SetTimer(Struct, frozen=True):
    """Deliver TimerFired after `wait_ms`; a second one of the same name replaces the first."""

    name: str
    number: int
    wait_ms: int


class TakeOver(Struct, frozen=True):
    """Another process accepted the line `seq`: deliver TimerFired("takeover", seq) once it has lain long enough.

    Until then, what that process has shown of the turn is to be asked for.

    `since_ms` (UTC) is when the line was next in turn. While a process holds the session's lease, it is at work on it.
    """

    seq: int
    since_ms: int


class Ask(Struct, frozen=True):
    """Ask the process that runs the turn to publish again what it has shown so far."""


class Tell(Struct, frozen=True):
    """Tell this process's subscribers how far the log goes: they may have missed what another process published."""

    head: int


class Gone(Struct, frozen=True):
    """The session is not this user's, was deleted or could not be started: send its connections away."""

    code: CloseCode


class Evict(Struct, frozen=True):
    """Forget this machine; the store has everything."""


Effect = (
    Load
    | Read
    | Append
    | Find
    | Commit
    | Ack
    | Reject
    | Publish
    | Show
    | RunStep
    | AnswerAtOnce
    | CancelStep
    | Interrupt
    | SetTimer
    | TakeOver
    | Ask
    | Tell
    | Gone
    | Evict
)
