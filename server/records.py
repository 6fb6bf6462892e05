"""The records of a store: events, snapshots, writes and their outcomes, and the fold law that ties them together.

No I/O, no clock, no randomness here: the caller passes ids and times.

Fold law: folding all events of a session gives its snapshot. Everything in a snapshot can therefore be rebuilt from
the log, and `scripts/check_session_state.py` checks that on live data.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct, structs

from server.errors import InvalidWrite

#: The role of events that clients do not show. Events of every other role are items of the conversation;
#: `Snapshot.visible` counts them (the wire's `message_count`).
SYSTEM: Final = "system"


class EventType(StrEnum):
    """The types of the server's own durable frames. A workflow may add types: Event.type is a str."""

    CHAT_MESSAGE = "chat_message"
    ACTION_REQUEST = "action_request"
    STATE_UPDATE = "state_update"
    TURN_CANCELLED = "turn_cancelled"
    TURN_FAILED = "turn_failed"


#: The same types as plain str, for code that every turn runs: stores bind a str fastest, and comparing with an enum
#: member takes six times as long.
CHAT_MESSAGE: Final = EventType.CHAT_MESSAGE.value
STATE_UPDATE: Final = EventType.STATE_UPDATE.value
TURN_CANCELLED: Final = EventType.TURN_CANCELLED.value
TURN_FAILED: Final = EventType.TURN_FAILED.value
ACTION_REQUEST: Final = EventType.ACTION_REQUEST.value
#: The types of the events that record how a turn ended.
SYSTEM_TYPES: Final = frozenset({STATE_UPDATE, TURN_FAILED, TURN_CANCELLED})
#: The types that the assistant of every workflow may write. Its events of any other type are the workflow's own frames.
COMMON_TYPES: Final = frozenset({CHAT_MESSAGE, ACTION_REQUEST})
#: The largest integer that a column holds, in every database.
INTEGER_MAX: Final = 2**63 - 1

#: The most characters in an id of a session or of a user.
ID_MAX_CHARS: Final = 255
#: Format characters that an id may hold because they change how their neighbours are drawn: joiners (emoji families,
#: Persian) and the tags of flags. Other format characters, such as bidirectional overrides, can disguise an id.
_JOINERS: Final = dict.fromkeys((0x200C, 0x200D, *range(0xE0020, 0xE0080)))


class SessionKey(NamedTuple):
    """The identity of a session: its owner, and the id that is unique among this owner's sessions."""

    user_id: str
    session_id: str


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a session or of a user: 1 to 255 printable characters.

    Printable means: printable in Unicode (letters, marks, digits, signs, the space), or a joiner. Control characters,
    line separators, bidirectional overrides and lone surrogates are not printable.
    """
    if not 1 <= len(text) <= ID_MAX_CHARS:
        return False
    return text.isprintable() or text.translate(_JOINERS).isprintable()


class Event(Struct, frozen=True, kw_only=True):
    """One entry of a session's log, and one durable frame of the wire.

    The store sets `seq` and the final `created_at` (UTC ms); before the commit `seq` is 0.
    `turn` is the `seq` of the user's line that caused the event; a line has its own `seq`, the greeting has 0.
    `client_id` is the message id that the client chose, or None.
    """

    session_id: str
    type: str
    role: str
    message_id: str
    payload: dict[str, Any]
    created_at: int
    seq: int = 0
    turn: int = 0
    client_id: str | None = None


class Snapshot(Struct, frozen=True, kw_only=True):
    """The state of a session after event `seq`.

    `version` counts turns. `cursor` is the `seq` of the last answered user line and `lined` that of the last accepted
    one: a session with `lined > cursor` waits for an answer. `visible` counts the items that clients show. `card` is
    the message id of the open action request, or None. Times are UTC ms.
    """

    session_id: str
    user_id: str
    workflow: str
    state: str
    memory: dict[str, Any]
    version: int
    seq: int
    cursor: int
    lined: int
    visible: int
    card: str | None
    created_at: int
    updated_at: int

    @property
    def key(self) -> SessionKey:
        """The session's identity."""
        return SessionKey(user_id=self.user_id, session_id=self.session_id)


