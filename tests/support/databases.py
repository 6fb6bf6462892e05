"""PostgreSQL databases in states that a migration may find, and what is in them, to the letter."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import asyncpg  # type: ignore[import-untyped]
import pytest

from server.errors import StoreUnavailable
from server.store.postgres import migrate as migration
from server.store.postgres.functions import SCHEMA_VERSION
from server.store.postgres.migrate import Migration, migrate, shipped
from server.store.postgres.store import PostgresStore
from tests.services.postgres import PostgresServer, running_server

OWN: Final = SCHEMA_VERSION
_numbers = itertools.count(1)


def next_schema(version: int, compatible_from: int, sql: str = "") -> Migration:
    """A migration that this server does not have: does `sql`, and says what the schema then is."""
    schema = (
        "create or replace function public.rejoinder_schema_v1() returns json"
        " language sql stable security invoker set search_path = '' as $$"
        f" select json_build_object('version', {version}, 'compatible_from', {compatible_from}) $$;"
    )
    return Migration(f"999{version:011}", f"rejoinder_next_{version}", f"{sql}\n{schema}\n")


NOTHING: Final = [f"nothing to do, the schema is {OWN}"]

#: One that only adds, so that the servers of today go on beside it.
ADDS: Final = next_schema(
    OWN + 1,
    OWN,
    """
    alter table public.rejoinder_sessions add column mood text not null default 'calm';
    create table public.rejoinder_moods (session_id text primary key, mood text not null);
    create function public.rejoinder_moods_v1(session text) returns text
    language sql stable security invoker set search_path = '' as $$
        select s.mood from public.rejoinder_sessions s where s.session_id = $1
    $$;
    """,
)
#: One that takes away what the servers of today use.
TAKES: Final = next_schema(OWN + 2, OWN + 1, "drop function public.rejoinder_published_v1(text, text);")
ADDED: Final = (*shipped(), ADDS)
TAKEN: Final = (*shipped(), ADDS, TAKES)


@contextlib.contextmanager
def empty_database(server: PostgresServer | None = None) -> Iterator[str]:
    """The name of a database with nothing in it."""
    server = server or running_server()
    name = f"empty_{next(_numbers)}"
    server.sql("postgres", f"create database {name}")
    try:
        yield name
    finally:
        if server.running:
            server.drop_database(name)


@contextlib.contextmanager
def pasted_database() -> Iterator[str]:
    """The name of a database into which somebody pasted the files by hand."""
    server = running_server()
    name = server.create_database()
    try:
        yield name
    finally:
        if server.running:
            server.drop_database(name)


def dsn(name: str, user: str = "postgres") -> str:
    return running_server().dsn(name).replace("//postgres@", f"//{user}@")


def contents(name: str, server: PostgresServer | None = None) -> list[str]:
    """Every statement that would make the database again: schema, rights and rows."""
    server = server or running_server()
    dump = server._run("pg_dump", "--inserts", server.dsn(name))
    # A word of every dump's own, against psql's commands in the rows.
    return [line for line in dump.splitlines() if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))]


@contextlib.asynccontextmanager
async def opened(name: str) -> AsyncIterator[PostgresStore]:
    """The store of this server."""
    store = PostgresStore(dsn(name))
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def applied(migrations: Sequence[Migration]) -> list[str]:
    return [f"applied {one}" for one in migrations]


def untimed(lines: list[str]) -> list[str]:
    return [line.split(" in ")[0] if line.startswith("applied") else line for line in lines]


def recorded(name: str) -> list[str]:
    rows = running_server().sql(name, "select version, name, sha256 from rejoinder_migrations order by version")
    return rows.splitlines()


async def is_refused(
    name: str, reason: str, migrations: tuple[Migration, ...] | None = None, own: int = OWN, user: str = "postgres"
) -> None:
    """And nothing in the database is another than before."""
    before = contents(name)
    with pytest.raises(StoreUnavailable, match=reason):
        await migrate(dsn(name, user), migrations=migrations, own=own)
    assert contents(name) == before


@contextlib.asynccontextmanager
async def locked(name: str, statement: str = f"select pg_advisory_xact_lock({migration._LOCK})") -> AsyncIterator[None]:
    """Somebody is in the middle of something, until the end of the block."""
    connection = await asyncpg.connect(dsn(name))
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield
    finally:
        await connection.close()
