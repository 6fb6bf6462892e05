"""What only the PostgreSQL store promises: its transactions and locks, its connections, and what it starts on."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from server.errors import StoreUnavailable
from server.records import Committed, SessionKey, fold
from server.store.library import FullStore
from server.store.postgres import store as postgres
from server.store.postgres.functions import SCHEMA_VERSION as OWN
from server.store.postgres.store import PostgresStore
from tests.conformance.opened_postgres import Database, hurried, locked, new_database, opened, waiting
from tests.services import pgbouncer
from tests.support.absent import absent
from tests.support.writes import T0_MS, USER, accept, commit, committed, event, open_session, snapshot, turn


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as database:
        yield database


# ---------------------------------------------------------------- what it starts on


@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        ("on", "process and system crash (PostgreSQL, synchronous_commit=on, fsync=on)"),
        ("local", "process and system crash (PostgreSQL, synchronous_commit=local, fsync=on)"),
        ("off", "process crash only (PostgreSQL, synchronous_commit=off, fsync=on)"),
    ],
)
async def test_durability_is_what_the_server_says(database: Database, settings: str, durability: str) -> None:
    database.sql(f"alter database {database.name} set synchronous_commit = '{settings}'")
    async with opened(database.dsn) as store:
        assert store.durability == durability


async def _cannot_open(dsn: str, reason: str) -> None:
    store = PostgresStore(dsn, timeout_ms=20_000)
    with pytest.raises(StoreUnavailable, match=reason):
        await store.open()
    await store.close()


async def test_a_database_that_takes_no_writes_is_refused(database: Database) -> None:
    database.sql(f"alter database {database.name} set default_transaction_read_only = on")
    await _cannot_open(database.dsn, "takes no writes")


async def test_another_isolation_is_refused(database: Database) -> None:
    """Our functions look again after a lock was waited for; there they would see the past, and fail with 40001."""
    database.sql(f"alter database {database.name} set default_transaction_isolation = 'repeatable read'")
    await _cannot_open(database.dsn, "'repeatable read'.*'read committed'")


async def test_a_database_without_our_tables_is_refused(database: Database) -> None:
    await _cannot_open(database.server.dsn("postgres"), "no tables of Rejoinder.*migrate")


async def test_a_database_that_cannot_keep_every_text_is_refused(database: Database) -> None:
    database.sql(f"create database {database.name}_latin encoding 'LATIN1' template template0")
    try:
        await _cannot_open(database.server.dsn(f"{database.name}_latin"), "LATIN1.*UTF8")
    finally:
        database.sql(f"drop database {database.name}_latin with (force)")


@pytest.mark.parametrize(
    ("version", "compatible_from", "refusal"),
    [
        (OWN - 1, 0, f"schema {OWN - 1} is older .* migrations"),
        (OWN + 1, OWN, None),
        (OWN + 1, OWN + 1, f"schema {OWN + 1} is newer .* newer server"),
    ],
)
async def test_another_schema_serves_who_it_says(
    database: Database, version: int, compatible_from: int, refusal: str | None
) -> None:
    database.sql(
        "create or replace function rejoinder_schema_v1() returns json language sql stable as"
        f" $$ select json_build_object('version', {version}, 'compatible_from', {compatible_from}) $$"
    )
    if refusal is not None:
        await _cannot_open(database.dsn, refusal)
        return
    async with opened(database.dsn) as store:
        await open_session(store)


async def test_open_may_be_tried_again(database: Database) -> None:
    database.sql("alter function rejoinder_schema_v1() rename to hidden")
    store = PostgresStore(database.dsn, timeout_ms=20_000)
    with pytest.raises(StoreUnavailable):
        await store.open()
    database.sql("alter function hidden() rename to rejoinder_schema_v1")
    await store.open()
    await open_session(store)
    await store.close()


# ---------------------------------------------------------------- the functions


def test_every_function_keeps_the_rules(database: Database) -> None:
    functions = database.sql(
        "select proname, prosecdef, proconfig[1], proacl::text ~ '[{,]=X' from pg_proc"
        " where pronamespace = 'public'::regnamespace and proname ~ 'rejoinder'"
    ).splitlines()
    names = [line.split("|")[0] for line in functions]
    assert len(names) == len(set(names))  # no overloads: PostgREST could not tell them apart
    assert len(names) >= 14
    assert all(re.fullmatch(r"rejoinder_[a-z]+_v[1-9]", name) for name in names)
    assert {line.split("|", 1)[1] for line in functions} == {'f|search_path=""|f'}


def test_every_table_is_closed_to_strangers(database: Database) -> None:
    """Who is neither owner nor granted anything reads nothing and calls nothing."""
    database.sql("create role visitor login; grant usage on schema public to visitor")
    try:
        for table in ("sessions", "events", "leases", "migrations"):
            with pytest.raises(AssertionError, match="permission denied for table"):
                database.sql(f"select * from rejoinder_{table}", user="visitor")
        with pytest.raises(AssertionError, match="permission denied for function"):
            database.sql("select rejoinder_load_v1('s', 'u', 0, 1)", user="visitor")
        open_ones = "select relname from pg_class where relname ~ '^rejoinder' and relkind = 'r' and not relrowsecurity"
        assert database.sql(open_ones) == ""
    finally:
        database.sql("drop owned by visitor; drop role visitor")


async def test_the_migrations_may_run_again(database: Database) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        database.server.migrate(database.name)
        assert await snapshot(store, before.session_id) == before
        await committed(store, accept(before.session_id))


def test_nobody_raises_what_postgrest_repeats_without_end(database: Database) -> None:
    sources = database.sql("select prosrc from pg_proc where proname ~ 'rejoinder'")
    assert "serialization_failure" not in sources
    assert "raise sqlstate" not in sources.lower()
    assert "notify" not in sources.lower()  # it would make every commit wait for one lock of the whole server


async def test_an_answer_that_is_not_understood_is_no_outcome(database: Database) -> None:
    """A newer function under an old name, say: what it did is looked up, and not guessed."""
    async with opened(database.dsn) as store:
        before = await open_session(store)
        database.sql(
            "create or replace function rejoinder_commit_v1(writes jsonb) returns json language sql as"
            """ $$ select '[["delayed", 1]]'::json $$"""
        )
        with pytest.raises(StoreUnavailable, match="does not know"):
            await commit(store, accept(before.session_id))


# ---------------------------------------------------------------- connections


async def test_there_are_never_more_connections_than_asked_for(database: Database) -> None:
    count = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    async with opened(database.dsn, connections=3) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            commits = [asyncio.create_task(commit(store, accept(before.session_id))) for _ in range(10)]
            await waiting(database.dsn, 3)
            assert database.sql(count) == "4"  # three, and the one that holds the lock
            assert not any(task.done() for task in commits)
        assert [type(await task) for task in commits] == [Committed] * 10
        assert database.sql(count) == "3"
    assert database.sql(count) == "0"


async def test_a_wait_for_a_connection_has_its_end(database: Database) -> None:
    async with opened(database.dsn, connections=1) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            with hurried(store):
                outcomes = await asyncio.gather(
                    commit(store, accept(before.session_id)),
                    store.published("m1", "slide_update"),
                    return_exceptions=True,
                )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
        assert await store.published("m1", "slide_update") is None


async def test_a_connection_that_rested_for_too_long_is_not_used_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database.dsn) as store:
        pids = {await _pid(store) for _ in range(3)}
        assert len(pids) == 1
        monkeypatch.setattr(postgres, "_REST_S", -1.0)
        pids |= {await _pid(store) for _ in range(3)}
        assert len(pids) == 4


async def _pid(store: PostgresStore) -> int:
    return int(await store._ask_for("pid", "select pg_backend_pid()", ()))


async def test_nothing_is_kept_in_a_session(database: Database) -> None:
    """What a pooler that gives out sessions by transaction would mix up."""
    async with opened(database.dsn) as store:
        await _use(store)
        for query in (
            "select count(*) from pg_prepared_statements where name <> ''",
            "select count(*) from pg_locks where locktype = 'advisory'",
            "select count(*) from pg_listening_channels()",
            "select count(*) from pg_settings where source = 'session'",
        ):
            assert await store._ask_for(query, query, ()) == 0


async def test_it_works_behind_a_pooler_of_transactions(database: Database) -> None:
    if pgbouncer.program() is None:
        absent("there is no pgbouncer here (Debian: apt-get install pgbouncer)")
    with pgbouncer.pooler(database.server, sessions=2) as port:
        dsn = database.server.dsn(database.name, port)
        async with opened(dsn) as one, opened(dsn) as two:
            assert one.durability == "process and system crash (PostgreSQL, synchronous_commit=on, fsync=on)"
            for _ in range(5):
                await asyncio.gather(*(_use(store) for store in (one, two, one, two)))
            pids = {await _pid(store) for store in (one, two) for _ in range(4)}
            assert len(pids) == 2  # so many sessions served all of it


async def _use(store: FullStore) -> None:
    """Call everything once."""
    before = await open_session(store)
    line, _ = await store.commit([accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3)])
    assert isinstance(line, Committed)
    loaded = await store.load(SessionKey(USER, before.session_id), 0, 10)
    assert loaded is not None
    assert list(loaded.events) == await store.read(SessionKey(USER, before.session_id), 0, 10)
    assert fold(loaded.events, USER) == loaded.snapshot
    assert await store.find(SessionKey(USER, before.session_id), "c1") == line.events[0]
    assert list(await store.heads([SessionKey(USER, before.session_id)])) == [5]
    assert list(await store.hold([SessionKey(USER, before.session_id)], "me", 1000)) == [True]
    await store.release([SessionKey(USER, before.session_id)], "me")
    assert await store.published("unknown", "slide_update") is None
    assert before.key not in await store.pending(T0_MS + 10_000, 1000)
    assert before.session_id in [one.session_id for one in await store.list(USER, 1000)]
    assert await store.delete(SessionKey(USER, before.session_id)) is True


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("odd", ["a\0b", "\ud800"])
async def test_an_id_that_no_database_keeps_is_not_there(database: Database, odd: str) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        assert await store.load(SessionKey(USER, odd), 0, 1) is None
        assert await store.read(SessionKey(odd, before.session_id), 0, 1) == []
        assert await store.find(SessionKey(USER, before.session_id), odd) is None
        assert await store.published(odd, "slide_update") is None
        assert await store.delete(SessionKey(USER, odd)) is False
        assert await store.list(odd, 1) == []
        assert await store.heads([SessionKey(USER, odd), SessionKey(USER, before.session_id)]) == [0, 2]
        assert await store.hold(
            [SessionKey(odd, before.session_id), SessionKey(USER, before.session_id)], "me", 1000
        ) == [False, True]
        await store.release([SessionKey(USER, odd), SessionKey(USER, before.session_id)], "me")
        assert await store.hold([SessionKey(USER, before.session_id)], "you", 1000) == [True]


def test_a_published_page_is_found_by_an_index(database: Database) -> None:
    database.sql(
        "insert into rejoinder_events select 's', n, case when n % 20 = 0 then 'drawing' else 'chat_message' end,"
        " 'assistant', 'm' || n, null, 0, '{}', n, 'u' from generate_series(1, 20000) n"
    )
    database.sql("analyze rejoinder_events")
    body = database.sql("select prosrc from pg_proc where proname = 'rejoinder_published_v1'")
    plan = database.sql(f"explain {body.replace('$1', quoted('m40')).replace('$2', quoted('drawing'))}")
    assert "Index Scan using rejoinder_events_own" in plan
    assert '"m40"' in database.sql("select rejoinder_published_v1('m40', 'drawing')")


def quoted(word: str) -> str:
    return f"'{word}'"