class Update(Struct, frozen=True, kw_only=True):
    """The fields that a turn sets in the snapshot. `memory` is the whole new memory; None leaves the old one."""

    workflow: str
    state: str
    cursor: int
    memory: dict[str, Any] | None
    card: str | None


class Write(Struct, frozen=True, kw_only=True):
    """A request to append `events` to one session, all or nothing.

    *accept* (no `update`): stores a user's line, even while a turn runs. A line with a `client_id` is stored once only.
    *turn* (`update` and `expected_version`): the outcome is a Conflict unless the session has that version;
    version 0 creates the session. A turn may contain its own line: the first event, which then has the client id.
    `update.cursor` is the `seq` that this line must get; the outcome is a Conflict when another event has it.

    Exactly one of the events has the write's `client_id`; a Duplicate returns that event.
    """

    session_id: str
    user_id: str
    events: tuple[Event, ...]
    client_id: str | None = None
    expected_version: int | None = None
    update: Update | None = None

    @property
    def key(self) -> SessionKey:
        """The identity of the write's session."""
        return SessionKey(user_id=self.user_id, session_id=self.session_id)


class Committed(Struct, frozen=True):
    """The write is durable. `events` have their `seq` and final times; `version` is the session's new version."""

    events: tuple[Event, ...]
    version: int


class Duplicate(Struct, frozen=True):
    """An earlier write stored `event` under the same `client_id`; this one wrote nothing."""

    event: Event


class Conflict(Struct, frozen=True):
    """The session has another version, `version`, or another event at the line's `seq`; nothing was written."""

    version: int


class Missing(Struct, frozen=True):
    """This user has no such session; nothing was written."""


class Failed(Struct, frozen=True):
    """The store failed on this write alone and wrote nothing of it; `code` is the reason, for example an SQLSTATE."""

    code: str


class Unknown(Struct, frozen=True):
    """The store did not report an outcome: the write may be durable or not."""


UNKNOWN: Final = Unknown()


class Unstorable(Struct, frozen=True):
    """No store can ever store this write; nothing of it was written."""


UNSTORABLE: Final = Unstorable()

#: The outcomes that a store returns for a write.
Outcome = Committed | Duplicate | Conflict | Missing | Failed
#: The final outcomes of a write for the engine: a failing or unreachable store is an outcome too, not an exception.
Settled = Committed | Duplicate | Conflict | Missing | Unknown | Unstorable


class Loaded(Struct, frozen=True):
    """A session from one consistent read.

    `events` is the requested page of the log, `inbox` the accepted lines without an answer, oldest first.
    """

    snapshot: Snapshot
    events: tuple[Event, ...] = ()
    inbox: tuple[Event, ...] = ()


class Summary(Struct, frozen=True):
    """A row of a list of sessions. Times are UTC ms."""

    session_id: str
    user_id: str
    workflow: str
    state: str
    seq: int
    created_at: int
    updated_at: int


def check_write(write: Write) -> None:
    """Check a write without the store's data. Raises InvalidWrite for a write that every store refuses.

    Ids and names are text that every database can store: no NUL, no lone surrogate. A payload may hold a NUL, because
    JSON can escape it. Times, turns and the cursor fit into a column (INTEGER_MAX).
    """
    events, update = write.events, write.update
    if not events:
        raise InvalidWrite("a write has events")
    if (update is None) != (write.expected_version is None):
        raise InvalidWrite("a turn has an update and an expected version, an accept has neither")
    # By field, not by event, which is faster: every write of every turn is checked here.
    session_ids, types, roles, message_ids, _, times, _, turns, named = zip(*map(structs.astuple, events), strict=True)
    if session_ids.count(write.session_id) != len(events):
        raise InvalidWrite("all events of a write are its session's")
    client_ids = [client_id for client_id in named if client_id is not None]
    if client_ids != ([] if write.client_id is None else [write.client_id]):
        raise InvalidWrite("the client id of a write stands on exactly one of its events")
    names = [write.session_id, write.user_id, *types, *roles, *message_ids, *client_ids]
    most = max(*times, *turns)
    if update is not None:
        names += (update.workflow, update.state, update.card or "")
        most = max(most, update.cursor)
        if roles.count("user") > is_line(events[0]):
            raise InvalidWrite("a turn's own line is its first event")
    if most > INTEGER_MAX:
        raise InvalidWrite("a number is larger than a column can hold")
    text = "".join(names)
    if "\0" in text or not (text.isascii() or _is_unicode(text)):
        raise InvalidWrite("an id or a name holds a NUL or a lone surrogate")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_line(event: Event) -> bool:
    """Whether the event is a user's line, which needs an answer."""
    return event.role == "user"


