"""Migrates a PostgreSQL database to the server's schema with the files of `migrations/`, in the order of their names.

- One transaction applies all missing files and adds a row for each to `rejoinder_migrations`. If it breaks, the
  database keeps the old schema.
- A lock of this transaction makes other migrations wait, which then find no missing file. A session lock would not
  work behind a pooler that may give each transaction another server connection.
- Every file can run again. So if a file was pasted into the database by hand, the migration simply runs it again.
- An applied file is never edited: the table has its checksum.
"""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]
import msgspec

from server.errors import StoreUnavailable
from server.store.postgres.functions import SCHEMA_VERSION
from server.store.schema import Schema

#: How long to wait for the migration of another process.
LOCK_WAIT_MS: Final = 60_000
#: How long a migration waits for a table that is in use. Later queries on the table wait behind it.
TABLE_WAIT_MS: Final = 3_000
#: How long one file may run.
STATEMENT_MS: Final = 600_000
#: After so long without a statement the database ends the transaction and its lock: its client is gone.
SILENCE_MS: Final = 60_000
CONNECT_S: Final = 10.0
#: The client's own limit of a command, for a database that no longer answers.
_COMMAND_S: Final = (STATEMENT_MS + LOCK_WAIT_MS) / 1000
_FAREWELL_S: Final = 2.0
_LOCK: Final = 0x72656A6F696E6472  # any number that no other program takes: "rejoindr"
_BEGIN: Final = """
set local lock_timeout = {wait_ms};
set local statement_timeout = {statement_ms};
set local idle_in_transaction_session_timeout = {silence_ms};
select pg_advisory_xact_lock({lock});
set local lock_timeout = {table_ms};
"""
_NAME: Final = re.compile(r"([0-9]{14})_([a-z0-9_]+)\.sql")
#: Classes of SQLSTATE whose messages may quote values.
_QUOTES_VALUES: Final = ("22", "23")


