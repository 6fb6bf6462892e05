"""The laws of acknowledgements: an ack is a promise, given once, about what really stands there, in real-time order."""

from collections.abc import Iterator
from typing import Final

from tests.soak.log_laws import Law
from tests.soak.view import DOUBLED, LOST, REORDERED, UNEXPLAINED, Sent, Told, View, Violation

#: The one refusal whose outcome may be unknown to the server itself.
UNKNOWN_OUTCOME: Final = "store_unavailable"


def kept(view: View) -> Iterator[Violation]:
    """What was acknowledged stands in the log, at that place, as it was sent."""
    for client_id, acks in view.acks.items():
        sent = view.sent.get(client_id, [])
        for ack in acks:
            before = [one for one in sent if one.place < ack.place]
            if not any(one.client == ack.client for one in before):
                says = f"an ack of {client_id} came on a connection that had not sent it"
                yield Violation(UNEXPLAINED, "ack of nothing", says, ids=(client_id,), where=ack.client)
                continue
            yield from _kept(view, client_id, ack, [one for one in sent if one.place < acks[0].place])


def _kept(view: View, client_id: str, ack: Told, asked: list[Sent]) -> Iterator[Violation]:
    seq = ack.payload["seq"]
    entry = view.at(seq)
    if entry is not None and any(one.is_for(entry) and _is_under(one, entry.payload) for one in asked):
        return
    stands = [entry.seq for entry in view.under(client_id)]
    kind, check, says = LOST, "acked line lost", "is not in the log"
    if seq in stands:
        kind, check, says = UNEXPLAINED, "other words", "stands there with other words than were sent before its ack"
    elif stands:
        kind, check, says = REORDERED, "ack of another place", f"stands at {stands}"
    says = f"{client_id} was acknowledged at {seq} and {says}"
    yield Violation(kind, check, says, seqs=(seq, *stands), ids=(client_id,), where=ack.client)


def _is_under(sent: Sent, payload: dict[str, object]) -> bool:
    return sent.is_cancel or payload.get("client_id") == sent.id


def promised_once(view: View) -> Iterator[Violation]:
    """All acks of an id name one place; one of them at most is the first; a duplicate was really sent twice."""
    for client_id, acks in view.acks.items():
        seqs = sorted({ack.payload["seq"] for ack in acks})
        if len(seqs) > 1:
            says = f"{client_id} was acknowledged at {seqs}"
            yield Violation(DOUBLED, "acked at two places", says, seqs=tuple(seqs), ids=(client_id,))
        first = [ack for ack in acks if not ack.payload["duplicate"]]
        if len(first) > 1:
            says = f"{client_id} was acknowledged as new {len(first)} times"
            yield Violation(DOUBLED, "new twice", says, seqs=tuple(seqs), ids=(client_id,), where=first[1].client)
        for ack in acks:
            tries = sum(sent.place < ack.place for sent in view.sent.get(client_id, ()))
            if ack.payload["duplicate"] and tries == 1:
                says = f"{client_id} was sent once and acknowledged as a duplicate"
                yield Violation(UNEXPLAINED, "duplicate of nothing", says, ids=(client_id,), where=ack.client)


def in_real_time(view: View) -> Iterator[Violation]:
    """A line that was sent after the ack of another stands behind it."""
    acked = sorted((ack.place, ack.payload["seq"], name) for name, acks in view.acks.items() for ack in acks)
    starts = sorted((many[0].place, name) for name, many in view.sent.items() if not many[0].is_cancel)
    place_of = {entry.payload["client_id"]: entry.seq for entry in view.log if "client_id" in entry.payload}
    floor, known, behind = 0, 0, ""
    for place, name in starts:
        while known < len(acked) and acked[known][0] < place:
            if acked[known][1] > floor:
                floor, behind = acked[known][1], acked[known][2]
            known += 1
        seq = place_of.get(name)
        if seq is not None and seq <= floor and name != behind:
            says = f"{name} was sent after the ack of {behind} at {floor}, and stands at {seq}"
            yield Violation(REORDERED, "real-time order", says, seqs=(seq, floor), ids=(name, behind))


def refused_for_good(view: View) -> Iterator[Violation]:
    """What was sent once and refused is not in the log, unless the store could not say what became of it."""
    for client_id, errors in view.errors.items():
        codes = {error.payload["code"] for error in errors}
        stands = view.under(client_id)
        if len(view.sent.get(client_id, ())) == 1 and stands and UNKNOWN_OUTCOME not in codes:
            says = f"{client_id} was refused ({', '.join(sorted(codes))}) and stands at {stands[0].seq}"
            yield Violation(UNEXPLAINED, "refused and stored", says, seqs=(stands[0].seq,), ids=(client_id,))


ACK_LAWS: Final[tuple[Law, ...]] = (kept, promised_once, in_real_time, refused_for_good)
