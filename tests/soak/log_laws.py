"""The laws of a final log: gapless, rising, every line caused once and answered once, in order."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from tests.soak.view import DOUBLED, LOST, REORDERED, UNEXPLAINED, Entry, View, Violation

Law = Callable[[View], Iterator[Violation]]


def read_at_all(view: View) -> Iterator[Violation]:
    """The final read came to its `live`: otherwise nothing can be judged."""
    if not view.is_read:
        yield Violation(LOST, "unread", "the session could not be read to its head at the end")


def gapless(view: View) -> Iterator[Violation]:
    """`seq` is 1, 2, 3 …"""
    for place, entry in enumerate(view.log, 1):
        if entry.seq != place:
            yield Violation(LOST, "log gap", f"event {place} of the log has seq {entry.seq}", seqs=(entry.seq,))
            return


def rising(view: View) -> Iterator[Violation]:
    """Times rise by at least 1 ms. ISO 8601 in UTC with equal digits sorts as text."""
    for before, after in zip(view.log, view.log[1:], strict=False):
        if after.frame["timestamp"] <= before.frame["timestamp"]:
            says = f"seq {after.seq} is of {after.frame['timestamp']}, seq {before.seq} of {before.frame['timestamp']}"
            yield Violation(REORDERED, "time", says, seqs=(before.seq, after.seq))


def unique(view: View) -> Iterator[Violation]:
    """No message id stands twice."""
    counts = Counter(entry.frame["message_id"] for entry in view.log)
    for message_id, count in counts.items():
        if count > 1:
            seqs = tuple(entry.seq for entry in view.log if entry.frame["message_id"] == message_id)
            yield Violation(DOUBLED, "message id twice", f"{message_id} stands at {seqs}", seqs=seqs)


def greeted_once(view: View) -> Iterator[Violation]:
    """The log begins with the greeting's turn, and there is no other."""
    greetings = [entry.seq for entry in view.log if entry.type == "state_update" and entry.payload["turn"] == 0]
    if view.log and len(greetings) != 1:
        yield Violation(DOUBLED if greetings else LOST, "greeting", f"greeted at {greetings}", seqs=tuple(greetings))
    first = next((entry.seq for entry in view.log if entry.is_line), None)
    if first is not None and greetings and first < greetings[0]:
        yield Violation(REORDERED, "greeting", f"a line at {first} stands before the greeting", seqs=(first,))


def caused(view: View) -> Iterator[Violation]:
    """Every line was sent by a client, every cancellation asked for; no id stands twice."""
    texts = Counter(sent.body.get("text") for sent in view.nameless)
    cancels = {sent.frame["turn"] for many in view.sent.values() for sent in many if sent.is_cancel}
    for entry in view.log:
        if entry.is_line:
            client_id, text = entry.payload.get("client_id"), entry.payload["text"]
            if client_id is None and texts[text] > 0:
                texts[text] -= 1
            elif client_id is None or not any(sent.is_for(entry) for sent in view.sent.get(client_id, ())):
                says = f"the line at {entry.seq} ({client_id}: {text!r}) was sent by nobody"
                yield Violation(UNEXPLAINED, "uncaused", says, seqs=(entry.seq,), ids=(client_id or "",))
        elif entry.type == "turn_cancelled" and entry.payload["turn"] not in cancels:
            yield Violation(UNEXPLAINED, "uncaused", f"nobody cancelled what seq {entry.seq} says", seqs=(entry.seq,))
    ids = Counter(entry.payload["client_id"] for entry in view.log if entry.is_line and "client_id" in entry.payload)
    for client_id, count in ids.items():
        if count > 1:
            seqs = tuple(entry.seq for entry in view.under(client_id))
            yield Violation(DOUBLED, "line twice", f"{client_id} stands at {seqs}", seqs=seqs, ids=(client_id,))


def answered_once(view: View) -> Iterator[Violation]:
    """Every line has one turn, turns come in the order of their lines, and each is of one piece."""
    lines = [entry.seq for entry in view.log if entry.is_line]
    answers: list[int] = []
    open_turn: list[Entry] = []
    for entry in view.log:
        if entry.is_line:
            if open_turn:
                says = f"the line at {entry.seq} stands inside a turn that began at {open_turn[0].seq}"
                yield Violation(UNEXPLAINED, "torn turn", says, seqs=(entry.seq, open_turn[0].seq))
            continue
        open_turn.append(entry)
        if entry.type == "state_update":
            yield from _answer(entry, lines, answers)
            answers.append(entry.payload["turn"])
            open_turn = []
    if open_turn:
        says = f"the turn that began at {open_turn[0].seq} has no end"
        yield Violation(LOST, "torn turn", says, seqs=(open_turn[0].seq,))
    missing = tuple(seq for seq in lines if seq not in answers)
    if missing:
        yield Violation(LOST, "unanswered", f"the lines at {missing} have no answer", seqs=missing)


def _answer(entry: Entry, lines: list[int], answers: list[int]) -> Iterator[Violation]:
    turn = entry.payload["turn"]
    if turn in answers and turn:
        says = f"the line at {turn} is answered again at {entry.seq}"
        yield Violation(DOUBLED, "answered twice", says, seqs=(turn, entry.seq))
    elif turn and (turn not in lines or turn > entry.seq):
        says = f"seq {entry.seq} answers {turn}, which is no line before it"
        yield Violation(UNEXPLAINED, "answer to nothing", says, seqs=(entry.seq,))
    elif any(seq < turn and seq not in answers for seq in lines):
        says = f"seq {entry.seq} answers the line at {turn} before an earlier one"
        yield Violation(REORDERED, "answers out of order", says, seqs=(turn, entry.seq))


def chained(view: View) -> Iterator[Violation]:
    """Every turn begins in the state in which the one before ended: none was decided on an old state."""
    turns = [entry for entry in view.log if entry.type == "state_update"]
    for before, after in zip([None, *turns], turns, strict=False):
        state = before.payload["to"] if before else None
        if after.payload["from"] != state:
            says = f"the turn at {after.seq} began in {after.payload['from']}, but the state was {state}"
            seqs = (before.seq, after.seq) if before else (after.seq,)
            yield Violation(UNEXPLAINED, "turn on an old state", says, seqs=seqs)


LOG_LAWS: Final[tuple[Law, ...]] = (
    read_at_all,
    gapless,
    rising,
    unique,
    greeted_once,
    caused,
    answered_once,
    chained,
)
