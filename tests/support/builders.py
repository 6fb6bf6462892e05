"""Records as tests want them: only what matters is said, the rest is the same every time."""

from typing import Any, TypeVar

from server.records import Committed, Event, Snapshot, Write, place

SESSION = "0b8b9f2e-0000-4000-8000-000000000001"
USER = "ann"
T0_MS = 1_750_000_000_000

T = TypeVar("T")


def event(seq: int, type: str = "chat_message", **fields: Any) -> Event:
    """Event `seq` of the log, said by the assistant."""
    known = {
        "session_id": SESSION,
        "type": type,
        "role": "assistant",
        "message_id": f"m{seq}",
        "payload": {"text": f"text {seq}"},
        "created_at": T0_MS + seq,
        "seq": seq,
    }
    return Event(**{**known, **fields})


def line(seq: int, text: str = "hello", client_id: str | None = None, **payload: Any) -> Event:
    """Event `seq` of the log, said by the user."""
    said = {"text": text, "sub_title": None, "list_items": None, "format": "plain", **payload}
    return event(seq, role="user", turn=seq, client_id=client_id or f"c{seq}", payload=said)


def ended(seq: int, turn: int, **payload: Any) -> Event:
    """Event `seq` of the log: the end of `turn`."""
    change = {"from": "HELLO", "to": "HELLO", "intent": "Say", "turn": turn, "memory": {}, **payload}
    return event(seq, "state_update", role="system", turn=turn, payload=change)


def snapshot(**fields: Any) -> Snapshot:
    """A session of the echo workflow after its greeting: a welcome and its state_update."""
    known = {
        "session_id": SESSION,
        "user_id": USER,
        "workflow": "echo",
        "state": "HELLO",
        "memory": {},
        "version": 1,
        "seq": 2,
        "cursor": 0,
        "lined": 0,
        "visible": 1,
        "card": None,
        "created_at": T0_MS,
        "updated_at": T0_MS,
    }
    return Snapshot(**{**known, **fields})


def committed(write: Write, after: int, version: int = 1) -> Committed:
    """What the store answers when it commits `write` behind event `after`."""
    return Committed(place(write.events, after, T0_MS), version)


def every(effects: list[Any], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def the(effects: list[Any], kind: type[T]) -> T:
    """The only effect of its kind."""
    [effect] = every(effects, kind)
    return effect


def kinds(effects: list[Any]) -> list[str]:
    """What the effects are, in order."""
    return [type(effect).__name__ for effect in effects]
