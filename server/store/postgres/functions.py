"""The Store contract over functions in a PostgreSQL database: JSON in, JSON out, one transaction for each call.

Subclasses implement `_call`, which calls a function through a driver or an HTTP API. The SQL files in `migrations/`
define the functions and the format of their arguments and results.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import structs

from server.errors import StoreClosed, StoreUnavailable
from server.records import (
    Committed,
    Conflict,
    Duplicate,
    Event,
    Failed,
    Loaded,
    Missing,
    Outcome,
    SessionKey,
    Summary,
    Write,
    check_write,
    count_visible,
)
from server.store.rows import encode, event_of, event_rows, snapshot_of
from server.store.schema import Schema

#: The schema that this server was written for.
SCHEMA_VERSION: Final = 3
_INT8_MAX: Final = 2**63 - 1
_INT4_MAX: Final = 2**31 - 1

T = TypeVar("T")


class FunctionStore(ABC):
    """Sessions behind the functions `rejoinder_*`."""

    def __init__(self) -> None:
        self._opened = False
        self._closing: asyncio.Task[None] | None = None

    @abstractmethod
    async def _connect(self) -> None:
        """Connect, so that `_call` works. Raises StoreUnavailable."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Wait for the running calls and close all connections. Called once."""

    @abstractmethod
    async def _call(self, function: str, arguments: Mapping[str, object]) -> Any:
        """Call `public.function` with named arguments: str, int, or a value that JSON can hold. Returns decoded JSON.

        Raises InvalidWrite for wrong arguments, and StoreUnavailable for any other error.
        """

    async def open(self) -> None:
        """Connect and check the schema. Raises StoreUnavailable, StoreClosed after `close`."""
        if self._closing is not None:
            raise StoreClosed("the store is closed")
        await self._connect()
        check_schema(Schema(**await self._call("rejoinder_schema_v1", {})))
        self._opened = True

    async def close(self) -> None:
        """Finish the calls that were made and disconnect. A second call waits for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._disconnect())
        await asyncio.shield(self._closing)

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Commit the batch as one transaction; returns one outcome per write."""
        self._check_open()
        rows = [_write_row(write) for write in writes]
        outcomes = await self._call("rejoinder_commit_v1", {"writes": rows})
        return [_outcome_of(write, row) for write, row in zip(writes, outcomes, strict=True)]

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """Snapshot, page and inbox in one consistent read."""
        page = {"after": _int8(after), "page": _int4(limit)}
        row = await self._ask("rejoinder_load_v1", None, session=key.session_id, owner=key.user_id, **page)
        if row is None:
            return None
        snapshot, events, inbox = row
        return Loaded(snapshot_of(snapshot), tuple(map(event_of, events)), tuple(map(event_of, inbox)))

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        """A page of the log."""
        page = {"after": _int8(after), "page": _int4(limit)}
        rows = await self._ask("rejoinder_read_v1", [], session=key.session_id, owner=key.user_id, **page)
        return [event_of(row) for row in rows]

    async def heads(self, sessions: Sequence[SessionKey]) -> Sequence[int]:
        """The last `seq` of each session, 0 where there is none."""
        return await self._ask_of_each("rejoinder_heads_v1", 0, sessions)

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        """Take or renew leases; returns for each whether `holder` has it now."""
        return await self._ask_of_each("rejoinder_hold_v1", False, sessions, who=holder, ttl_ms=_int4(ttl_ms))

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End leases of the holder."""
        await self._ask("rejoinder_release_v1", None, sessions=_rows(filter(_is_text, sessions)), who=holder)

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """The event that was stored with this client id, or None."""
        row = await self._ask("rejoinder_find_v1", None, session=key.session_id, owner=key.user_id, client=client_id)
        return None if row is None else event_of(row)

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event of a published page, or None."""
        row = await self._ask("rejoinder_published_v1", None, message=message_id, kind=type)
        return None if row is None else event_of(row)

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """Sessions that have waited for an answer since `before_ms` (UTC ms) or longer, oldest first."""
        rows = await self._ask("rejoinder_pending_v1", [], before_ms=_int8(before_ms), page=_int4(limit))
        return [SessionKey(user_id=user_id, session_id=session_id) for session_id, user_id in rows]

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session and its log; returns whether it existed."""
        gone: bool = await self._ask("rejoinder_delete_v1", False, session=key.session_id, owner=key.user_id)
        return gone

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        rows = await self._ask("rejoinder_list_v1", [], owner=user_id, page=_int4(limit))
        return [Summary(*row) for row in rows]

    async def _ask(self, function: str, nothing: Any, **arguments: object) -> Any:
        """Call a function and return its result; `nothing` for an id that no database can store."""
        self._check_open()
        if not _are_text(*(argument for argument in arguments.values() if isinstance(argument, str))):
            return nothing
        return await self._call(function, arguments)

    async def _ask_of_each(
        self, function: str, nothing: T, sessions: Sequence[SessionKey], **arguments: object
    ) -> Sequence[T]:
        """Call a function with sessions; returns one result for each, `nothing` for an id no database can store."""
        asked = list(filter(_is_text, sessions))
        answers = await self._ask(function, [], sessions=_rows(asked), **arguments)
        known = dict(zip(asked, answers, strict=True))
        return [known.get(key, nothing) for key in sessions]

    def _check_open(self) -> None:
        if not self._opened or self._closing is not None:
            raise StoreClosed("the store is not open")


def check_schema(schema: Schema) -> None:
    """Raise StoreUnavailable, with advice for the operator, when this server must not work with the schema."""
    if schema.version < SCHEMA_VERSION:
        raise StoreUnavailable(
            f"its schema {schema.version} is older than this server's {SCHEMA_VERSION}: apply the migrations"
        )
    if (refusal := schema.refusal(SCHEMA_VERSION)) is not None:
        raise StoreUnavailable(refusal)


def _write_row(write: Write) -> dict[str, object]:
    """A write in the format of rejoinder_commit_v1. Raises InvalidWrite."""
    check_write(write)
    update = write.update
    return {
        "session_id": write.session_id,
        "user_id": write.user_id,
        "client_id": write.client_id,
        "expected_version": write.expected_version,
        "visible": count_visible(write.events),
        "events": event_rows([(write.session_id, write.events)]),
        "update": update
        and {
            "workflow": update.workflow,
            "state": update.state,
            "cursor": update.cursor,
            "memory": None if update.memory is None else encode(update.memory),
            "card": update.card,
        },
    }


def _outcome_of(write: Write, row: Sequence[Any]) -> Outcome:
    """The outcome of a write from the result of rejoinder_commit_v1."""
    match row:
        case ["committed", version, first, times]:
            placed = zip(write.events, range(first, first + len(times)), times, strict=True)
            return Committed(tuple(_placed(event, seq, time) for event, seq, time in placed), version)
        case ["duplicate", event]:
            return Duplicate(event_of(event))
        case ["conflict", version]:
            return Conflict(version)
        case ["missing"]:
            return Missing()
        case ["failed", code]:
            return Failed(code)
    raise StoreUnavailable("the database gave an outcome that this server does not know")


def _placed(event: Event, seq: int, created_at: int) -> Event:
    turn = seq if event.role == "user" else event.turn
    return structs.replace(event, seq=seq, created_at=created_at, turn=turn)


def _are_text(*names: str) -> bool:
    """Whether a database can store these names: none holds a NUL or a lone surrogate."""
    text = "".join(names)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _int8(number: int) -> int:
    """The nearest int8 of the database: a client may send any integer."""
    return max(-_INT8_MAX, min(number, _INT8_MAX))


def _int4(number: int) -> int:
    """The nearest number of 0 or more that fits into an int4 of the database."""
    return max(0, min(number, _INT4_MAX))


def _is_text(key: SessionKey) -> bool:
    return _are_text(*key)


def _rows(sessions: Iterable[SessionKey]) -> list[list[str]]:
    """Sessions in the format of the functions: rows of session id and owner."""
    return [[key.session_id, key.user_id] for key in sessions]
