"""Reads a PostgreSQL database in one transaction that cannot write and sees one moment.

It asks less of the database than a server does: one that takes no writes, for its disk is full, can be looked into.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]
import msgspec

from server.errors import StoreUnavailable
from server.records import SessionKey
from server.store.inspect.remote import INSPECT, OWNERS, Page, function_arguments, function_page, owners_arguments
from server.store.postgres.functions import check_schema
from server.store.schema import Schema

_FAREWELL_S: Final = 1.0
_FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
_KNOWN: Final = "select to_regprocedure('public.rejoinder_schema_v1()') is not null"


class PostgresSource:
    """One connection to the database of a `postgresql://` URL; `timeout_ms` is how long each call may take."""

    def __init__(self, dsn: str, *, timeout_ms: int = 10_000) -> None:
        self._dsn = dsn
        self._timeout_ms = timeout_ms
        self._connection: asyncpg.Connection | None = None

    async def open(self) -> None:
        """Connect, begin, and see that the schema is one for this program. Raises StoreUnavailable."""
        async with _told(self._timeout_ms):
            self._connection = await asyncpg.connect(self._dsn, statement_cache_size=0)
            await self._connection.execute("begin transaction isolation level repeatable read, read only")
            is_known = await self._connection.fetchval(_KNOWN)
        if not is_known:
            raise StoreUnavailable("it has no tables of Rejoinder: apply the migrations (python -m server migrate)")
        check_schema(Schema(**await self._call("rejoinder_schema_v1", {})))

    async def close(self) -> None:
        """Leave; the transaction ends with the connection."""
        if self._connection is not None:
            try:
                await self._connection.close(timeout=_FAREWELL_S)
            except _FAULTS:
                self._connection.terminate()

    async def owners(self, session_id: str) -> Sequence[str]:
        """Who has a session of this id."""
        owners: list[str] = await self._call(OWNERS, owners_arguments(session_id))
        return owners

    async def page(self, key: SessionKey, after: int) -> Page:
        """The session, and a page of its log."""
        return function_page(await self._call(INSPECT, function_arguments(key, after)))

    async def _call(self, function: str, arguments: Mapping[str, object]) -> Any:
        assert self._connection is not None
        names = ", ".join(f"{name} => ${place}" for place, name in enumerate(arguments, 1))
        async with _told(self._timeout_ms):
            said = await self._connection.fetchval(f"select public.{function}({names})", *arguments.values())
        return msgspec.json.decode(said)


@contextlib.asynccontextmanager
async def _told(timeout_ms: int) -> AsyncIterator[None]:
    """Whatever goes wrong is a StoreUnavailable; nothing in it quotes a row, or an address with its password."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"it did not answer within {timeout_ms} ms") from None
    except asyncpg.PostgresError as error:
        raise StoreUnavailable(f"{error.args[0]} ({error.sqlstate})") from error
    except ValueError as error:
        raise StoreUnavailable(f"its address cannot be used: {type(error).__name__}") from None
    except _FAULTS as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
