"""What goes into the session machine: facts. Something arrived, or something was done.

An input that answers an effect carries the effect's number. Nothing here does anything.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from server.errors import ErrorCode
from server.machines.trace import NOTHING_SPENT, Spent
from server.records import Event, Loaded, Settled, Snapshot
from server.server_memory import StoredSummary
from server.wire.protocol import Say, Transient
from server.workflows.table import Progress, Result


class NotThere(Struct, frozen=True):
    """The store has no such thing."""


class Unreadable(Struct, frozen=True):
    """The store could not be read."""


class MayWait(Struct, frozen=True):
    """A step may have to be waited for."""


class Refused(Struct, frozen=True):
    """A write was not taken, for the reason `code`: nothing was done."""

    code: ErrorCode


NOT_THERE: Final = NotThere()
UNREADABLE: Final = Unreadable()
MAY_WAIT: Final = MayWait()
OVERLOADED: Final = Refused(ErrorCode.OVERLOADED)


class Opened(Struct, frozen=True):
    """A connection has just read the session; where there is none it is to be started."""

    loaded: Loaded | NotThere


class LoadDone(Struct, frozen=True):
    """The answer to Load."""

    number: int
    loaded: Loaded | NotThere | Unreadable


class ReadDone(Struct, frozen=True):
    """The answer to Read."""

    number: int
    events: Sequence[Event] | Unreadable


class Message(Struct, frozen=True):
    """A user's line, as received. `reply_to` is the connection that gets the Ack; `message_id` is the line's new id."""

    reply_to: int
    say: Say
    message_id: str
    now_ms: int


class Appended(Struct, frozen=True):
    """The answer to Append."""

    message: Message
    outcome: Settled | Refused


class AtOnce(Struct, frozen=True):
    """The answer to AnswerAtOnce; where its step may have to be waited for, the line comes first."""

    message: Message
    line: Event
    ended: "Done | Failed | MayWait"


class Found(Struct, frozen=True):
    """The answer to Find: the event that took effect under the id.

    A Snapshot: there is no such event, and this is the session as the store has it, because the refusal would be for
    good.
    """

    asked: "Asked"
    answer: Event | Snapshot | NotThere | Unreadable


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
    """A step came to its end. `ids` are fresh message ids, one a frame and one for the turn's state_update.

    `summary` is the new one of what was said long ago, if the turn made one.
    """

    run: int
    result: Result
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT
    summary: StoredSummary | None = None


class Failed(Struct, frozen=True):
    """A step broke. `correlation_id` is where the log has the reason."""

    run: int
    code: ErrorCode
    words: str
    correlation_id: str
    retryable: bool
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT


class TurnCommitted(Struct, frozen=True):
    """The answer to Commit."""

    run: int
    outcome: Settled | Refused


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
