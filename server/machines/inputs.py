"""The inputs of the session machine: facts that arrived from a client, the store, a step or another process.

An input that answers an effect carries the effect's number. These are plain data.
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
    """The store does not have the session or the event."""


class Unreadable(Struct, frozen=True):
    """The store could not be read."""


class MayWait(Struct, frozen=True):
    """The step may have to wait, so it has no result yet."""


class Refused(Struct, frozen=True):
    """A write was not accepted, for the reason `code`; nothing was stored."""

    code: ErrorCode


NOT_THERE: Final = NotThere()
UNREADABLE: Final = Unreadable()
MAY_WAIT: Final = MayWait()
OVERLOADED: Final = Refused(ErrorCode.OVERLOADED)


class Opened(Struct, frozen=True):
    """A connection has just read the session (`loaded`). NotThere: start the session."""

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
    """The answer to AnswerAtOnce. MayWait: the line must be stored before its step runs."""

    message: Message
    line: Event
    ended: "Done | Failed | MayWait"


class Found(Struct, frozen=True):
    """The answer to Find: the event that took effect under the client id, or NotThere.

    A Snapshot instead of NotThere is the session in the store. It comes for a refusal of `lines.REFUSED_BY_NEWS`,
    because the store may have newer events than the machine knows.
    """

    asked: "Asked"
    answer: Event | Snapshot | NotThere | Unreadable


class Shown(Struct, frozen=True):
    """The running step shows its progress."""

    run: int
    progress: Progress


class Streamed(Struct, frozen=True):
    """The running step streams a piece of text. `message_id` is fresh; the first becomes the id of the message."""

    run: int
    text: str
    message_id: str


class Again(Struct, frozen=True):
    """The running step broke off and starts again, as another attempt. Its text so far is to be replaced."""

    run: int


class Done(Struct, frozen=True):
    """A step gave its result. `ids` are fresh message ids: one for each frame and one for the state_update.

    `summary` is the new summary of the older messages, if the turn made one.
    """

    run: int
    result: Result
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT
    summary: StoredSummary | None = None


class Failed(Struct, frozen=True):
    """A step failed. `words` is the message for the user; the log record with `correlation_id` has the reason."""

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
    """A user wants the running turn stopped. `spent`: usage and trace until now of the turn that runs here."""

    reply_to: int
    client_id: str
    turn: int
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT


class Interrupted(Struct, frozen=True):
    """The answer to Interrupt: fresh ids and the time, to end the turn. `spent`: its usage and trace until now."""

    run: int
    ids: Sequence[str]
    now_ms: int
    spent: Spent = NOTHING_SPENT


#: A client's request: it gets an Ack or a Reject.
Asked = Message | Cancel


class Remote(Struct, frozen=True):
    """Another process has committed events: `head` is the last seq; `events` may be empty."""

    head: int
    events: Sequence[Event] = ()


class ShownElsewhere(Struct, frozen=True):
    """Another process shows a transient frame of a turn that it runs."""

    frame: Transient


class Wished(Struct, frozen=True):
    """Another process has missed frames of the turn that runs here, and asks for them again."""


class TimerFired(Struct, frozen=True):
    """A timer of SetTimer, or the takeover timer of TakeOver, has fired."""

    name: str
    number: int


class Rest(Struct, frozen=True):
    """The session has had no input for a while, or its place is needed: evict it if it has nothing to do."""


Input = (
    Opened | LoadDone | ReadDone | Message | Appended | AtOnce | Found | Shown | Streamed | Again | Done
    | Failed | TurnCommitted | Cancel | Interrupted | Remote | ShownElsewhere | Wished | TimerFired | Rest
)  # fmt: skip
