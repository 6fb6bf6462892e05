"""What is to be said of a stored session: its history, what a reconnect restores, whether its laws hold.

No I/O, clock or randomness here: a snapshot and its log go in, a Report comes out. The log is read once, event by
event; of each only a line of the history and its ids are kept. Nothing that a row can hold makes this raise.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from server.records import SYSTEM, Event, EventType, Snapshot, fold, is_id, is_line
from server.server_memory import read_server_memory
from server.store.inspect.contract import Damaged
from server.wire.protocol import timestamp
from server.workflows.table import Workflow

TEXT_CHARS: Final = 90
#: How long a problem, or a word of the log beside its events, may be when it is shown.
PROBLEM_CHARS: Final = 300
#: How many problems of one kind are spelt out.
_PROBLEM_LIMIT: Final = 5

LAWS: Final = {
    "readable": "every row can be read",
    "seq": "events are numbered 1, 2, 3 … without a gap",
    "times": "times rise from event to event",
    "message_ids": "no two events have the same message id",
    "client_ids": "no two events have the same client id",
    "greeting": "the session begins with its one opening turn",
    "answers": "every line up to the cursor has exactly one answer, and no other has one",
    "moves": "every turn starts in the state in which the one before ended",
    "version": "the version is the number of turns",
    "server": "what the server itself remembers can be read",
    "fold": "the log, folded, gives the session as it is stored",
}


class Law(Struct):
    """One invariant: what it says, and how the session breaks it."""

    says: str
    problems: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def is_kept(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.count

    def broken(self, problem: str) -> None:
        """Note a problem, which may quote what a row holds; of many, the first ones."""
        self.count += 1
        if len(self.problems) < _PROBLEM_LIMIT:
            self.problems.append(one_line(problem, PROBLEM_CHARS))


class Entry(Struct, kw_only=True):
    """One line of the history. `intent` and `state` are those of the turn that the event belongs to."""

    seq: int
    created_at: int | None
    role: str
    type: str
    message_id: str
    text: str
    intent: str | None = None
    state: str | None = None


class Card(Struct, frozen=True):
    """The open action request; `seq` is None when the log does not have it."""

    message_id: str
    seq: int | None = None
    prompt: str = ""
    buttons: Iterable[str] = ()


class Restoration(Struct, frozen=True, kw_only=True):
    """What a client that reconnects with nothing gets.

    `unanswered` counts lines behind the cursor, and those that were passed over. `told` is what the workflow adds to
    `sync_response`, None where it cannot be known: the workflow is not one of this server, or cannot read the memory.
    `page` is the last event that is a published page, `page_path` where it is.
    """

    state: str
    messages: int
    frames: int
    unanswered: int
    unanswered_from: int | None
    unanswered_since: str | None
    will_be_answered: bool
    action_request: Card | None
    told: dict[str, Any] | None
    page: Entry | None
    page_path: str | None


class Report(Struct, frozen=True, kw_only=True):
    """Everything that is to be said. `lease_ms`: as in a Look."""

    session: Snapshot
    history: list[Entry]
    restoration: Restoration
    laws: dict[str, Law]
    lease_ms: int | None

    @property
    def is_sound(self) -> bool:
        """Whether every law is kept."""
        return all(law.is_kept for law in self.laws.values())


def diagnose(
    snapshot: Snapshot,
    log: Iterable[Event | Damaged],
    lease_ms: int | None = None,
    workflow: Workflow | None = None,
) -> Report:
    """Examine a session; `log` is all of its events, in order, `lease_ms` is passed through.

    `workflow` is the session's, None where this server has no such one.
    """
    reading = _Reading(snapshot, workflow)
    folded = fold(reading.follow(log), snapshot.user_id)
    reading.close(folded)
    return Report(
        session=snapshot,
        history=reading.history,
        restoration=reading.restoration(),
        laws=reading.laws,
        lease_ms=lease_ms,
    )


def one_line(value: object, chars: int = TEXT_CHARS) -> str:
    """A text, or another value as JSON, on one line; what could steer a terminal is left out."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = "".join(filter(is_id, " ".join(text[: 4 * chars].split())))
    return shown if len(shown) <= chars and len(text) <= 4 * chars else shown[: chars - 1] + "…"


def utc(ms: int | None) -> str:
    """A stored time as ISO 8601, as on the wire."""
    if ms is None:
        return "?"
    try:
        return timestamp(ms)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


