"""What is stored: events, snapshots, writes and their outcomes, and the law that ties them together.

No I/O, no clock, no randomness here: ids and times arrive from outside.

Fold law: folding all events of a session gives its snapshot. Everything in a snapshot can therefore be rebuilt from
the log, and `scripts/check_session_state.py` checks that on live data.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct, structs

from server.errors import InvalidWrite

#: The role of the events that a person does not see. All others are items of the conversation; `visible` counts them
#: (the wire's `message_count`).
SYSTEM: Final = "system"


class EventType(StrEnum):
    """The durable frames that the server itself writes and reads. A workflow may have others: Event.type is a str."""

    CHAT_MESSAGE = "chat_message"
    ACTION_REQUEST = "action_request"
    STATE_UPDATE = "state_update"
    TURN_CANCELLED = "turn_cancelled"
    TURN_FAILED = "turn_failed"


#: The same where every turn writes or compares them. A str is what a store binds fastest, and comparing with a member
#: of an enum takes six times as long.
CHAT_MESSAGE: Final = EventType.CHAT_MESSAGE.value
STATE_UPDATE: Final = EventType.STATE_UPDATE.value
TURN_CANCELLED: Final = EventType.TURN_CANCELLED.value
TURN_FAILED: Final = EventType.TURN_FAILED.value
ACTION_REQUEST: Final = EventType.ACTION_REQUEST.value
#: The types of events that tell what became of a turn.
SYSTEM_TYPES: Final = frozenset({STATE_UPDATE, TURN_FAILED, TURN_CANCELLED})
#: What every workflow's assistant may say; events of any other type that it says are the workflow's own frames.
COMMON_TYPES: Final = frozenset({CHAT_MESSAGE, ACTION_REQUEST})
#: The largest number of a column, in every database.
INTEGER_MAX: Final = 2**63 - 1

#: Characters of an id of a session or of a user.
ID_MAX_CHARS: Final = 255
#: Format characters that make another sign of their neighbours: joiners (families of emoji, Persian), and the tags of
#: flags. Others, the bidirectional overrides among them, can make an id look like another one.
_JOINERS: Final = dict.fromkeys((0x200C, 0x200D, *range(0xE0020, 0xE0080)))


class SessionKey(NamedTuple):
    """The identity of a session: its owner, and the id that is unique among this owner's sessions."""

    user_id: str
    session_id: str


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a session or of a user: 1 to 255 printable characters.

    Printable is what Unicode calls so (letters, marks, digits, signs, the space), and the joiners. Control characters,
    line separators, bidirectional overrides and lone surrogates are not.
    """
    if not 1 <= len(text) <= ID_MAX_CHARS:
        return False
    return text.isprintable() or text.translate(_JOINERS).isprintable()


class Event(Struct, frozen=True, kw_only=True):
    """One line of a session's log, and one durable frame of the wire.

    `seq` and the final `created_at` (UTC ms) are given by the store; before the commit `seq` is 0.
    `turn` is the `seq` of the user's line that caused the event: its own for a line, 0 for the greeting.
    `client_id` is the client's own message id, where it gave one.
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
    """A session as it stands after event `seq`.

    `version` counts turns, `cursor` is the last user line that was answered, `lined` the last one that was accepted:
    a session with `lined > cursor` is waiting for an answer. `visible` counts items that a person sees, `card` is the
    message id of the action request that is still open.
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
    """What a turn changes in the snapshot. `memory` is the whole new memory, or None when it did not change."""

    workflow: str
    state: str
    cursor: int
    memory: dict[str, Any] | None
    card: str | None


class Write(Struct, frozen=True, kw_only=True):
    """A request to append `events` to one session, all or nothing.

    *accept* (no `update`): a user's line, durable even while a turn runs; `client_id` makes it take effect once.
    *turn* (`update` and `expected_version`): refused as a Conflict unless the session still has that version;
    version 0 creates the session. A turn may bring its own line, as the first event and the one with the client id;
    then `update.cursor` is the `seq` that the line must get, and the turn is a Conflict when that has been taken.

    A `client_id` stands on exactly one of the events, the one that a Duplicate will bring back.
    """

    session_id: str
    user_id: str
    events: tuple[Event, ...]
    client_id: str | None = None
    expected_version: int | None = None
    update: Update | None = None

    @property
    def key(self) -> SessionKey:
        """The identity of the session that it is for."""
        return SessionKey(user_id=self.user_id, session_id=self.session_id)


class Committed(Struct, frozen=True):
    """The write is durable. `events` carry their `seq` and final times, `version` is the session's after the write."""

    events: tuple[Event, ...]
    version: int