def is_outrun(write: Write, seq: int) -> bool:
    """Whether a turn's own line would get another `seq` than `update.cursor`, given the log's last `seq`.

    False for a write without an update, and for a turn without a line of its own.
    """
    return write.update is not None and write.events[0].role == "user" and write.update.cursor != seq + 1


def count_visible(events: Iterable[Event]) -> int:
    """The number of events that clients show as items of the conversation."""
    return sum(event.role != SYSTEM for event in events)


def is_own_frame(event: Event) -> bool:
    """Whether the event is a frame of a workflow's own type. Only these can be published pages."""
    return event.role == "assistant" and event.type not in COMMON_TYPES


def place(events: Sequence[Event], seq: int, updated_at: int) -> tuple[Event, ...]:
    """Copies of the events with a `seq` counted on from `seq`, and times each at least 1 ms after the one before.

    `updated_at` (UTC ms) is the time of the log's last event. A line's `turn` becomes its own `seq`.
    """
    placed: list[Event] = []
    for number, event in enumerate(events, seq + 1):
        updated_at = event.created_at if event.created_at > updated_at else updated_at + 1
        turn = number if event.role == "user" else event.turn
        placed.append(structs.replace(event, seq=number, created_at=updated_at, turn=turn))
    return tuple(placed)


def merge_memory(memory: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A new memory with `changes` applied; a value of None removes its key."""
    return {key: value for key, value in {**memory, **changes}.items() if value is not None}


def next_card(card: str | None, events: Sequence[Event], *, moved: bool) -> str | None:
    """The message id of the open action request after a turn, or None.

    `card` is the one before the turn. A turn with action requests opens its last one; a turn that changed the state
    (`moved`) without one closes `card`; any other turn leaves it open.
    """
    made = [event.message_id for event in events if event.type == ACTION_REQUEST]
    if made:
        return made[-1]
    return None if moved else card


def fold(events: Iterable[Event], user_id: str) -> Snapshot | None:
    """Compute the snapshot from a whole log, first event first. Returns None for a log without a completed turn.

    A turn ends with its `state_update` event, whose payload has the turn's changes. The log does not name its owner,
    so the caller passes `user_id`.
    """
    snapshot: Snapshot | None = None
    turn: list[Event] = []
    seq = lined = visible = created_at = updated_at = 0
    for event in events:
        seq, updated_at = event.seq, event.created_at
        created_at = created_at or event.created_at
        visible += event.role != SYSTEM
        if is_line(event):
            lined = event.seq
            continue
        turn.append(event)
        if event.type != STATE_UPDATE:
            continue
        before, change = snapshot, event.payload
        snapshot = Snapshot(
            session_id=event.session_id,
            user_id=user_id,
            workflow=change.get("workflow") or (before.workflow if before else ""),
            state=change["to"],
            memory=merge_memory(before.memory if before else {}, change["memory"]),
            version=(before.version if before else 0) + 1,
            seq=0,
            cursor=event.turn,
            lined=0,
            visible=0,
            card=next_card(before.card if before else None, turn, moved=change["to"] != change["from"]),
            created_at=0,
            updated_at=0,
        )
        turn = []
    if snapshot is None:
        return None
    return structs.replace(
        snapshot, seq=seq, lined=lined, visible=visible, created_at=created_at, updated_at=updated_at
    )
