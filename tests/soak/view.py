"""What is known of one session: its final log, what was sent, what was acknowledged; and what befell the processes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.soak.history import Record

#: The client that reads every session at the very end: its last connection is the final log.
FINAL: Final = "final"
#: Who reads the store past every server, when all is over.
STORE: Final = "store"
VISIBLE: Final = frozenset({"chat_message", "action_request", "slide_update", "presentation_url"})
#: What a violation amounts to.
LOST, DOUBLED, REORDERED, UNEXPLAINED = "lost", "doubled", "reordered", "unexplained"
KILLED: Final = -9
#: The exit status of a server that cannot open its store.
NO_START: Final = 1
#: Troubles whose names begin so are not the store's.
OF_REDIS: Final = "redis_"
#: A store's trouble is felt a little longer: what waited for it is still to be given up.
LATER_S: Final = 3.0
Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that a session breaks: which, how, and what in its history shows it."""

    kind: str
    check: str
    says: str
    seqs: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    where: tuple[str, int] | None = None
    session: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the final log: the frame as it was on the wire, and read."""

    text: str
    frame: Frame

    @property
    def seq(self) -> int:
        return int(self.frame["seq"])

    @property
    def type(self) -> str:
        return str(self.frame["type"])

    @property
    def payload(self) -> Frame:
        return dict(self.frame["payload"])

    @property
    def is_line(self) -> bool:
        return bool(self.frame["role"] == "user")


@dataclass(frozen=True, slots=True)
class Sent:
    """A line or a cancellation that a client sent. `place` is where in the history."""

    place: int
    client: tuple[str, int]
    frame: Frame

    @property
    def id(self) -> str | None:
        given = self.frame.get("id")
        return given if given is not None else self.body.get("handoff_idempotency_key")

    @property
    def body(self) -> Frame:
        return dict(self.frame.get("data") or {})

    @property
    def is_cancel(self) -> bool:
        return bool(self.frame["type"] == "cancel")

    def is_for(self, entry: Entry) -> bool:
        """Whether the event is what was sent, made durable."""
        stored = entry.payload
        if self.is_cancel:
            return entry.type == "turn_cancelled" and stored["turn"] == self.frame["turn"]
        if not entry.is_line:
            return False
        actions = [action.get("action_id") for action in self.body.get("frontend_actions") or ()]
        action = self.body.get("action_value") or next(filter(None, actions), None)
        # Text that is a button's value or label is stored as a press of that button, under the button's label.
        pressed = action is None and stored.get("action_value") is not None
        said = str(self.body.get("text", "")).strip()
        same_text = stored["text"] == said or stored.get("action_value") == said
        same_action = pressed or stored.get("action_value") == action
        return bool(same_text and same_action)


@dataclass(frozen=True, slots=True)
class Told:
    """An ack or an error that a client received."""

    place: int
    client: tuple[str, int]
    payload: Frame


@dataclass(slots=True)
class View:
    """One session's history, sorted by what it is about."""

    records: Sequence[Record]
    log: list[Entry] = field(default_factory=list)
    is_read: bool = False
    sent: dict[str, list[Sent]] = field(default_factory=dict)
    nameless: list[Sent] = field(default_factory=list)
    acks: dict[str, list[Told]] = field(default_factory=dict)
    errors: dict[str, list[Told]] = field(default_factory=dict)
    #: What the store itself has: every event as the frame that it must have been, and the session's row.
    stored: list[Frame] = field(default_factory=list)
    row: dict[str, Any] | None = None

    def at(self, seq: int) -> Entry | None:
        """The event of this number."""
        if 0 < seq <= len(self.log) and self.log[seq - 1].seq == seq:
            return self.log[seq - 1]
        return next((entry for entry in self.log if entry.seq == seq), None)

    def under(self, client_id: str) -> list[Entry]:
        """The lines that stand in the log under a client's id."""
        return [entry for entry in self.log if entry.is_line and entry.payload.get("client_id") == client_id]


def read_view(records: Sequence[Record]) -> View:
    """Sort a session's lines."""
    view = View(records)
    final = max((record.n for record in records if record.c == FINAL), default=0)
    for place, record in enumerate(records):
        if record.c == FINAL:
            if record.n == final and record.e == "recv":
                _read_final(view, record)
        elif record.e == "stored":
            view.stored.append(record.frame)
        elif record.e == "snapshot":
            view.row = record.q
        elif record.e == "send":
            _read_sent(view, place, record)
        elif record.e == "recv":
            _read_told(view, place, record)
    return view


