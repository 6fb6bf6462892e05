"""A stand-in for PostgREST, for machines that cannot have one: it translates HTTP to SQL and nothing more.

Roles, rights, claims, policies, types, defaults and JSON are PostgreSQL's own, as with the real one; what the author
believes about the real one's HTTP is held against it by one set of tests that runs over both (test_postgrest.py).
It knows calls of functions by POST, and of tables `select`, `order`, `limit` and `eq` filters, inserts, updates and
deletes. It has no embedding, ranges, counts, `Prefer`, overrides of the response, settings of roles, and does not
repeat a transaction for ever when a function raises 40001.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg  # type: ignore[import-untyped]
import jwt
from aiohttp import web

from tests.services.loop_thread import LoopThread

CONNECTIONS: Final = 10
LEEWAY_S: Final = 30
ROWS_LIMIT: Final = 1000
UNAVAILABLE: Final = web.HTTPServiceUnavailable.status_code
#: By the beginning of the SQLSTATE, the longest that fits; what is not here is 400.
STATUS: Final = {
    **dict.fromkeys(("08", "53"), UNAVAILABLE),
    **dict.fromkeys(("09", "25", "2D", "38", "39", "3B", "40", "55", "57", "58", "F0", "HV", "P0", "XX"), 500),
    "54": 413,
    **dict.fromkeys(("0L", "0P", "28", "42501"), 403),
    **dict.fromkeys(("23503", "23505"), 409),
    **dict.fromkeys(("42883", "42P01"), 404),
    "25006": 405,
    **dict.fromkeys(("57P01", "57P03"), UNAVAILABLE),
    "P0001": 400,
}
FUNCTIONS: Final = """
    select p.proname as name, p.provolatile = 'v'::"char" as writes, p.proretset as has_rows,
           p.prorettype = 'void'::regtype as is_void, p.pronargdefaults::int as defaults,
           coalesce(p.proargnames, '{}') as names,
           array(select pg_catalog.format_type(t, null) from unnest(p.proargtypes) t)::text[] as types
    from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace
"""
CONTEXT: Final = """
    select set_config('search_path', '"public", "public", "extensions"', true), set_config('role', $1, true),
           set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true),
           set_config('request.path', $4, true), set_config('request.headers', $5, true),
           set_config('request.cookies', '{}', true)
