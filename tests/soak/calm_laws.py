"""The laws of the end: every open tab came to the head by itself, and what clients were told is what is stored."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.soak.history import Record, connections
from tests.soak.log_laws import Law
from tests.soak.view import LOST, STORE, UNEXPLAINED, VISIBLE, View, Violation


class Arrival(NamedTuple):
    """A tab that was open when the calm ended, how far it was then, and when it came to the head."""

    where: tuple[str, int]
    position: int
    arrived_s: float


def as_stored(view: View) -> Iterator[Violation]:
    """What a client reads at the end is what the store's own class reads: all of it, in its order."""
    if view.row is None:
        yield Violation(LOST, "not stored", "the session could not be read from the store at the end")
    if len(view.stored) < len(view.log):
        says = f"the log was told up to {len(view.log)} and is stored up to {len(view.stored)}"
        yield Violation(LOST, "told and not stored", says, seqs=(len(view.stored) + 1,))
    for entry, stored in zip(view.log, view.stored, strict=False):
        if entry.frame != stored:
            yield Violation(UNEXPLAINED, "stored otherwise", f"seq {entry.seq} is stored otherwise", seqs=(entry.seq,))
            return


def folded(view: View) -> Iterator[Violation]:
    """The session's own row is what its events amount to."""
    if view.row is None:
        return
    lines = [frame["seq"] for frame in view.stored if frame["role"] == "user"]
    turns = [frame["payload"] for frame in view.stored if frame["type"] == "state_update"]
    amounts: dict[str, object] = {
        "seq": view.stored[-1]["seq"] if view.stored else 0,
        "version": len(turns),
        "cursor": turns[-1]["turn"] if turns else 0,
        "lined": lines[-1] if lines else 0,
        "visible": sum(frame["type"] in VISIBLE for frame in view.stored),
        "state": turns[-1]["to"] if turns else None,
        "card": _card(view),
        "inbox": [],
    }
    for name, amount in amounts.items():
        if view.row[name] != amount:
            says = f"the session's {name} is {view.row[name]!r}, its events amount to {amount!r}"
            yield Violation(UNEXPLAINED, "row and log differ", says)


def _card(view: View) -> str | None:
    """The action request that is still open: the last one of the state that the session is in."""
    card: str | None = None
    asked: str | None = None
    for frame in view.stored:
        if frame["type"] == "action_request":
            asked = frame["message_id"]
        elif frame["type"] == "state_update":
            moved = frame["payload"]["to"] != frame["payload"]["from"]
            card, asked = asked or (None if moved else card), None
    return card


def converged(view: View) -> Iterator[Violation]:
    """In the calm everything is answered, nobody is sent away, and every open tab comes to the head of the log."""
    head, _ = head_of(view.records)
    for record in view.records:
        where = (record.c, record.n)
        if record.e == "unsettled":
            yield Violation(UNEXPLAINED, "unsettled", "not everything said was settled and answered in the calm")
        elif record.e == "away":
            yield Violation(UNEXPLAINED, "away", f"{record.c} could not stay connected in the calm", where=where)
    for where, position, _ in arrivals(view.records):
        if position < head:
            says = f"{where[0]} #{where[1]} was open in the calm and came to {position}, the head was {head}"
            yield Violation(LOST, "never converged", says, seqs=(position + 1,), where=where)
    yield from _sent_away(view)


def _sent_away(view: View) -> Iterator[Violation]:
    is_calm = False
    for record in view.records:
        is_calm = (is_calm or (record.c == STORE and record.e == "head")) and record.e != "still"
        if is_calm and record.e == "close" and not record.q["ours"]:
            says = f"{record.c} #{record.n} was closed with {record.q['code']} in the calm"
            yield Violation(UNEXPLAINED, "sent away", says, where=(record.c, record.n))


def head_of(records: Sequence[Record]) -> tuple[int, float]:
    """Where the log ended when the calm had come, and when the first client had it; 0 for a session that was over."""
    head = next((record.q["head"] for record in records if record.c == STORE and record.e == "head"), 0)
    told = (record.t for record in records if record.e == "recv" and head and record.frame.get("seq") == head)
    return head, next(told, 0.0)


def arrivals(records: Sequence[Record]) -> Iterator[Arrival]:
    """Every tab that was open when the calm ended."""
    head, _ = head_of(records)
    for where, lived in connections(records).items():
        if not any(record.e == "still" for record in lived):
            continue
        position, arrived_s = 0, 0.0
        for record in lived:
            frame = record.frame
            if record.e == "still":
                break
            if record.e != "recv":
                continue
            if frame.get("type") == "sync_response":
                position = _start(lived[0], frame["payload"])
            position = frame.get("seq", position)
            if position >= head and not arrived_s:
                arrived_s = record.t
        yield Arrival(where, position, arrived_s)


def _start(connect: Record, payload: dict[str, object]) -> int:
    match payload["action"]:
        case "send_delta":
            return int(connect.q["query"].get("after", 0))
        case "skip_history":
            return int(str(payload["head"]))
    return 0


CALM_LAWS: Final[tuple[Law, ...]] = (as_stored, folded, converged)
