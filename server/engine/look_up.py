"""Look-ups in the store for a session machine: the effects Load, Read and Find, each answered with an input.

When the store cannot be read, the answer has UNREADABLE: never an exception, and never "not there" (L9).
"""

from collections.abc import Callable
from typing import Final

import structlog

from server.errors import StoreError
from server.machines import effects, inputs, lines
from server.records import SessionKey
from server.store import Store

log = structlog.get_logger()

#: The page limit of a load that returns only the snapshot and the inbox.
NO_EVENTS: Final = 0


async def load(
    store: Store, key: SessionKey, number: int, failed: Callable[[SessionKey, StoreError], None]
) -> inputs.LoadDone:
    """The answer to Load `number`. If the store cannot be read, `failed` is called with the error."""
    try:
        loaded = await store.load(key, 0, NO_EVENTS)
    except StoreError as error:
        failed(key, error)
        return inputs.LoadDone(number, inputs.UNREADABLE)
    return inputs.LoadDone(number, loaded or inputs.NOT_THERE)


async def read(store: Store, key: SessionKey, number: int, after: int, limit: int) -> inputs.ReadDone:
    """The answer to Read `number`: at most `limit` events behind `after`."""
    try:
        return inputs.ReadDone(number, await store.read(key, after, limit))
    except StoreError as error:
        log.warning("read_failed", session_id=key.session_id, error=str(error))
        return inputs.ReadDone(number, inputs.UNREADABLE)


async def find(store: Store, key: SessionKey, effect: effects.Find) -> inputs.Found:
    """The answer to Find: the event under the client's id. If there is none, for some refusals the snapshot."""
    asked, client_id = effect.asked, lines.client_id(effect.asked)
    try:
        event = await store.find(key, client_id) if client_id is not None else None
        is_news = event is None and effect.refusal in lines.REFUSED_BY_NEWS
        loaded = await store.load(key, 0, NO_EVENTS) if is_news else None
    except StoreError as error:
        log.warning("find_failed", session_id=key.session_id, error=str(error))
        return inputs.Found(asked, inputs.UNREADABLE)
    snapshot = loaded.snapshot if loaded else None
    return inputs.Found(asked, event or snapshot or inputs.NOT_THERE)