class _Reading:
    """The one pass over a log."""

    def __init__(self, snapshot: Snapshot, workflow: Workflow | None) -> None:
        self.laws = {name: Law(says) for name, says in LAWS.items()}
        self.history: list[Entry] = []
        self._snapshot = snapshot
        self._workflow = workflow
        self._page_type = workflow.page.frame_type if workflow and workflow.page else None
        self._seq = 0
        self._created_at: int | None = None
        self._state: str | None = None
        self._visible = 0
        self._turns = 0
        self._line = 0
        self._message_ids: dict[str, int] = {}
        self._client_ids: dict[str, int] = {}
        self._openings: list[int] = []
        self._waiting: dict[int, Entry] = {}
        self._answered: set[int] = set()
        self._unended: dict[int, list[Entry]] = {}
        self._card: Card | None = Card(snapshot.card) if snapshot.card is not None else None
        self._page: Entry | None = None

    # ------------------------------------------------------------ event by event

    def follow(self, log: Iterable[Event | Damaged]) -> Iterator[Event]:
        """Examine every event, and pass on those that can be folded."""
        for item in log:
            if item.seq != self._seq + 1:
                self.laws["seq"].broken(f"event {item.seq} stands behind event {self._seq}")
            self._seq = item.seq if isinstance(item.seq, int) else self._seq
            if isinstance(item, Event) and (reason := _malformed(item)) is None:
                self._take(item)
                yield item
            else:
                reason = item.reason if isinstance(item, Damaged) else reason
                self.laws["readable"].broken(f"event {item.seq}: {reason}")
                text = one_line(f"unreadable: {reason}")
                self.history.append(Entry(seq=item.seq, created_at=None, role="?", type="?", message_id="", text=text))

    def _take(self, event: Event) -> None:
        seq = event.seq
        if self._created_at is not None and event.created_at <= self._created_at:
            self.laws["times"].broken(f"event {seq}, {utc(event.created_at)}, is not behind {utc(self._created_at)}")
        self._created_at = event.created_at
        if (first := self._message_ids.setdefault(event.message_id, seq)) != seq:
            self.laws["message_ids"].broken(f"event {seq} has the message id of event {first}, {event.message_id}")
        if event.client_id is not None and (first := self._client_ids.setdefault(event.client_id, seq)) != seq:
            self.laws["client_ids"].broken(f"event {seq} has the client id of event {first}, {event.client_id}")
        entry = Entry(
            seq=seq,
            created_at=event.created_at,
            role=event.role,
            type=event.type,
            message_id=event.message_id,
            text=one_line(_words(event, self._workflow)),
        )
        self.history.append(entry)
        self._visible += event.role != SYSTEM
        if event.message_id == self._snapshot.card and event.type == EventType.ACTION_REQUEST:
            prompt = one_line(str(event.payload.get("prompt_text")))
            self._card = Card(event.message_id, seq, prompt, [one_line(label) for label in _labels(event)])
        if event.type == self._page_type:
            self._page = entry
        if is_line(event):
            self._line = seq
            self._waiting[seq] = entry
        elif event.type == EventType.STATE_UPDATE:
            self._end_turn(event, entry)
        else:
            self._unended.setdefault(event.turn, []).append(entry)

    def _end_turn(self, event: Event, entry: Entry) -> None:
        seq, turn, change, answers = event.seq, event.turn, event.payload, self.laws["answers"]
        self._turns += 1
        if change["from"] != self._state:
            self.laws["moves"].broken(f"event {seq} moves from {change['from']}, but the state was {self._state}")
        self._state = change["to"]
        line = self._waiting.pop(turn, None)
        if turn == 0:
            self._openings.append(seq)
        elif line is None:
            what = "again" if turn in self._answered else "which is not a line before it"
            answers.broken(f"event {seq} answers event {turn}, {what}")
        else:
            self._answered.add(turn)
            if turn > self._snapshot.cursor:
                answers.broken(f"line {turn} has an answer, but the cursor is {self._snapshot.cursor}")
        for one in (entry, *self._unended.pop(turn, []), *([line] if line is not None else [])):
            one.intent, one.state = str(change.get("intent")), change["to"]

    # ------------------------------------------------------------ as a whole

    def close(self, folded: Snapshot | None) -> None:
        """Examine what only the whole log can tell; `folded` is what it amounts to."""
        snapshot, answers = self._snapshot, self.laws["answers"]
        if snapshot.cursor > self._line:
            answers.broken(f"the cursor is {snapshot.cursor}, but the last line is {self._line}")
        for seq in self._waiting:
            if seq <= snapshot.cursor:
                answers.broken(f"line {seq} has no answer, but the cursor is {snapshot.cursor}")
        for turn, entries in self._unended.items():
            answers.broken(f"event {entries[0].seq} belongs to turn {turn}, which has no end")
        if snapshot.version != self._turns:
            self.laws["version"].broken(f"the version is {snapshot.version}, the turns are {self._turns}")
        if len(self._openings) != 1:
            found = f"turns 0 end at events {', '.join(map(str, self._openings[:5]))}" if self._openings else "none"
            self.laws["greeting"].broken(f"expected one opening turn, found {len(self._openings)}: {found}")
        elif self.history[0].role == "user" or self._openings[0] > min(self._answered, default=self._seq + 1):
            self.laws["greeting"].broken(f"the opening turn, event {self._openings[0]}, is not the first turn")
        if complaint := read_server_memory(snapshot.memory).complaint:
            self.laws["server"].broken(f"{complaint}: it counts as empty")
        if not self.laws["readable"].is_kept:
            self.laws["fold"].broken("cannot be told while events cannot be read")
        elif folded is None:
            self.laws["fold"].broken("the log has no turn, so it gives no session")
        else:
            for difference in _differences(snapshot, folded):
                self.laws["fold"].broken(difference)

    def restoration(self) -> Restoration:
        """What comes back at a reconnect."""
        snapshot = self._snapshot
        first, page = next(iter(self._waiting.values()), None), self._workflow.page if self._workflow else None
        return Restoration(
            state=snapshot.state,
            messages=self._visible,
            frames=len(self.history),
            unanswered=len(self._waiting),
            unanswered_from=first.seq if first else None,
            unanswered_since=utc(first.created_at) if first else None,
            # This is how the server finds them; a line that it does not find waits for ever.
            will_be_answered=first is not None and snapshot.cursor < first.seq and snapshot.lined > snapshot.cursor,
            action_request=self._card,
            told=_told(snapshot, self._workflow),
            page=self._page,
            page_path=page.address("", self._page.message_id) if page and self._page else None,
        )


