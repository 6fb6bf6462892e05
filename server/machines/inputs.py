"""What goes into the session machine: facts. Something arrived, or something was done.

An input that answers an effect carries the effect's number. Nothing here does anything.
"""

from collections.abc import Sequence

from msgspec import Struct

from server.machines.trace import NOTHING_SPENT, Spent
from server.records import Event, Loaded, Outcome, Snapshot
from server.wire.protocol import Say, Transient
from server.workflows.table import Progress, Result


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
    spent: Spent = NOTHING_SPENT


class Failed(Struct, frozen=True):
    """A step broke. `correlation_id` is where the log has the reason."""

    run: int
    code: str
    words: str
    correlation_id: str
    retryable: bool
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT


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
    spent: Spent = NOTHING_SPENT


class Interrupted(Struct, frozen=True):
    """The answer to Interrupt: what is needed to end the turn. `spent` is what it has taken until now."""

    run: int
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT


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