class Migration(NamedTuple):
    """One file: `version` is the number in its name."""

    version: str
    name: str
    sql: str

    def __str__(self) -> str:
        return f"{self.version}_{self.name}"

    @property
    def sha256(self) -> str:
        """The checksum of its text. `shipped` reads every file with the same line ends."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class _State(NamedTuple):
    """The state of a database: its schema and tables, if any, and version → checksum of the applied files."""

    schema: Schema | None
    has_tables: bool
    applied: Mapping[str, str]


def shipped() -> list[Migration]:
    """The migrations of this server, oldest first."""
    folder = resources.files("server.store.postgres").joinpath("migrations")
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}
    named = [(_NAME.fullmatch(name), text) for name, text in sorted(texts.items())]
    return [Migration(match[1], match[2], text) for match, text in named if match is not None]


async def migrate(
    dsn: str,
    *,
    migrations: Sequence[Migration] | None = None,
    own: int = SCHEMA_VERSION,
    dry_run: bool = False,
    wait_ms: int = LOCK_WAIT_MS,
) -> list[str]:
    """Apply the missing migrations, or with `dry_run` only list them; returns lines of text for the operator.

    `migrations` make schema `own`; `wait_ms` bounds the wait for another migration. Raises StoreUnavailable with text
    for the operator; then nothing was changed, unless the text says otherwise.
    """
    work = _Work(list(migrations) if migrations is not None else shipped(), own)
    connection = await _connect(dsn)
    try:
        async with connection.transaction(isolation="read_committed", readonly=dry_run):
            if not dry_run:
                limits = {"statement_ms": STATEMENT_MS, "silence_ms": SILENCE_MS, "table_ms": TABLE_WAIT_MS}
                await connection.execute(_BEGIN.format(wait_ms=int(wait_ms), lock=_LOCK, **limits))
            work.doing = "the look at what is there"
            done = await work.run(connection, dry_run=dry_run)
            work.doing = "the commit"
    except asyncpg.PostgresError as error:
        raise StoreUnavailable(_explain(error, work.doing)) from error
    except (asyncpg.InterfaceError, OSError) as error:
        raise StoreUnavailable(
            f"the connection to the database broke during {work.doing}: migrate again, what was applied is known"
        ) from error
    finally:
        await _part(connection)
    return done


class _Work:
    """One run in one transaction; `doing` names its current step, for error messages."""

    def __init__(self, migrations: list[Migration], own: int) -> None:
        self._migrations = migrations
        self._own = own
        self.doing = "the wait for another migration"

    async def run(self, connection: asyncpg.Connection, *, dry_run: bool) -> list[str]:
        """Apply the missing files, or with `dry_run` only list them; returns lines of text for the operator."""
        state = await _look(connection)
        if state.schema is not None and state.schema.version > self._own:
            return [self._beside(state.schema)]
        missing = self._missing(state.applied)
        if not missing:
            return [f"nothing to do, the schema is {self._own}"]
        lines: list[str] = []
        if state.has_tables and not state.applied:
            lines.append("found tables without a record of migrations: all of them run again")
        if dry_run:
            return lines + [f"would apply {one}" for one in missing]
        for one in missing:
            started = time.perf_counter()
            self.doing = str(one)
            await connection.execute(one.sql)
            lines.append(f"applied {one} in {(time.perf_counter() - started) * 1000:.0f} ms")
        self.doing = "the record of what was applied"
        for one in missing:
            await connection.execute(
                "insert into public.rejoinder_migrations (version, name, sha256) values ($1, $2, $3)",
                one.version,
                one.name,
                one.sha256,
            )
        made = (await _look(connection)).schema
        if made is None or made.version != self._own:
            raise StoreUnavailable(
                f"the migrations make schema {made.version if made else 'none'}, not {self._own}: nothing was changed"
            )
        return lines

    def _beside(self, schema: Schema) -> str:
        """What to say of a newer schema. Raises StoreUnavailable when this server must not work with it."""
        if (refusal := schema.refusal(self._own)) is not None:
            raise StoreUnavailable(f"the database was left alone: {refusal}")
        return f"nothing to do, the schema is {schema.version}: newer than this server's {self._own}, and fit for it"

    def _missing(self, applied: Mapping[str, str]) -> list[Migration]:
        for one in self._migrations:
            if applied.get(one.version, one.sha256) != one.sha256:
                raise StoreUnavailable(
                    f"{one} was edited after it was applied: put its text back, and write a new migration"
                )
        missing = [one for one in self._migrations if one.version not in applied]
        if missing and applied and missing[0].version < max(applied):
            raise StoreUnavailable(
                f"{missing[0]} is older than {max(applied)}, which was applied: give it a number behind that"
            )
        return missing


async def _look(connection: asyncpg.Connection) -> _State:
    is_there: Mapping[str, bool] = await connection.fetchrow(
        "select to_regprocedure('public.rejoinder_schema_v1()') is not null as schema,"
        " to_regclass('public.rejoinder_sessions') is not null as tables,"
        " to_regclass('public.rejoinder_migrations') is not null as migrations"
    )
    schema: Schema | None = None
    applied: dict[str, str] = {}
    if is_there["schema"]:
        schema = _schema(msgspec.json.decode(await connection.fetchval("select public.rejoinder_schema_v1()")))
    if is_there["migrations"]:
        applied = dict(await connection.fetch("select version, sha256 from public.rejoinder_migrations"))
    return _State(schema, is_there["tables"], applied)


def _schema(said: Mapping[str, Any]) -> Schema:
    return Schema(said["version"], said["compatible_from"])


async def _connect(dsn: str) -> asyncpg.Connection:
    try:
        where = urlsplit(dsn)
        place = f"{where.hostname}:{where.port or 5432}"
        return await asyncpg.connect(dsn, statement_cache_size=0, timeout=CONNECT_S, command_timeout=_COMMAND_S)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StoreUnavailable(f"the database at {place} refused the user or the password of the address") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise StoreUnavailable(f"the server at {place} has no database of the name in the address") from error
    except TimeoutError as error:
        raise StoreUnavailable(f"the database at {place} did not answer within {CONNECT_S:.0f} s") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        raise StoreUnavailable(f"the address of the database cannot be used: {type(error).__name__}") from error
    except (asyncpg.PostgresError, OSError) as error:
        said = error.args[0] if isinstance(error, asyncpg.PostgresError) else error
        raise StoreUnavailable(f"cannot connect to the database at {place}: {said}") from error


async def _part(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=_FAREWELL_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


def _explain(error: asyncpg.PostgresError, doing: str) -> str:
    """Describe a database error of the step `doing`; without the error's detail, which may quote a row."""
    code = error.sqlstate or ""
    said = "" if code.startswith(_QUOTES_VALUES) else f": {error.args[0]}"
    match error:
        case asyncpg.LockNotAvailableError() if doing.startswith("the wait"):
            return "another process is migrating this database and has not come to an end: try again later"
        case asyncpg.LockNotAvailableError():
            return f"{doing} needs a table that is in use: nothing was changed, try again when there is less to do"
        case asyncpg.QueryCanceledError():
            return f"{doing} took too long: nothing was changed"
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"the role of the address lacks a right during {doing}{said}; nothing was changed: give the address of"
                " the role that owns the tables"
            )
        case asyncpg.ReadOnlySQLTransactionError():
            return "the database takes no writes: it is a standby, or default_transaction_read_only is on"
        case asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError():
            return f"the database ended the connection during {doing}: migrate again, what was applied is known"
    return f"{doing} failed and nothing was changed ({code}){said}"
