"""The laws of a connection: an exact resume, no hole, no repetition, nothing that is not durable, a known end."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.soak.history import Record, connections
from tests.soak.stream_law import streams
from tests.soak.view import FINAL, LOST, REORDERED, STORE, UNEXPLAINED, VISIBLE, Frame, Processes, View, Violation

#: Closes that a client of good will may see. 4103 and 4201 are weather; 4200 belongs to a drain.
CLOSES: Final = frozenset({4101, 4103, 4200, 4201})
CUT: Final = 1006
#: Refusals before the upgrade: too many connections of this session, draining.
REFUSALS: Final = frozenset({429, 503})
#: An exit is noticed a little later than the sockets that it cut.
NOTICE_S: Final = 5.0

ConnectionLaw = Callable[["Wire"], Iterator[Violation]]


class Wire:
    """One connection of a session: how it was asked for, and what came."""

    def __init__(self, records: Sequence[Record], view: View, processes: Processes, known: int, owner: str) -> None:
        self.records = records
        self.view = view
        self.processes = processes
        #: The highest event that anybody knew of when this connection was asked for.
        self.known = known
        self.name = (records[0].c, records[0].n)
        asked = records[0].q if records[0].e == "connect" else {}
        self.number: int = asked.get("number", 0)
        self.query: dict[str, Any] = asked.get("query", {})
        self.is_stranger = bool(owner) and self.query.get("user_id") != owner

    @property
    def received(self) -> Iterator[tuple[Record, Frame]]:
        """What came, each frame read."""
        return ((record, record.frame) for record in self.records if record.e == "recv")

    def broken(self, kind: str, check: str, says: str, *seqs: int) -> Violation:
        """A violation on this connection."""
        return Violation(kind, check, f"{self.name[0]} #{self.name[1]}: {says}", seqs=seqs, where=self.name)


def durable(wire: Wire) -> Iterator[Violation]:
    """Every frame with a `seq` is in the final log, byte for byte."""
    for record, frame in wire.received:
        if "seq" not in frame:
            continue
        seq = frame["seq"]
        entry = wire.view.at(seq)
        if entry is None:
            yield wire.broken(LOST, "seen and lost", f"received seq {seq}, which is not in the log", seq)
        elif entry.text != record.text:
            yield wire.broken(UNEXPLAINED, "seen otherwise", f"received seq {seq} other than the log has it", seq)


def shown_again(wire: Wire) -> Iterator[Violation]:
    """A card that comes again, after a press on a closed one, has no `seq` and is the one in the log."""
    for _, frame in wire.received:
        if frame.get("type") == "action_request" and "seq" not in frame:
            cards = [entry for entry in wire.view.log if entry.frame["message_id"] == frame["message_id"]]
            if [entry.payload for entry in cards] != [frame["payload"]]:
                yield wire.broken(UNEXPLAINED, "another card", f"is shown the card {frame['message_id']}")


def exact(wire: Wire) -> Iterator[Violation]:
    """What comes begins behind the cursor and goes on without a hole or a repetition."""
    place: Place | None = None
    resumes: list[int] = []
    for record in wire.records:
        frame = record.frame
        kind = frame.get("type")
        if record.e == "send" and kind == "resume":
            resumes.append(frame["after"])
        if record.e != "recv":
            continue
        if kind == "sync_response" and place is None:
            yield from _synced(wire, frame["payload"])
            place = Place(wire, _start(wire, frame["payload"]), resumes)
        elif place is None:
            if "seq" in frame:
                yield wire.broken(UNEXPLAINED, "before sync_response", f"received seq {frame['seq']}", frame["seq"])
                return
        elif kind == "sync_response":
            yield from _synced_again(wire, frame["payload"], resumes)
            place.at = 0
        elif kind == "live":
            yield from place.live(frame["payload"]["head"])
        elif "seq" in frame:
            yield from place.durable(frame)


class Place:
    """How far a connection has come."""

    def __init__(self, wire: Wire, at: int, resumes: list[int]) -> None:
        self.at = at
        self._wire = wire
        self._resumes = resumes
        self._older: list[int] = []

    def live(self, head: int) -> Iterator[Violation]:
        """The replay is over: everything up to `head` has come.

        A resume outlives one such word: the server may have filled a gap of its own while the resume was on its way.
        """
        for after in self._older:
            if after in self._resumes:
                self._resumes.remove(after)
        self._older = list(self._resumes)
        if head != self.at:
            says = f"is told to be live at {head}, but has {self.at}"
            yield self._wire.broken(LOST, "hole in a resume", says, self.at)

    def durable(self, frame: Frame) -> Iterator[Violation]:
        """The next durable frame: in its order, or where a resume begins."""
        seq, at = frame["seq"], self.at
        self.at = seq
        if seq == at + 1:
            return
        if seq - 1 in self._resumes:
            self._resumes.remove(seq - 1)
        elif seq > at + 1:
            yield self._wire.broken(LOST, "hole in a resume", f"received seq {seq} behind {at}", at, seq)
        else:
            yield self._wire.broken(REORDERED, "repeated", f"received seq {seq} behind {at}", at, seq)


def _start(wire: Wire, payload: Frame) -> int:
    """Behind which event the connection begins, according to its `sync_response`."""
    match payload["action"]:
        case "send_delta":
            return int(wire.query.get("after", 0))
        case "skip_history":
            return int(payload["head"])
        case _:
            return 0


def _synced(wire: Wire, payload: Frame) -> Iterator[Violation]:
    head, action, view = payload["head"], payload["action"], wire.view
    before = [entry for entry in view.log if entry.seq <= head]
    if head < wire.known:
        yield wire.broken(LOST, "old head", f"is told of head {head}, but {wire.known} was known before", wire.known)
    if head > len(view.log):
        yield wire.broken(LOST, "seen and lost", f"is told of head {head}, which is not in the log", head)
    visible = sum(entry.type in VISIBLE for entry in before)
    if payload["message_count"] != visible:
        says = f"is told of {payload['message_count']} items at {head}, the log has {visible}"
        yield wire.broken(UNEXPLAINED, "message_count", says, head)
    states = [entry.payload["to"] for entry in before if entry.type == "state_update"]
    if states and payload["current_state"] != states[-1]:
        says = f"is told of state {payload['current_state']} at {head}, the log says {states[-1]}"
        yield wire.broken(UNEXPLAINED, "current_state", says, head)
    if action not in _wanted(wire, head, payload["message_count"]):
        yield wire.broken(UNEXPLAINED, "wrong resume", f"asked {_asked(wire)} at head {head}, got {action}", head)


def _wanted(wire: Wire, head: int, visible: int) -> set[str]:
    """The right answers to the cursor that was shown."""
    after, claimed = int(wire.query.get("after", 0)), wire.query.get("last_message_id")
    if after:
        entry = wire.view.at(after)
        if after > head or (claimed and (entry is None or entry.frame["message_id"] != claimed)):
            return {"reset"}
        # A session that may have begun with this very connection was shorter than its cursor.
        return {"send_delta"} if wire.known else {"send_delta", "reset"}
    skips = wire.query.get("skip_history") == "true" and wire.query.get("message_count") == str(visible)
    return {"skip_history"} if skips else {"send_history"}


def _synced_again(wire: Wire, payload: Frame, resumes: list[int]) -> Iterator[Violation]:
    """A second `sync_response` is the answer to a `resume` from beyond the head."""
    beyond = [after for after in resumes if after > payload["head"]]
    if payload["action"] != "reset" or not beyond:
        yield wire.broken(UNEXPLAINED, "wrong resume", f"got {payload['action']} in the middle, resumes {resumes}")


def _asked(wire: Wire) -> str:
    cursor = {name: wire.query[name] for name in wire.query.keys() - {"session_id", "user_id", "workflow"}}
    return str(cursor or "for everything")


def ended(wire: Wire) -> Iterator[Violation]:
    """A connection ends as the client wanted, with a code of the table, or because its process was killed."""
    for record in wire.records:
        number, until = wire.number, record.t + NOTICE_S
        if record.e == "refused" and record.q["status"] not in REFUSALS:
            yield wire.broken(UNEXPLAINED, "refusal", f"was refused with {record.q['status']}")
        if record.e != "close" or record.q["ours"]:
            continue
        code = record.q["code"]
        if code == CUT and wire.processes.was_killed(number, until):
            continue
        drained = wire.processes.had(number, "term", until)
        if code not in CLOSES or (code == 4200 and not drained):
            yield wire.broken(UNEXPLAINED, "close code", f"was closed with {code} by process {number}")


def private(wire: Wire) -> Iterator[Violation]:
    """Another owner of the id has a session of their own, without a line, and learns nothing of this one."""
    theirs = {entry.frame["message_id"] for entry in wire.view.log}
    for _, frame in wire.received:
        if frame.get("message_id") in theirs or frame.get("role") == "user":
            yield wire.broken(UNEXPLAINED, "told a stranger", f"received a {frame.get('type')}")


CONNECTION_LAWS: Final[tuple[ConnectionLaw, ...]] = (durable, shown_again, exact, ended)
STRANGER_LAWS: Final[tuple[ConnectionLaw, ...]] = (ended, private)


def check_wires(view: View, processes: Processes) -> Iterator[Violation]:
    """Every connection of the session against every law."""
    by_name = connections(view.records)
    owner = next((r[0].q["query"]["user_id"] for n, r in by_name.items() if n[0] == FINAL and r[0].e == "connect"), "")
    known, floors = 0, dict[tuple[str, int], int]()
    for record in view.records:
        if record.e == "connect":
            floors[record.c, record.n] = known
        elif record.e == "recv":
            frame = record.frame
            known = max(known, frame.get("seq", 0), frame["payload"]["seq"] if frame.get("type") == "ack" else 0)
    for name, records in by_name.items():
        if name[0] == STORE:
            continue
        wire = Wire(records, view, processes, floors.get(name, 0), owner)
        for law in STRANGER_LAWS if wire.is_stranger else CONNECTION_LAWS:
            yield from law(wire)
        if not wire.is_stranger:
            yield from (wire.broken(UNEXPLAINED, "stream", says) for says in streams(records))
