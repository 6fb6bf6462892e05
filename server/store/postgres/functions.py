"""The Store contract over functions in a PostgreSQL database: JSON in, JSON out, one call a transaction.

What differs between a driver and an HTTP API is how a function is called: `_call`. The functions, and the form of what
goes in and comes out of them, are in `migrations/`.
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
        """Make `_call` possible. Raises StoreUnavailable."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Wait for the calls that were begun, and let go of everything. Called once."""

    @abstractmethod
    async def _call(self, function: str, arguments: Mapping[str, object]) -> Any:
        """Call `public.function` with its arguments by name: str, int or what `json` takes; decoded JSON comes back.

        Raises InvalidWrite for what concerns the arguments alone, StoreUnavailable for everything else.
        """

    async def open(self) -> None:
        """Connect, and see that the schema is one for this server. Raises StoreUnavailable."""
        if self._closing is not None:
            raise StoreClosed("the store is closed")
        await self._connect()
        check_schema(Schema(**await self._call("rejoinder_schema_v1", {})))
        self._opened = True

    async def close(self) -> None:
        """Finish what was asked for and disconnect; a second call waits for the same end."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._disconnect())
        await asyncio.shield(self._closing)

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """One transaction for the batch, one outcome a write."""
        self._check_open()
        rows = [_write_row(write) for write in writes]
        outcomes = await self._call("rejoinder_commit_v1", {"writes": rows})
        return [_outcome_of(write, row) for write, row in zip(writes, outcomes, strict=True)]

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """Snapshot, page and inbox of one moment."""
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
        """Take or renew leases: whether each is the holder's now."""
        return await self._ask_of_each("rejoinder_hold_v1", False, sessions, who=holder, ttl_ms=_int4(ttl_ms))

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End leases of the holder."""
        await self._ask("rejoinder_release_v1", None, sessions=_rows(filter(_is_text, sessions)), who=holder)

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """What took effect under a client's id."""
        row = await self._ask("rejoinder_find_v1", None, session=key.session_id, owner=key.user_id, client=client_id)
        return None if row is None else event_of(row)

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event behind the address of a published page."""
        row = await self._ask("rejoinder_published_v1", None, message=message_id, kind=type)
        return None if row is None else event_of(row)

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """Sessions that wait for an answer since `before_ms`, oldest first."""
        rows = await self._ask("rejoinder_pending_v1", [], before_ms=_int8(before_ms), page=_int4(limit))
        return [SessionKey(user_id=user_id, session_id=session_id) for session_id, user_id in rows]

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session and its log."""
        gone: bool = await self._ask("rejoinder_delete_v1", False, session=key.session_id, owner=key.user_id)
        return gone

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        rows = await self._ask("rejoinder_list_v1", [], owner=user_id, page=_int4(limit))
        return [Summary(*row) for row in rows]

    async def _ask(self, function: str, nothing: Any, **arguments: object) -> Any:
        """What the function says; `nothing` when it is asked for an id that no database keeps."""
        self._check_open()
        if not _are_text(*(argument for argument in arguments.values() if isinstance(argument, str))):
            return nothing
        return await self._call(function, arguments)

    async def _ask_of_each(
        self, function: str, nothing: T, sessions: Sequence[SessionKey], **arguments: object
    ) -> Sequence[T]:
        """One answer for each session; `nothing` for one that no database keeps."""
        asked = list(filter(_is_text, sessions))
        answers = await self._ask(function, [], sessions=_rows(asked), **arguments)
        known = dict(zip(asked, answers, strict=True))
        return [known.get(key, nothing) for key in sessions]

    def _check_open(self) -> None:
        if not self._opened or self._closing is not None:
            raise StoreClosed("the store is not open")


def check_schema(schema: Schema) -> None:
    """Raises StoreUnavailable, saying what to do, when this server must not work with the schema."""
    if schema.version < SCHEMA_VERSION:
        raise StoreUnavailable(
            f"its schema {schema.version} is older than this server's {SCHEMA_VERSION}: apply the migrations"
        )
    if (refusal := schema.refusal(SCHEMA_VERSION)) is not None:
        raise StoreUnavailable(refusal)


def _write_row(write: Write) -> dict[str, object]:
    """A write as rejoinder_commit_v1 takes it. Raises InvalidWrite."""
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
    """The outcome that rejoinder_commit_v1 gave a write."""
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
    """Whether a database can keep these: none holds a NUL or a lone surrogate."""
    text = "".join(names)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _int8(number: int) -> int:
    """The nearest whole number that the database knows: clients may ask for what is behind any."""
    return max(-_INT8_MAX, min(number, _INT8_MAX))


def _int4(number: int) -> int:
    """The nearest number that a count, or a time in ms, can be."""
    return max(0, min(number, _INT4_MAX))


def _is_text(key: SessionKey) -> bool:
    return _are_text(*key)


def _rows(sessions: Iterable[SessionKey]) -> list[list[str]]:
    """Sessions as the functions take them: rows of the id and its owner."""
    return [[key.session_id, key.user_id] for key in sessions]
