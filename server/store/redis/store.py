"""Redis as a store of its own: every call is one Lua script, and a batch is one script, too.

Redis runs one script at a time, so a script is a transaction. Redis appends a script's writes to the append-only file
as one unit, and with `appendfsync always` syncs them before it answers. The store refuses a less durable server, at
every new connection, unless the URL has `?durability=weak`; `durability` then says which writes may be lost.
"""

from collections.abc import Sequence
from typing import Final

from server.errors import StoreClosed, StoreUnavailable
from server.records import Event, Loaded, Outcome, SessionKey, Summary, Write, check_write, is_line
from server.store.redis.migrate import MOVING, OLD, migrate
from server.store.redis.rows import clamp, event_of, outcome, page_of, snapshot_from, write_row
from server.store.redis.scripts import RedisScripts, script

#: The version of the layout of the keys, and the prefix of each key.
SCHEMA: Final = 2
PREFIX: Final = "rejoinder:"
_WRITE: Final = script("store.lua")
_READ: Final = script("read.lua")

_Page = list[str]
_Found = list[str]  # one or none
_Loaded = list[tuple[list[str | bool], _Page, _Page]]  # one or none
_Published = list[list[str]]  # one or none: the id of its session, the event
_Outcomes = list[list[str | int]]
_Summaries = list[tuple[str, tuple[str, str, str, str, str]]]


class RedisStore:
    """Sessions in one Redis server, 6.2 or later; no cluster.

    `url` is redis://, rediss:// or unix://, with the options `db`, `ssl_…` and `durability=weak` only. `timeout_ms` is
    how long a call may take; at most `connections` calls run at once and others wait. Every key begins with `prefix`.
    Raises ConfigError for a wrong URL.
    """

    def __init__(self, url: str, *, timeout_ms: int = 10_000, connections: int = 8, prefix: str = PREFIX) -> None:
        self._scripts = RedisScripts(url, timeout_ms=timeout_ms, connections=connections)
        self._prefix = prefix
        self._opened = False

    @property
    def durability(self) -> str:
        """Which failures a commit survives, by the server's settings at the last new connection."""
        return self._scripts.durability

    async def open(self) -> None:
        """Check the server's durability, migrate its keys, and try every command. Raises StoreUnavailable."""
        try:
            await self._try_everything()
        except StoreUnavailable as error:
            await self._scripts.disconnect()
            raise StoreUnavailable(f"cannot open the Redis store: {error}") from error
        self._opened = True

    async def close(self) -> None:
        """Finish the calls that were made, then disconnect. A second call waits for the first."""
        await self._scripts.close()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Commit the batch with one script; returns one outcome per write.

        Raises InvalidWrite before the script is sent, and StoreUnavailable when nothing was written or the outcome is
        unknown.
        """
        for write in writes:
            check_write(write)
        rows = [write_row(write) for write in writes]
        answers = await self._open().call(_WRITE, _Outcomes, "commit", self._prefix, rows)
        return [outcome(write, answer) for write, answer in zip(writes, answers, strict=True)]

    async def load(self, key: SessionKey, after: int, limit: int) -> Loaded | None:
        """Snapshot, page and inbox from one script."""
        asked = (*key, clamp(after), clamp(limit))
        found = await self._open().call(_READ, _Loaded, "load", self._prefix, *asked)
        if not found:
            return None
        columns, page, waiting = found[0]
        snapshot = snapshot_from(key.session_id, key.user_id, columns)
        inbox = filter(is_line, page_of(key.session_id, waiting, snapshot.cursor))
        return Loaded(snapshot, tuple(page_of(key.session_id, page, clamp(after))), tuple(inbox))

    async def read(self, key: SessionKey, after: int, limit: int) -> list[Event]:
        """A page of the log."""
        asked = (*key, clamp(after), clamp(limit))
        page = await self._open().call(_READ, _Page, "read", self._prefix, *asked)
        return page_of(key.session_id, page, clamp(after))

    async def heads(self, sessions: Sequence[SessionKey]) -> list[int]:
        """The last `seq` of each session, 0 for one that does not exist or has another owner."""
        return await self._open().call(_READ, list[int], "heads", self._prefix, sessions)

    async def hold(self, sessions: Sequence[SessionKey], holder: str, ttl_ms: int) -> Sequence[bool]:
        """Take or renew leases; returns for each whether `holder` has it now."""
        return await self._open().call(_WRITE, list[bool], "hold", self._prefix, sessions, holder, ttl_ms)

    async def release(self, sessions: Sequence[SessionKey], holder: str) -> None:
        """End leases of the holder."""
        await self._open().call(_WRITE, bool, "release", self._prefix, sessions, holder)

    async def find(self, key: SessionKey, client_id: str) -> Event | None:
        """The event that was stored with this client id, or None."""
        found = await self._open().call(_READ, _Found, "find", self._prefix, *key, client_id)
        return event_of(key.session_id, found[0]) if found else None

    async def published(self, message_id: str, type: str) -> Event | None:
        """The event of a published page, or None."""
        found = await self._open().call(_READ, _Published, "published", self._prefix, message_id)
        event = event_of(*found[0]) if found else None
        return event if event is not None and event.type == type else None

    async def pending(self, before_ms: int, limit: int) -> list[SessionKey]:
        """Sessions that wait for an answer since `before_ms`, oldest first."""
        asked = (clamp(before_ms), clamp(limit))
        return await self._open().call(_READ, list[SessionKey], "pending", self._prefix, *asked)

    async def delete(self, key: SessionKey) -> bool:
        """Remove a session, its log, its client ids and its pages."""
        return await self._open().call(_WRITE, bool, "delete", self._prefix, *key)

    async def _try_everything(self) -> None:
        found = await self._scripts.call(_WRITE, int, "open", self._prefix, SCHEMA)
        if found in (OLD, MOVING):
            await migrate(self._scripts, self._prefix)
            found = await self._scripts.call(_WRITE, int, "open", self._prefix, SCHEMA)
        if found != SCHEMA:
            raise StoreUnavailable(f"its schema {found} is not this server's {SCHEMA}")

    def _open(self) -> RedisScripts:
        if not self._opened:
            raise StoreClosed("the store is not open")
        return self._scripts

    async def list(self, user_id: str, limit: int) -> Sequence[Summary]:
        """The user's sessions, latest first."""
        found = await self._open().call(_READ, _Summaries, "list", self._prefix, user_id, clamp(limit))
        return [
            Summary(session_id, user_id, workflow, state, *map(int, numbers))
            for session_id, (workflow, state, *numbers) in found
        ]
