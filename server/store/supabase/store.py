"""The store in a Supabase project, through its Data API: each method of the contract calls one function.

PostgREST runs each call as one transaction, and one call commits a whole batch. A large batch is not split: if the
second part failed, the first would be committed already, and the contract does not allow that. PostgREST's limit of
1,000 rows an answer does not matter: every function returns one JSON value, which is one row.

This store never sends a call twice. When an answer is lost, the call may have been executed: the store raises
StoreUnavailable, and `GroupCommit` looks up the outcome.

The client is the official one, over aiohttp: it speaks HTTP/1.1, where a connection that ends takes one call with it
(over HTTP/2 the server may recycle a connection with many in flight: of those that failed, half had been committed),
and it costs the event loop half of what httpx's own transport does (measured: 1.2 ms a call against 2.1 ms, and with
eight at once 1.1 against 2.0 or more). Only `rpc` of it is used: its `auth` would change who it speaks for.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from server.errors import ConfigError, InvalidWrite, StoreError, StoreUnavailable
from server.store.postgres.functions import FunctionStore

PAGE: Final = "docs/supabase.md"
#: Idle connections are let go before the other end does it: a call that meets its close would have no answer.
_KEEPALIVE_S: Final = 20.0
_WRITES: Final = frozenset({"rejoinder_commit_v1", "rejoinder_delete_v1"})
#: The HTTP status of the answer to the call that this task has made: APIError does not have it.
_status: ContextVar[int] = ContextVar("status")

_KEY: Final = (
    "it does not take SUPABASE_SERVICE_KEY: give it the secret key (sb_secret_) or the service_role key of the project"
    " at SUPABASE_URL"
)
_RIGHTS: Final = (
    "SUPABASE_SERVICE_KEY may not call our functions: it is not a secret (service_role) key, or the migrations did not"
    " run to their end"
)
_MIGRATE: Final = "our tables and functions are not there: run the migrations"
_ADDRESS: Final = "there is no Data API: SUPABASE_URL is like https://REF.supabase.co, with nothing behind it"
_EXPOSE: Final = "its Data API does not expose the schema public: the project's settings do that"
_PAUSED: Final = "the project is paused or restricted: its dashboard says why"
#: Codes of PostgreSQL and PostgREST, and HTTP statuses where the answer has no code: a gateway gave it.
_MEANS: Final = {
    **dict.fromkeys(("401", "403", "PGRST301", "PGRST302", "PGRST303"), _KEY),
    "42501": _RIGHTS,
    **dict.fromkeys(("PGRST202", "PGRST203", "42883", "42P01"), _MIGRATE),
    **dict.fromkeys(("404", "PGRST125"), _ADDRESS),
    "PGRST106": _EXPOSE,
    **dict.fromkeys(("402", "540"), _PAUSED),
}
#: Trying these again cannot help: they are about what was to be written. 413: it is too large for the gateway.
_INVALID: Final = re.compile(r"(22|23|54)...|413")


class SupabaseStore(FunctionStore):
    """Sessions behind the Data API at `url`, reached with the project's secret key.

    `timeout_ms` is how long a call may take, including the wait for a free place. At most `calls` (2 or more) run at
    once: one place is for writes, so that a commit does not wait for reads, and the others are for reads.
    Raises ConfigError for a key that is made for browsers.
    """

    durability = "process and system crash (PostgreSQL at Supabase)"

    def __init__(self, url: str, service_key: str, *, timeout_ms: int = 10_000, calls: int = 4) -> None:
        super().__init__()
        if (complaint := _complaint(service_key)) is not None:
            raise ConfigError([complaint])
        self._url = url
        self._key = service_key
        self._timeout_ms = timeout_ms
        self._calls = calls
        self._writing = asyncio.Semaphore(1)
        self._reading = asyncio.Semaphore(calls - 1)
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Connect, and see that the key and the schema are right. Raises StoreUnavailable, saying what to mend."""
        try:
            await super().open()
        except StoreUnavailable:
            await self._disconnect()
            raise

    async def _connect(self) -> None:
        limits = httpx.Limits(max_connections=self._calls, keepalive_expiry=_KEEPALIVE_S)
        # No timeouts of its own: the deadline of each call is in `_call`, and a call that misses it takes its
        # connection with it, so that no answer can come to the wrong call.
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(limits=limits), timeout=None, event_hooks={"response": [_inspect]}
        )
        options = AsyncClientOptions(
            httpx_client=self._http, persist_session=False, auto_refresh_token=False, postgrest_client_retry=False
        )
        self._client: AsyncClient = await acreate_client(self._url, self._key, options)

    async def _disconnect(self) -> None:
        async with contextlib.AsyncExitStack() as places:
            if self._http is not None:
                places.push_async_callback(self._http.aclose)  # also when the wait for the calls is given up
            # They are given in the order they were asked for: a caller that has them all has waited for every call.
            for place in (self._writing, *[self._reading] * (self._calls - 1)):
                await places.enter_async_context(place)

    async def _call(self, function: str, arguments: Mapping[str, object]) -> Any:
        place = self._writing if function in _WRITES else self._reading
        try:
            async with asyncio.timeout(self._timeout_ms / 1000), place:
                answer = (await self._client.rpc(function, dict(arguments)).execute()).data
        except APIError as error:
            # PostgREST 12 gives no code, and 400, when it loses its database: the outcome is unknown.
            code = error.code or str(_status.get())
        except TimeoutError:
            raise StoreUnavailable(f"Supabase did not answer within {self._timeout_ms} ms") from None
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: no JSON, no UTF-8
            raise StoreUnavailable(f"Supabase cannot be reached: {str(error) or type(error).__name__}") from error
        else:
            if isinstance(answer, str):  # the text of what was no JSON: none of our functions returns a text
                raise StoreUnavailable("Supabase answered what is no JSON")
            return answer
        # Out here the APIError is gone: its details hold rows, with what users wrote, and a log would show them.
        raise _refusal(code)


async def _inspect(response: httpx.Response) -> None:
    """Look at every answer before the client does. A page of some proxy is none, whatever its status says (L9)."""
    _status.set(response.status_code)
    is_json = response.headers.get("content-type", "").startswith("application/json")
    if response.is_success and not (is_json and await response.aread()):
        raise StoreUnavailable(f"Supabase answered {response.status_code} without JSON")


def _refusal(code: str) -> StoreError:
    """What to raise for a code; never by the message, which may hold what was to be written."""
    if _INVALID.fullmatch(code):
        return InvalidWrite(f"Supabase refused what was to be written: {code}")
    means = f": {_MEANS[code]}; see {PAGE}" if code in _MEANS else ""
    return StoreUnavailable(f"Supabase answered {code if code.isalnum() else 'an error'}{means}")


def _complaint(key: str) -> str | None:
    """Why this cannot be the secret key, if that can be seen without asking."""
    role = "publishable" if key.startswith("sb_publishable_") else _role(key)
    if role not in ("publishable", "anon", "authenticated"):
        return None
    return (
        f"SUPABASE_SERVICE_KEY=***: this is the {role} key, which is for browsers; expected the secret key"
        f" (sb_secret_…) or the service_role key; see {PAGE}"
    )


def _role(key: str) -> str | None:
    """The role that a key in the form of a token (JWT) claims, unchecked; None for any other key."""
    _, _, rest = key.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims.get("role") if isinstance(claims, dict) else None