def _malformed(event: Event) -> str | None:
    """What is wrong with the payload, where that keeps a server from reading it."""
    payload = event.payload
    if event.type == EventType.STATE_UPDATE:
        is_whole = isinstance(payload.get("to"), str) and "from" in payload and isinstance(payload.get("memory"), dict)
        return None if is_whole else "a state_update without from, to and memory"
    if event.type == EventType.CHAT_MESSAGE and not isinstance(payload.get("text"), str):
        return "a chat_message without text"
    return None


def _told(snapshot: Snapshot, workflow: Workflow | None) -> dict[str, Any] | None:
    """What the workflow adds to `sync_response`."""
    if workflow is None:
        return None
    try:
        return workflow.summary(snapshot.memory)
    except Exception:  # noqa: BLE001  a workflow is foreign code, and what is stored may be anything
        return None


def _words(event: Event, workflow: Workflow | None) -> object:
    """What an event says to a person."""
    payload = event.payload
    match event.type:
        case EventType.CHAT_MESSAGE:
            return payload["text"]
        case EventType.ACTION_REQUEST:
            return f"{payload.get('prompt_text')} [{' | '.join(_labels(event))}]"
        case EventType.STATE_UPDATE:
            came_from, to = payload["from"], payload["to"]
            move = f"stays in {to}" if came_from == to else f"{came_from or 'start'} → {to}"
            return f"{payload.get('intent')}: {move}"
        case EventType.TURN_FAILED:
            return f"{payload.get('code')}, reference {payload.get('correlation_id')}"
        case _:
            return _own_words(event, workflow)


def _own_words(event: Event, workflow: Workflow | None) -> object:
    """What a frame of the workflow's own says, its payload where the workflow does not say it."""
    say = workflow.frames.get(event.type) if workflow else None
    if say is None:
        return event.payload
    try:
        return say(event.payload)
    except Exception:  # noqa: BLE001  the workflow's own function reads a payload that may hold anything
        return event.payload


def _labels(event: Event) -> list[str]:
    actions = event.payload.get("actions")
    return [str(one.get("label")) for one in actions if isinstance(one, dict)] if isinstance(actions, list) else []


def _differences(kept: Snapshot, folded: Snapshot) -> Iterator[str]:
    for name in kept.__struct_fields__:
        has, gives = getattr(kept, name), getattr(folded, name)
        if has == gives:
            continue
        if name == "memory":
            keys = sorted(key for key in {**has, **gives} if _item(has, key) != _item(gives, key))
            yield f"memory differs in {one_line(', '.join(keys))}"
        else:
            yield f"{name} is {one_line(has)}, the log gives {one_line(gives)}"


def _item(memory: dict[str, Any], key: str) -> tuple[bool, Any]:
    return key in memory, memory.get(key)
