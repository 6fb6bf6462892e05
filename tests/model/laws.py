"""The oracle: what must hold of everything that is seen, whatever the schedule.

It looks into the store behind the processes' backs. A broken law is noted, not raised: some of what calls it catches
what is raised.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from server.machines import connection, effects
from server.machines.connection import Cursor, Numbered
from server.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    Missing,
    SessionKey,
    Settled,
    Snapshot,
    Write,
    count_visible,
    fold,
    is_line,
)
from server.wire.protocol import Cancel, Encoded, Say, encode_all
from server.workflows.table import Workflow
from tests.support.builders import USER
from tests.support.dict_store import DictStore

#: A text that no store takes.
POISON = "\ud800"

#: Refusals of what was not stored before, nor will be.
NOT_STORED = frozenset({"stale_action", "id_reuse", "turn_running"})

Request = Say | Cancel


class Laws:
    """Watches one world."""

    def __init__(self, store: DictStore, workflow: Workflow) -> None:
        self._store = store
        self.when_busy = workflow.when_busy
        self._frames: dict[str, list[Encoded]] = defaultdict(list)
        self._seen: dict[str, list[Event]] = defaultdict(list)
        self._published: Counter[tuple[str, int]] = Counter()
        self._asked: dict[tuple[int, str | None], list[Request]] = defaultdict(list)
        self._client_ids: Counter[str | None] = Counter()
        self.acked: dict[str, dict[str, int]] = defaultdict(dict)
        self.refused: dict[str, set[str]] = defaultdict(set)
        self.broken: list[str] = []

    def hold(self, whether: object, law: str) -> None:
        if not whether:
            self.broken.append(law)

    # ------------------------------------------------------------ the log

    def log(self, session_id: str) -> list[Event]:
        return self._store.logs.get(SessionKey(user_id=USER, session_id=session_id), [])

    def snapshot(self, session_id: str) -> Snapshot | None:
        return self._store.snapshots.get(SessionKey(user_id=USER, session_id=session_id))

    def frames(self, session_id: str) -> list[Encoded]:
        """The log as frames, each made once."""
        frames, log = self._frames[session_id], self.log(session_id)
        frames += encode_all(log[len(frames) :])
        return frames

    def look_at_log(self, session_id: str) -> None:
        """The log only grows; it is gapless, its times rise, its ids are unique, it folds to the snapshot."""
        log, seen = self.log(session_id), self._seen[session_id]
        if len(log) == len(seen):
            return
        self.hold(log[: len(seen)] == seen, f"the log of {session_id} was rewritten")
        self._seen[session_id] = list(log)
        self.hold([event.seq for event in log] == list(range(1, len(log) + 1)), "the log has a gap")
        times = [event.created_at for event in log]
        self.hold(all(a < b for a, b in itertools.pairwise(times)), "times do not rise")
        ids = [event.message_id for event in log]
        self.hold(len(set(ids)) == len(ids), "a message id stands twice in the log")
        client_ids = [event.client_id for event in log if event.client_id is not None]
        self.hold(len(set(client_ids)) == len(client_ids), "a client id took effect twice")
        self.hold(fold(log, USER) == self.snapshot(session_id), "the log does not fold to the snapshot")
        lines = [event.seq for event in log if is_line(event)]
        turns = [event.turn for event in log if event.type == "state_update"]
        self.hold(turns == [0, *lines][: len(turns)], f"turns {turns} for lines {lines}: twice, or out of order")
        self.hold(not any(POISON in str(event.payload.get("text")) for event in log if is_line(event)), "poison stored")
        self._look_at_turns(log)
        self._look_at_interruptions(log)
        for event in log[len(seen) :]:
            said = str(event.payload.get("text"))
            if event.role == "assistant" and said.startswith("you said "):
                asked = log[event.turn - 1].payload["text"]
                self.hold(said == f"you said {asked}", f"the answer to {asked!r} is {said!r}")

    def _look_at_turns(self, log: Sequence[Event]) -> None:
        """A turn stands together, ends in its state_update, and moves from where the one before went.

        The open card is the last one made, unless a turn moved on without one.
        """
        state = turn = card = made = None
        for event in log:
            if turn is not None:
                self.hold(event.turn == turn and not is_line(event), f"event {event.seq} stands within turn {turn}")
            if is_line(event):
                continue
            turn = event.turn
            made = event.message_id if event.type == "action_request" else made
            if event.type == "state_update":
                card = made or (card if event.payload["to"] == state else None)
                self.hold(event.payload["from"] == state, f"turn {turn} starts from {event.payload['from']}")
                state, turn, made = event.payload["to"], None, None
        self.hold(turn is None, f"turn {turn} is not whole")
        snapshot = self.snapshot(log[0].session_id)
        self.hold(snapshot and snapshot.card == card, f"the open card is {card}, the snapshot says otherwise")

    def _look_at_interruptions(self, log: Sequence[Event]) -> None:
        """A turn is interrupted by a newer line that was durable before, and only where the workflow wants it."""
        newest = 0
        for event in log:
            newest = event.seq if is_line(event) else newest
            if event.type == "turn_cancelled" and event.client_id is None:  # by nobody's wish
                self.hold(self.when_busy == "interrupt", f"turn {event.turn} was interrupted, and nobody wants that")
                told = {"turn": event.turn, "reason": "interrupted"}
                self.hold(event.payload == told, f"an interruption is told as {event.payload}")
                self.hold(newest > event.turn, f"turn {event.turn} was interrupted by nothing")

    # ------------------------------------------------------------ what processes do

    def asked(self, reply_to: int, request: Request) -> None:
        self._asked[reply_to, request.client_id].append(request)
        self._client_ids[request.client_id] += 1

    def requests(self, reply_to: int, client_id: str | None) -> list[Request]:
        """What was asked under an id."""
        return self._asked[reply_to, client_id]

    def committed(self, session_id: str, write: Write, outcome: Settled) -> None:
        """What group commit tells of a write is so."""
        stored = {event.message_id for event in self.log(session_id)}
        match outcome:
            case Committed(events):
                self.are_durable(session_id, encode_all(events), "committed")
            case Conflict():
                # All of it: two processes that stop one turn both keep what it had said, under the id of that.
                happened = all(event.message_id in stored for event in write.events)
                self.hold(not happened, "a turn was committed, and called a conflict")
            case Duplicate(event):
                self.hold(event in self.log(session_id), f"{event.client_id} is called a duplicate of nothing")
            case Missing():
                self.hold(False, "a session is missing")

    def published(self, session_id: str, events: Sequence[Event]) -> None:
        self.are_durable(session_id, encode_all(events), "published")
        for event in events:
            self._published[session_id, event.seq] += 1
            self.hold(self._published[session_id, event.seq] == 1, f"event {event.seq} was published twice")

    def keeps_what_was_shown(self, events: Sequence[Event], shown: Iterable[str]) -> None:
        """A cancellation keeps what tabs of its process were shown until then."""
        kept = next((str(event.payload["text"]) for event in events if event.payload.get("cancelled")), "")
        for text in shown:
            self.hold(kept.startswith(text), f"{text!r} was shown, and {kept!r} was kept of it by a cancellation")

    def is_published(self, session_id: str) -> bool:
        return all(self._published[session_id, event.seq] for event in self.log(session_id))

    def acked_by(self, session_id: str, ack: effects.Ack) -> None:
        """An ack names the one event that took effect under the id, and it is what was asked for."""
        log = self.log(session_id)
        if not 0 < ack.seq <= len(log):
            self.hold(False, f"ack {ack.client_id} for event {ack.seq} of {len(log)}")
            return
        event = log[ack.seq - 1]
        requests = self._asked[ack.reply_to, ack.client_id]
        if ack.client_id is not None:
            self.hold(event.client_id == ack.client_id, f"ack {ack.client_id} names the event of {event.client_id}")
            first = self.acked[session_id].setdefault(ack.client_id, ack.seq)
            self.hold(first == ack.seq, f"{ack.client_id} was acked as {first} and as {ack.seq}")
        self.hold(any(_is_effect(event, request) for request in requests), f"ack {ack.client_id} for something else")

    def refused_by(self, session_id: str, refusal: effects.Reject, *, faultless: bool) -> None:
        requests = self._asked[refusal.reply_to, refusal.client_id]
        if refusal.code == "store_unavailable" and faultless:
            poison = any(isinstance(request, Say) and POISON in request.text for request in requests)
            self.hold(poison, f"{refusal.client_id} was refused though the store never failed")
        self.hold(refusal.code not in ("not_found", "overloaded"), f"{refusal.client_id} was refused: {refusal.code}")
        if refusal.code in NOT_STORED and self._client_ids[refusal.client_id] == 1:
            self.refused[session_id].add(refusal.client_id or "")
            if refusal.code != "id_reuse":
                stored = any(event.client_id == refusal.client_id for event in self.log(session_id))
                self.hold(not stored or refusal.client_id is None, f"{refusal.client_id} was refused, and is stored")
        if refusal.code == "id_reuse":
            event = next((e for e in self.log(session_id) if e.client_id == refusal.client_id), None)
            same = event is not None and any(_is_effect(event, request) for request in requests)
            self.hold(event is not None and not same, f"{refusal.client_id} is no other line's id")

    # ------------------------------------------------------------ what clients see

    def are_durable(self, session_id: str, items: Iterable[Numbered], verb: str) -> None:
        frames = self.frames(session_id)
        for item in items:
            stored = 0 < item.seq <= len(frames) and frames[item.seq - 1] == item
            self.hold(stored, f"frame {item.seq} was {verb} and is not the one in the log")

    def synced(self, session_id: str, cursor: Cursor, sync: connection.Sync, *, unknown: bool) -> int:
        """Whether the answer to a cursor is the right one; the `seq` behind which everything must follow.

        `unknown`: there was no session when the client came.
        """
        log, head = self.log(session_id), sync.snapshot.seq
        expected, after = "send_history", 0
        if cursor.after:
            claimed = cursor.last_message_id
            real = cursor.after <= head and claimed in (None, log[cursor.after - 1].message_id) and not unknown
            expected, after = ("send_delta", cursor.after) if real else ("reset", 0)
        elif cursor.skip_history and cursor.message_count == count_visible(log[:head]):
            expected, after = "skip_history", head
        told = f"{cursor} at head {head} was answered with {sync.action}, not {expected}"
        self.hold(sync.action == expected, told)
        return after

    def at_rest(self, session_id: str) -> None:
        """Nothing happens any more, and nothing failed lately: every line has its answer."""
        log = self.log(session_id)
        waiting = [event.seq for event in log if is_line(event)]
        turns = [event.turn for event in log if event.type == "state_update"]
        self.hold(not log or turns == [0, *waiting], f"lines {waiting} have answers {turns}")
        stored = {event.client_id for event in log}
        self.hold(self.acked[session_id].keys() <= stored, "an acked line is lost")
        once = {client_id for client_id in self.refused[session_id] if self._client_ids[client_id] == 1}
        both = once & stored
        self.hold(not both, f"refused, and yet stored: {both}")


def _is_effect(event: Event, request: Request) -> bool:
    """Whether an event is what a request asked for."""
    if isinstance(request, Cancel):
        return event.type == "turn_cancelled" and event.turn == request.turn
    action = event.payload.get("action_value")
    same = request.text == event.payload.get("text") or (action is not None and request.text == action)
    return is_line(event) and same and request.action_message_id == event.payload.get("action_message_id")
