"""Writes as the engine makes them: a greeting, a user's line, a turn that answers it."""

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

from server.records import Committed, Event, Outcome, SessionKey, Snapshot, Update, Write, merge_memory, next_card
from server.store import Store

USER = "ann"
STRANGER = "eve"
T0_MS = 1_750_000_000_000

_numbers = itertools.count(1)


def new_session() -> str:
    return str(uuid.uuid4())


def event(session_id: str, type: str = "chat_message", **fields: Any) -> Event:
    """Something that the assistant says, under an id of its own."""
    known = {
        "session_id": session_id,
        "type": type,
        "role": "assistant",
        "message_id": f"m{next(_numbers)}",
        "payload": {"text": "hello"},
        "created_at": T0_MS,
    }
    return Event(**{**known, **fields})


def accept(session_id: str, client_id: str | None = None, *, user_id: str = USER, **fields: Any) -> Write:
    """A user's line."""
    said = event(session_id, **{"role": "user", "client_id": client_id, **fields})
    return Write(session_id=session_id, user_id=user_id, events=(said,), client_id=client_id)


def turn(
    before: Snapshot | None,
    *frames: Event,
    session_id: str = "",
    user_id: str = USER,
    answers: int = 0,
    to: str = "TALK",
    memory: dict[str, Any] | None = None,
    client_id: str | None = None,
    created_at: int = T0_MS,
) -> Write:
    """A turn on top of `before` (None: the greeting) that says `frames`, moves to `to` and remembers `memory`."""
    session_id = before.session_id if before else session_id
    changes = memory or {}
    came_from = before.state if before else None
    change = {"from": came_from, "to": to, "intent": "Say", "turn": answers, "memory": changes}
    ended = event(
        session_id,
        "state_update",
        role="system",
        payload=change if before else {**change, "workflow": "echo"},
        created_at=created_at,
    )
    events = tuple(
        Event(**{**{name: getattr(said, name) for name in Event.__struct_fields__}, "turn": answers})
        for said in (*frames, ended)
    )
    card = next_card(before.card if before else None, events, moved=to != came_from)
    remembered = merge_memory(before.memory if before else {}, changes)
    return Write(
        session_id=session_id,
        user_id=user_id,
        events=events,
        client_id=client_id,
        expected_version=before.version if before else 0,
        update=Update(
            workflow=before.workflow if before else "echo",
            state=to,
            cursor=answers,
            memory=remembered if changes or before is None else None,
            card=card,
        ),
    )


def greeting(session_id: str, *, user_id: str = USER, **fields: Any) -> Write:
    """The turn that opens a session: two events, of which a person sees one."""
    return turn(None, event(session_id), session_id=session_id, user_id=user_id, **fields)


async def open_session(store: Store, *, user_id: str = USER) -> Snapshot:
    """A session that was greeted: version 1, two events."""
    session_id = new_session()
    assert isinstance(await commit(store, greeting(session_id, user_id=user_id)), Committed)
    return await snapshot(store, session_id, user_id=user_id)


async def commit(store: Store, write: Write) -> Outcome:
    """The outcome of one write in a batch of its own."""
    [outcome] = await store.commit([write])
    return outcome


async def committed(store: Store, write: Write) -> tuple[Event, ...]:
    """The events of a write that must be committed."""
    outcome = await commit(store, write)
    assert isinstance(outcome, Committed), outcome
    return outcome.events


async def snapshot(store: Store, session_id: str, *, user_id: str = USER) -> Snapshot:
    """The snapshot of a session that must be there."""
    loaded = await store.load(SessionKey(user_id, session_id), 0, 0)
    assert loaded is not None
    return loaded.snapshot


async def log_of(store: Store, session_id: str, *, user_id: str = USER) -> Sequence[Event]:
    """Every event of a session."""
    return await store.read(SessionKey(user_id, session_id), 0, 1_000_000)
