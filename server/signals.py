"""What goes into the session machine and what comes out of it.

Inputs are facts: something arrived, something was done. Effects are wishes: the engine performs them and answers with
an input that carries the effect's number. Nothing here does anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from server.errors import CloseCode
from server.protocol import Say, Transient
from server.store.records import Event, Loaded, Outcome, Snapshot, Write
from server.workflow import Progress, Result

#: The account of a turn that called no assistant; else what its state_update holds of it (`usage`, `trace`).
NOTHING_SPENT: Final[Mapping[str, Any]] = {}

# ---------------------------------------------------------------- inputs


class Opened(Struct, frozen=True):
    """A connection has just read the session; None when there is none and it is to be started."""

    loaded: Loaded | None


class LoadDone(Struct, frozen=True):
    """The answer to Load; `failed` when the store could not be read."""

    number: int
    loaded: Loaded | None
    failed: bool = False


class ReadDone(Struct, frozen=True):
    """The answer to Read; None when the store could not be read."""

    number: int
    events: Sequence[Event] | None


class Message(Struct, frozen=True):
    """A user's line, as received. `reply_to` names whoever wants the Ack; `message_id` is the line's new id."""

    reply_to: int
    say: Say
    message_id: str
    now_ms: int


class Appended(Struct, frozen=True):
    """The answer to Append; None when it was not committed, for the reason `refusal`."""

    message: Message
    outcome: Outcome | None
    refusal: str = "store_unavailable"


class AtOnce(Struct, frozen=True):
    """The answer to AnswerAtOnce; None when its step may have to be waited for, so that the line comes first."""

    message: Message
    line: Event
    ended: "Done | Failed | None"


class Found(Struct, frozen=True):
    """The answer to Find: the event that took effect under the id; `failed` when the store could not be read.

    `snapshot` is the session as the store has it, where nothing was found and the refusal would be for good.
    """

    asked: "Asked"
    event: Event | None
    failed: bool = False
    snapshot: Snapshot | None = None


class Shown(Struct, frozen=True):
    """A running step shows how far it is."""

    run: int
    progress: Progress


class Streamed(Struct, frozen=True):
    """A running step says a piece of text. `message_id` is fresh; the first one names the message to come."""

    run: int
    text: str
    message_id: str


class Again(Struct, frozen=True):
    """A running step broke off and is begun anew, as another attempt: what it has said is replaced."""

    run: int


class Done(Struct, frozen=True):
    """A step came to its end. `ids` are fresh message ids, one a frame and one for the turn's state_update."""

    run: int
    result: Result
    ids: Sequence[str]
    now_ms: int
    spent: Mapping[str, Any] = NOTHING_SPENT


class Failed(Struct, frozen=True):
    """A step broke. `correlation_id` is where the log has the reason."""

    run: int
    code: str
    words: str
    correlation_id: str
    retryable: bool
    ids: Sequence[str]
    now_ms: int
    spent: Mapping[str, Any] = NOTHING_SPENT


class TurnCommitted(Struct, frozen=True):
    """The answer to Commit; None when it was not committed, for the reason `refusal`."""

    run: int
    outcome: Outcome | None
    refusal: str = "store_unavailable"


class Cancel(Struct, frozen=True):
    """A user wants the running turn stopped. `spent` is what the turn that runs here has taken until now."""

    reply_to: int
    client_id: str
    turn: int
    ids: Sequence[str]
    now_ms: int
    spent: Mapping[str, Any] = NOTHING_SPENT


class Interrupted(Struct, frozen=True):
    """The answer to Interrupt: what is needed to end the turn. `spent` is what it has taken until now."""

    run: int
    ids: Sequence[str]
    now_ms: int
    spent: Mapping[str, Any] = NOTHING_SPENT


#: What wants an Ack.
Asked = Message | Cancel


class Remote(Struct, frozen=True):
    """News of what another process committed: how far the log goes, and the events where they came along."""

    head: int
    events: Sequence[Event] = ()


class ShownElsewhere(Struct, frozen=True):
    """Another process shows something of a turn that it runs."""

    frame: Transient


class Wished(Struct, frozen=True):
    """Another process has missed what the turn that runs here has shown so far."""


class TimerFired(Struct, frozen=True):
    """A timer that SetTimer asked for."""

    name: str
    number: int


class Rest(Struct, frozen=True):
    """Nothing has happened for a while: let go of the session if it is at rest."""


Input = (
    Opened | LoadDone | ReadDone | Message | Appended | AtOnce | Found | Shown | Streamed | Again | Done
    | Failed | TurnCommitted | Cancel | Interrupted | Remote | ShownElsewhere | Wished | TimerFired | Rest
)  # fmt: skip

# ---------------------------------------------------------------- effects


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
    refusal: str


class Commit(Struct, frozen=True):
    """Commit a turn; `again` when an earlier try may have been committed without our knowing."""

    run: int
    write: Write
    again: bool = False


class Ack(Struct, frozen=True):
    """Promise a client that its line is durable."""

    reply_to: int
    client_id: str | None
    seq: int
    duplicate: bool


class Reject(Struct, frozen=True):
    """Refuse a client's line; nothing was stored. `card` names the open action request to show again."""

    reply_to: int
    client_id: str | None
    code: str
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
    """Ask whoever runs the turn to show again what it has shown so far."""


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
