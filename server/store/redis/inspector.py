"""Reads a Redis server with scripts that write nothing; each call is consistent in itself."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from msgspec import Raw, Struct

from server.errors import SessionUnreadable, StoreUnavailable
from server.records import Event, SessionKey, Snapshot
from server.store.inspect.contract import OWNERS_LIMIT, PAGE_LIMIT, Damaged
from server.store.inspect.remote import Page
from server.store.redis.rows import event_of, snapshot_from
from server.store.redis.scripts import RedisScripts, script
from server.store.redis.store import PREFIX, SCHEMA

_INSPECT: Final = script("inspect.lua")
_OWNERS: Final = script("owners.lua")
#: How many keys one step of the search for owners scans.
_KEYS: Final = 1_000
#: The columns by which a session differs from a later one with the same id.
_USER_ID, _CREATED_AT = 0, 10
#: The exceptions of decoding a damaged text.
_DAMAGES: Final = (SessionUnreadable, ValueError, RecursionError)

_decoder = msgspec.msgpack.Decoder(str | bool)


class _Answer(Struct, array_like=True):
    """The script's answer. Stored texts are decoded later, one by one, so that a damaged one hides no other."""

    schema: str | bool
    session_type: str
    columns: list[Raw]
    lease_ms: int
    log_type: str
    length: int
    events: list[Raw]


class RedisSource:
    """One connection to the server of a `redis://` URL; `timeout_ms` is how long each call may take.

    The server's durability is not required: reading loses no data. Raises ConfigError for a wrong URL.
    """

    def __init__(self, url: str, *, timeout_ms: int = 10_000, prefix: str = PREFIX) -> None:
        self._scripts = RedisScripts(_unasked(url), timeout_ms=timeout_ms, connections=1)
        self._prefix = prefix

    async def open(self) -> None:
        """The first call connects."""

    async def close(self) -> None:
        """Disconnect."""
        await self._scripts.close()

    async def owners(self, session_id: str) -> Sequence[str]:
        """The users who own a session with this id, at most OWNERS_LIMIT. Scans all keys: none has the id alone."""
        found: set[str] = set()
        cursor = ""
        while cursor != "0" and len(found) < OWNERS_LIMIT:
            asked = (self._prefix, session_id, cursor or "0", _KEYS)
            schema, cursor, owners = await self._scripts.call(_OWNERS, tuple[str | bool, str, list[str]], *asked)
            _check_schema(schema)
            found.update(owners)
        return sorted(found)[:OWNERS_LIMIT]

    async def page(self, key: SessionKey, after: int) -> Page:
        """The session, and the page of its log after `after`. An event's place is its position in the list."""
        session_id, after = key.session_id, max(after, 0)
        said = await self._scripts.call(_INSPECT, _Answer, self._prefix, *key, after, PAGE_LIMIT)
        _check_schema(said.schema)
        events = [(place, _event(session_id, place, text)) for place, text in enumerate(said.events, after + 1)]
        if said.log_type not in ("list", "none"):
            events = [(1, Damaged(1, f"the log is a {said.log_type}, not a list"))]
        return Page(
            is_same=[bytes(said.columns[place]) for place in (_USER_ID, _CREATED_AT)] if said.columns else None,
            snapshot=_snapshot(key, said.session_type, said.columns),
            lease_ms=said.lease_ms if said.lease_ms > 0 else None,
            last=said.length or len(events),
            events=events,
        )


def _check_schema(schema: str | bool) -> None:
    if schema is False:
        raise StoreUnavailable("no server has kept conversations in it yet, or it was emptied")
    if schema != str(SCHEMA):
        raise StoreUnavailable(f"it has schema {schema}, and this program reads {SCHEMA}: use the server's own")


def _unasked(url: str) -> str:
    """The URL with the option `durability=weak`."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"durability": "weak"}
    return parts._replace(query=urlencode(options)).geturl()


def _snapshot(key: SessionKey, kind: str, columns: Sequence[Raw]) -> Snapshot | Damaged | None:
    if kind == "none":
        return None
    if kind != "hash":
        return Damaged(0, f"the session is a {kind}, not a hash")
    try:
        user_id, *rest = map(_decoder.decode, columns)
        if isinstance(user_id, bool):
            return Damaged(0, "it lacks its user_id")
        return snapshot_from(key.session_id, user_id, rest)
    except _DAMAGES as error:
        return Damaged(0, str(error))


def _event(session_id: str, place: int, packed: Raw) -> Event | Damaged:
    try:
        return event_of(session_id, str(_decoder.decode(packed)))
    except _DAMAGES as error:
        return Damaged(place, str(error))