class Duplicate(Struct, frozen=True):
    """The write's `client_id` took effect before, as `event`; nothing was written now."""

    event: Event


class Conflict(Struct, frozen=True):
    """The session has moved on to `version`; nothing was written."""

    version: int


class Missing(Struct, frozen=True):
    """This user has no such session; nothing was written."""


class Failed(Struct, frozen=True):
    """The store could not take this one write, for the reason `code` (an SQLSTATE, say); nothing of it was written."""

    code: str


class Unknown(Struct, frozen=True):
    """The store did not say what became of the write: it may have been written, and may not."""


UNKNOWN: Final = Unknown()


class Unstorable(Struct, frozen=True):
    """No store can take the write, now or later; nothing of it was written."""


UNSTORABLE: Final = Unstorable()

#: What a store says of a write.
Outcome = Committed | Duplicate | Conflict | Missing | Failed
#: What is known of a write in the end, where a store that stumbles or is away is an outcome, too.
Settled = Committed | Duplicate | Conflict | Missing | Unknown | Unstorable


class Loaded(Struct, frozen=True):
    """A session as one consistent read sees it.

    `events` is the page that was asked for, `inbox` the accepted lines that have no answer yet, oldest first.
    """

    snapshot: Snapshot
    events: tuple[Event, ...] = ()
    inbox: tuple[Event, ...] = ()


class Summary(Struct, frozen=True):
    """A row of a list of sessions."""

    session_id: str
    user_id: str
    workflow: str
    state: str
    seq: int
    created_at: int
    updated_at: int


def check_write(write: Write) -> None:
    """Raises InvalidWrite for a write that no store takes, whatever is in the store.

    Ids and names are text that every database can keep: no NUL, no lone surrogate. Payloads may hold a NUL: JSON has
    a way to write it. Times and places in the log fit into a column.
    """
    events, update = write.events, write.update
    if not events:
        raise InvalidWrite("a write has events")
    if (update is None) != (write.expected_version is None):
        raise InvalidWrite("a turn has an update and an expected version, an accept has neither")
    # Field by field instead of event by event: every write of every turn comes through here.
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
    """Whether the event is a user's line: something that wants an answer."""
    return event.role == "user"


def is_outrun(write: Write, seq: int) -> bool:
    """Whether the line that a turn brings along would not get the `seq` that the turn names, behind the last `seq`."""
    return write.update is not None and write.events[0].role == "user" and write.update.cursor != seq + 1


def count_visible(events: Iterable[Event]) -> int:
    """How many of the events a person sees as items of the conversation."""
    return sum(event.role != SYSTEM for event in events)


def is_own_frame(event: Event) -> bool:
    """Whether the event is a frame of a workflow's own: only such a one can be a published page."""
    return event.role == "assistant" and event.type not in COMMON_TYPES


def place(events: Sequence[Event], seq: int, updated_at: int) -> tuple[Event, ...]:
    """Give the events their `seq` behind `seq`, and times that rise by at least 1 ms behind `updated_at`.

    A line's `turn` is its own `seq`, known only here.
    """
    placed: list[Event] = []
    for number, event in enumerate(events, seq + 1):
        updated_at = event.created_at if event.created_at > updated_at else updated_at + 1
        turn = number if event.role == "user" else event.turn
        placed.append(structs.replace(event, seq=number, created_at=updated_at, turn=turn))
    return tuple(placed)


def merge_memory(memory: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The memory after `changes`; a value of None removes its key."""
    return {key: value for key, value in {**memory, **changes}.items() if value is not None}


def next_card(card: str | None, events: Sequence[Event], *, moved: bool) -> str | None:
    """The open action request after a turn: its own if it made one, none if it moved on, else the one before."""
    made = [event.message_id for event in events if event.type == ACTION_REQUEST]
    if made:
        return made[-1]
    return None if moved else card


def fold(events: Iterable[Event], user_id: str) -> Snapshot | None:
    """The snapshot that a log, from its first event on, amounts to; None for an empty log or one without a turn.

    A turn ends with its `state_update` event, which carries what the turn changed. The log does not name its owner,
    so `user_id` is passed through.
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