def _read_final(view: View, record: Record) -> None:
    frame = record.frame
    if "seq" in frame:
        view.log.append(Entry(record.text, frame))
    view.is_read = view.is_read or frame.get("type") == "live"


def _read_sent(view: View, place: int, record: Record) -> None:
    frame = record.frame
    if frame.get("type") not in ("user_message", "user_input", "cancel"):
        return
    sent = Sent(place, (record.c, record.n), frame)
    if sent.id is None:
        view.nameless.append(sent)
    else:
        view.sent.setdefault(sent.id, []).append(sent)


def _read_told(view: View, place: int, record: Record) -> None:
    frame = record.frame
    told = {"ack": view.acks, "error": view.errors}.get(frame.get("type", ""))
    if told is not None and frame["payload"].get("id") is not None:
        told.setdefault(frame["payload"]["id"], []).append(Told(place, (record.c, record.n), frame["payload"]))


class Processes:
    """What befell the server processes."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._by_number: dict[int, list[Record]] = {}
        for record in records:
            self._by_number.setdefault(record.q.get("number", 0), []).append(record)
        self._troubles = list(_spans(records))

    @property
    def troubles(self) -> Counter[str]:
        """How often what befell the services behind the servers."""
        return Counter(record.q["what"] for record in self.records if record.e == "trouble")

    def count(self, event: str) -> int:
        """How often."""
        return sum(record.e == event for record in self.records)

    @property
    def kills(self) -> int:
        """SIGKILLs, by the nemesis or by a fault point."""
        return sum(record.e == "exit" and record.q["status"] == KILLED for record in self.records)

    def was_killed(self, number: int, until: float) -> bool:
        """Whether a process had ended by SIGKILL before this time."""
        return any(r.e == "exit" and r.q["status"] == KILLED and r.t <= until for r in self._by_number.get(number, ()))

    def had(self, number: int, event: str, until: float) -> bool:
        """Whether this befell a process before this time."""
        return any(r.e == event and r.t <= until for r in self._by_number.get(number, ()))

    def troubled(self, since: float, until: float) -> bool:
        """Whether the store had a trouble at some time between the two."""
        return any(began <= until and ended >= since for began, ended in self._troubles)

    @property
    def refused_starts(self) -> int:
        """How many processes could not start, because the store was in trouble."""
        return sum(self._could_not_start(records) for records in self._by_number.values())

    @property
    def excused_starts(self) -> int:
        """How many may have said that they cannot start: those, and the ones that were killed while they said so."""
        return sum(self._could_not_start(records, (NO_START, KILLED)) for records in self._by_number.values())

    def strange_ends(self) -> Iterator[Violation]:
        """A process ends because it is killed, or well after it was asked to, or because it cannot start."""
        for number, records in self._by_number.items():
            for record in records:
                if record.e in ("stuck", "unready"):
                    check = {"stuck": "drain without end", "unready": "start without end"}[record.e]
                    yield Violation(UNEXPLAINED, check, f"process {number} does not come to an end of it")
            for exited in (record for record in records if record.e == "exit"):
                status = exited.q["status"]
                is_well = status == KILLED or (status == 0 and self.had(number, "term", exited.t))
                if not is_well and not self._could_not_start(records):
                    yield Violation(UNEXPLAINED, "exit", f"process {number} ended with status {status}")

    def undisturbed(self) -> Iterator[tuple[int, float, float]]:
        """Number, start and time of `/readyz` of every process that had no fault and met nothing until then."""
        for number, (start, *events) in self._by_number.items():
            fit = number and not start.q.get("faults") and events and events[0].e == "ready"
            if fit and not self.troubled(start.t, events[0].t):
                yield number, start.t, events[0].t

    def _could_not_start(self, records: Sequence[Record], ends: Sequence[int] = (NO_START,)) -> bool:
        """Whether this is the life of a process that found no store that it could start on, with one of these ends."""
        start, *events = records
        if start.e != "start" or not events or events[-1].e != "exit" or any(record.e == "ready" for record in events):
            return False
        return events[-1].q["status"] in ends and self.troubled(start.t, events[-1].t)


def _spans(records: Sequence[Record]) -> Iterator[tuple[float, float]]:
    """From when to when each trouble of the store lasted, and what came of it."""
    began: dict[str, float] = {}
    for record in records:
        what = record.q.get("what", "")
        if what.startswith(OF_REDIS):
            continue
        if record.e == "trouble":
            began[what] = record.t
        elif record.e == "relief":
            yield began.pop(what), record.t + LATER_S
    for start in began.values():
        yield start, float("inf")