"""


class Function(NamedTuple):
    """A signature. The last `defaults` arguments may be left out."""

    name: str
    writes: bool
    has_rows: bool
    is_void: bool
    defaults: int
    arguments: dict[str, str]

    def takes(self, keys: set[str]) -> bool:
        """Whether it can be called with just these arguments."""
        required = list(self.arguments)[: len(self.arguments) - self.defaults]
        return keys <= self.arguments.keys() and keys >= set(required)


class Query(NamedTuple):
    """What a request amounts to. `status` is that of its success."""

    sql: str
    status: int
    writes: bool
    parameters: tuple[str, ...] = ()


class Refused(Exception):
    """The request does not get as far as the database."""

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.response = _error(status, code, message, hint=hint)


class NoSuchPath(Exception):
    """The path is neither that of a table nor that of a function."""


class PostgrestStandIn:
    """Serves on the unix socket `socket`; the same object can be started again after it was killed."""

    name = "a stand-in"

    def __init__(self, folder: Path, dsn: str, secret: str) -> None:
        self.socket = folder / "rest.sock"
        self._dsn = dsn
        self._secret = secret
        self._functions: list[Function] = []
        self._thread: LoopThread | None = None
        self._runner: web.AppRunner | None = None
        self._pool: Any = None
        self._reads: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Returns when it has read the schema and answers."""
        self._thread = LoopThread("postgrest-standin")
        self._thread.run(self._open())

    def kill(self) -> None:
        """Cut every connection, before and behind."""
        if self._thread is not None:
            self._thread.run(self._close())
            self._thread.close()
            self._thread = None

    async def _open(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=1, max_size=CONNECTIONS + 1, statement_cache_size=0, ssl=False
        )
        self._listener = await self._pool.acquire()
        await self._listener.add_listener("pgrst", lambda *_: self._reload())
        await self._read_schema()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def _close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        self._pool.terminate()

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._read_schema())
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _read_schema(self) -> None:
        rows = await self._pool.fetch(FUNCTIONS)
        self._functions = [
            Function(
                row["name"],
                row["writes"],
                row["has_rows"],
                row["is_void"],
                row["defaults"],
                dict(zip(row["names"], row["types"], strict=False)),
            )
            for row in rows
        ]

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            claims = self._claims(request.headers.get("Authorization"))
            query = self._query(request, await request.text())
            return await self._execute(query, claims, request)
        except Refused as refused:
            return refused.response
        except NoSuchPath:
            return web.json_response({}, status=404)

    def _claims(self, authorization: str | None) -> dict[str, Any]:
        if authorization is None or not authorization.lower().startswith("bearer "):
            return {"role": "anon"}
        try:
            claims = jwt.decode(
                authorization[7:],
                self._secret,
                algorithms=["HS256"],
                leeway=LEEWAY_S,
                options={"verify_aud": False, "verify_sub": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise Refused(401, "PGRST301", "JWT expired") from error
        except jwt.InvalidTokenError as error:
            raise Refused(401, "PGRST301", "JWSError") from error
        return {"role": "anon", **claims}

    def _query(self, request: web.Request, body: str) -> Query:
        name = request.path.removeprefix("/")
        if name.startswith("rpc/"):
            if request.method != "POST":
                raise Refused(405, "PGRST101", "Cannot use that method on RPC")
            return self._call(name.removeprefix("rpc/"), body)
        if "/" in name:
            raise NoSuchPath
        where = " and ".join(_filters(request.query)) or "true"
        table = f"public.{_name(name)}"
        match request.method:
            case "GET":
                return _select(table, where, request.query)
            case "POST":
                columns = _columns(body)
                rows = f"select {columns} from json_populate_recordset(null::{table}, $1::json)"
                listed = body if isinstance(_json(body), list) else f"[{body}]"
                return Query(f"insert into {table} ({columns}) {rows}", 201, True, (listed,))
            case "PATCH":
                columns = _columns(body)
                row = f"(select {columns} from json_populate_record(null::{table}, $1::json))"
                return Query(f"update {table} set ({columns}) = {row} where {where}", 204, True, (body,))
            case "DELETE":
                return Query(f"delete from {table} where {where}", 204, True)
        raise Refused(405, "PGRST117", "Unsupported HTTP method")

    def _call(self, name: str, body: str) -> Query:
        given = _json(body or "{}")
        if not isinstance(given, dict):
            raise Refused(400, "PGRST102", "Empty or invalid json")
        function = next((each for each in self._functions if each.name == name and each.takes(set(given))), None)
        if function is None:
            raise Refused(404, "PGRST202", f"Could not find the function public.{name} in the schema cache")
        types = ", ".join(f"{_name(argument)} {function.arguments[argument]}" for argument in given)
        source = f"from json_to_record($1::json) as a({types})" if given else ""
        call = f"public.{_name(name)}({', '.join(f'{_name(argument)} := a.{_name(argument)}' for argument in given)})"
        if function.has_rows:
            rows = f"select r {source}, lateral {call} r" if given else f"select r from {call} r"
            sql = f"select coalesce(json_agg(t.r), '[]')::text from ({rows} limit {ROWS_LIMIT}) t"
        elif function.is_void:
            sql = f"select {call} {source}"
        else:
            sql = f"select coalesce(to_json({call})::text, 'null') {source}"
        return Query(sql, 204 if function.is_void else 200, function.writes, (body,) if given else ())

    async def _execute(self, query: Query, claims: Mapping[str, Any], request: web.Request) -> web.Response:
        headers = json.dumps({name.lower(): value for name, value in request.headers.items()})
        context = (str(claims["role"]), json.dumps(claims), request.method, request.path, headers)
        try:
            async with (
                self._pool.acquire(timeout=10) as connection,
                connection.transaction(isolation="read_committed", readonly=not query.writes),
            ):
                await connection.fetch(CONTEXT, *context)
                text = await connection.fetchval(query.sql, *query.parameters)
        except asyncpg.PostgresError as error:
            status = _status(error.sqlstate, is_anon=claims["role"] == "anon")
            return _error(status, error.sqlstate, error.message, details=error.detail, hint=error.hint)
        except (OSError, TimeoutError, asyncpg.InterfaceError):  # the database is away
            return _error(UNAVAILABLE, "PGRST000", "Database connection error. Retrying the connection.")
        if query.status != web.HTTPOk.status_code:
            return web.Response(status=query.status)
        return web.Response(status=query.status, text=text, content_type="application/json")


def _select(table: str, where: str, asked: Mapping[str, str]) -> Query:
    columns = ", ".join(map(_name, asked["select"].split(","))) if asked.get("select", "*") != "*" else "*"
    order = ""
    if "order" in asked:
        terms = (term.split(".") for term in asked["order"].split(","))
        order = "order by " + ", ".join(
            f"{_name(column)} {'desc' if 'desc' in how else 'asc'}" for column, *how in terms
        )
    limit = min(int(asked.get("limit", ROWS_LIMIT)), ROWS_LIMIT)
    rows = f"select {columns} from {table} where {where} {order} limit {limit}"
    return Query(f"select coalesce(json_agg(t), '[]')::text from ({rows}) t", 200, False)


def _filters(asked: Mapping[str, str]) -> Iterator[str]:
    for column, condition in asked.items():
        if column in ("select", "order", "limit"):
            continue
        operator, _, value = condition.partition(".")
        if operator != "eq":
            raise Refused(400, "PGRST100", "the stand-in knows `eq` only")
        quoted = value.replace("'", "''")
        yield f"{_name(column)} = '{quoted}'"


def _columns(body: str) -> str:
    given = _json(body)
    first = given[0] if isinstance(given, list) and given else given
    if not isinstance(first, dict) or not first:
        raise Refused(400, "PGRST102", "Empty or invalid json")
    return ", ".join(map(_name, first))


def _json(body: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(body)
    raise Refused(400, "PGRST102", "Empty or invalid json")


def _name(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _status(code: str, *, is_anon: bool) -> int:
    if code == "42501" and is_anon:
        return 401
    if code.startswith("PT") and code[2:].isdigit():
        return int(code[2:])
    return next((STATUS[code[:length]] for length in (5, 2) if code[:length] in STATUS), 400)


def _error(
    status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None
) -> web.Response:
    body = {"code": code, "details": details, "hint": hint, "message": message}
    headers = {"WWW-Authenticate": "Bearer"} if status == web.HTTPUnauthorized.status_code else {}
    return web.json_response(body, status=status, headers=headers)
