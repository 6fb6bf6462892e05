"""A history that is made by hand: a session of two lines, to be judged as it is or with something wrong in it."""

import json
from typing import Any

from msgspec import Raw

from tests.soak.checker import check
from tests.soak.history import NOTHING, Record
from tests.soak.view import STORE, VISIBLE, Frame, Processes

SESSION = "5e551011-0000-4000-8000-000000000000"
USER = "user-1"


def event(seq: int, kind: str, role: str, payload: Frame) -> Frame:
    """A durable frame; its id and time follow from its `seq`."""
    return {
        "type": kind,
        "message_id": f"message-{seq}",
        "session_id": SESSION,
        "timestamp": f"2026-01-01T00:00:00.{seq:03d}Z",
        "role": role,
        "payload": payload,
        "seq": seq,
    }


def said(seq: int, client_id: str | None, text: str) -> Frame:
    more = {"client_id": client_id} if client_id else {}
    return event(seq, "chat_message", "user", {"text": text, **more})


def answer(seq: int, text: str) -> Frame:
    return event(seq, "chat_message", "assistant", {"text": text})


def ended(seq: int, turn: int, came_from: str | None = "HELLO") -> Frame:
    return event(seq, "state_update", "system", {"from": came_from, "to": "HELLO", "turn": turn})


def transient(kind: str, **payload: object) -> Frame:
    return {"type": kind, "message_id": "-", "session_id": SESSION, "role": "system", "payload": payload}


def sync(action: str, head: int, count: int) -> Frame:
    return transient("sync_response", action=action, head=head, message_count=count, current_state="HELLO")


def ack(client_id: str, seq: int, *, duplicate: bool = False) -> Frame:
    return transient("ack", id=client_id, seq=seq, duplicate=duplicate)


def line(client_id: str, text: str) -> Frame:
    return {"type": "user_message", "id": client_id, "data": {"text": text}}


LOG = [
    answer(1, "Welcome."),
    ended(2, 0, None),
    said(3, "a", "apples"),
    answer(4, "you said apples"),
    ended(5, 3),
    said(6, "b", "bridges"),
    answer(7, "you said bridges"),
    ended(8, 6),
]


class Play:
    """A history that is made by hand: `main #1` says two lines, `main #2` resumes, `final` reads."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.log = [dict(frame) for frame in LOG]
        self.processes = [
            Record("", 0.0, e="start", q={"number": 1, "faults": ""}),
            Record("", 0.4, e="ready", q={"number": 1}),
        ]

    def note(self, client: str, connection: int, event: str, frame: Frame | None = None, /, **known: Any) -> None:
        kept = Raw(json.dumps(frame).encode()) if frame is not None else NOTHING
        self.records.append(Record(SESSION, 1 + len(self.records) / 100, client, connection, event, kept, known))

    def connect(self, client: str, number: int, user: str = USER, **query: str) -> None:
        asked = {"session_id": SESSION, "user_id": user, "workflow": "echo", **query}
        self.note(client, number, "connect", number=1, dialect="native", query=asked)
        self.note(client, number, "open")

    def receive(self, client: str, number: int, *frames: Frame) -> None:
        for frame in frames:
            self.note(client, number, "recv", frame)

    def first(self) -> "Play":
        """The first connection: everything happens on it."""
        self.connect("main", 1)
        self.receive("main", 1, sync("send_history", 2, 1), *LOG[:2], transient("live", head=2))
        self.note("main", 1, "send", line("a", "apples"))
        self.receive("main", 1, ack("a", 3), *LOG[2:5])
        self.note("main", 1, "send", line("b", "bridges"))
        self.receive("main", 1, ack("b", 6), *LOG[5:7])
        self.note("main", 1, "drop")
        self.note("main", 1, "close", code=1006, ours=True)
        return self

    def second(self, *frames: Frame, **query: str) -> "Play":
        """A resume behind the fifth event."""
        query = query or {"after": "5", "last_message_id": "message-5"}
        self.connect("main", 2, **query)
        self.receive("main", 2, *(frames or (sync("send_delta", 8, 5), *LOG[5:], transient("live", head=8))))
        return self

    def final(self) -> "Play":
        """The log as it stands at the end."""
        self.connect("final", 1)
        visible = sum(frame["type"] in VISIBLE for frame in self.log)
        head = self.log[-1]["seq"] if self.log else 0
        self.receive("final", 1, sync("send_history", head, visible), *self.log, transient("live", head=head))
        return self.stored()

    def stored(self, **row: Any) -> "Play":
        """What the store has, `row` apart, is what the final reader was told."""
        for frame in self.log:
            self.note(STORE, 0, "stored", frame)
        lines = [frame["seq"] for frame in self.log if frame["role"] == "user"]
        turns = [frame["payload"] for frame in self.log if frame["type"] == "state_update"]
        kept: dict[str, Any] = {
            "seq": self.log[-1]["seq"] if self.log else 0,
            "version": len(turns),
            "cursor": turns[-1]["turn"] if turns else 0,
            "lined": lines[-1] if lines else 0,
            "visible": sum(frame["type"] in VISIBLE for frame in self.log),
            "state": turns[-1]["to"] if turns else None,
            "card": next((frame["message_id"] for frame in self.log[::-1] if frame["type"] == "action_request"), None),
            "inbox": [],
        }
        self.note(STORE, 0, "snapshot", **{**kept, **row})
        return self

    def judged(self) -> set[str]:
        return {violation.check for violation in check(self.records, Processes(self.processes))}


def whole() -> Play:
    """Everything but the final read."""
    return Play().first().second()
