"""Sessions with a history, written past the server: what a reconnect finds."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from server.records import Committed, Event, Update, Write
from server.store import Store
from tests.bench.job import session_of, user_of
from tests.bench.speech import WORDS

T0_MS: Final = 1_750_000_000_000
#: Events in one write, and writes in one batch.
_PIECE: Final = 500
_BATCH: Final = 100
WORKFLOW: Final = "echo"


async def seed_history(store: Store, session_id: str, user_id: str, length: int) -> list[str]:
    """A session of so many events, all of them answered; their message ids, in their order."""
    ids: list[str] = []
    version = 0
    while len(ids) < length:
        events = [_said(session_id, len(ids) + place) for place in range(min(_PIECE, length - len(ids)))]
        version += 1
        await _commit(store, [_write(session_id, user_id, events, version)])
        ids += [event.message_id for event in events]
    return ids


async def seed_crowd(store: Store, seed: int, count: int, length: int) -> None:
    """So many sessions of so many events, with the ids and users that the client program knows."""
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        writes = [_opening(session_of(seed, number), user_of(number), length) for number in numbers]
        await _commit(store, writes)


def _opening(session_id: str, user_id: str, length: int) -> Write:
    return _write(session_id, user_id, [_said(session_id, place) for place in range(length)], 1)


def _said(session_id: str, place: int) -> Event:
    """An event as an echo leaves it."""
    text = f"you said {WORDS.format(place)}"
    payload = {"text": text, "sub_title": None, "list_items": None, "format": "plain"}
    return Event(
        session_id=session_id,
        type="chat_message",
        role="assistant",
        message_id=str(uuid.uuid4()),
        payload=payload,
        created_at=T0_MS + place,
    )


def _write(session_id: str, user_id: str, events: Sequence[Event], version: int) -> Write:
    """A turn that says all of these events."""
    memory = {"last": "words"} if version == 1 else None
    return Write(
        session_id=session_id,
        user_id=user_id,
        events=tuple(events),
        expected_version=version - 1,
        update=Update(workflow=WORKFLOW, state="HELLO", cursor=0, memory=memory, card=None),
    )


async def _commit(store: Store, writes: Iterable[Write]) -> None:
    """Raises RuntimeError when the store does not take them: they were written before."""
    outcomes = await store.commit(list(writes))
    if not all(isinstance(outcome, Committed) for outcome in outcomes):
        raise RuntimeError("the store has such a session already")
