"""The effects of the session machine. The engine performs them in order.

The answer to an effect is an input that carries the effect's number. These are plain data.
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
    """Look up the event that took effect under a request's client id, before the request is refused for `refusal`."""

    asked: Asked
    refusal: ErrorCode


class Commit(Struct, frozen=True):
    """Commit a turn. `again`: it was tried before, and the outcome is unknown."""

    run: int
    write: Write
    again: bool = False


class Ack(Struct, frozen=True):
    """Confirm to a client that its line or cancellation is durable, at `seq`. `duplicate`: it is a repeat."""

    reply_to: int
    client_id: str | None
    seq: int
    duplicate: bool


class Reject(Struct, frozen=True):
    """Refuse a client's request; nothing was stored. `card` is the message id of the open card, to show it again."""

    reply_to: int
    client_id: str | None
    code: ErrorCode
    card: str | None = None


class Publish(Struct, frozen=True):
    """Publish committed events to the subscribers of all processes."""

    events: Sequence[Event]


class Show(Struct, frozen=True):
    """Publish a transient frame to all subscribers; with `here`, only to those of this process."""

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
    """Run the step for a line that is not stored yet, if it need not wait: one write then has line and answer."""

    message: Message
    line: Event
    step: RunStep


class CancelStep(Struct, frozen=True):
    """Cancel the running step; its result is not needed."""

    run: int


class Interrupt(Struct, frozen=True):
    """Prepare the end of a turn that a newer line interrupts; answer with Interrupted. Its step may not have begun."""

    run: int


class SetTimer(Struct, frozen=True):
    """Deliver TimerFired after `wait_ms`; a second timer of the same name replaces the first."""

    name: str
    number: int
    wait_ms: int


class TakeOver(Struct, frozen=True):
    """Another process accepted the line `seq`. Deliver TimerFired("takeover", seq) when that process seems lost.

    That is TAKEOVER_MS after `since_ms` (UTC), when the line became the next in turn, and as soon as no other process
    holds the session's lease. Ask the other process now for the frames that it has shown of the turn.
    """

    seq: int
    since_ms: int


class Ask(Struct, frozen=True):
    """Ask the process that runs the turn to publish again the frames that it has shown so far."""


class Tell(Struct, frozen=True):
    """Pass the log's head to this process's subscribers: they may have missed events of another process."""

    head: int


class Gone(Struct, frozen=True):
    """The session is not this user's, was deleted or could not be started: close its connections with `code`."""

    code: CloseCode


class Evict(Struct, frozen=True):
    """Remove this machine from memory; all of its session is in the store."""


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
