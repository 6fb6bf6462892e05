"""What only the PostgreSQL store promises: its transactions and locks, its connections, and what it starts on."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from server.errors import StoreUnavailable
from server.store import Store, postgres
from server.store.functions import _write_row
from server.store.postgres import PostgresStore
from server.store.records import Committed, Conflict, Failed, Missing, Write, fold
from server.store.rows import encode
from tests.absent import absent
from tests.conformance.opened_postgres import Database, connected, locked, new_database, opened, waiting
from tests.services import pgbouncer
from tests.writes import (
    T0_MS,
    USER,
    accept,
    commit,
    committed,
    event,
    greeting,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)


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
    [(0, 0, "schema 0 is older .* migrations"), (2, 1, None), (2, 2, "schema 2 is newer .* newer server")],
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
    assert all(name.startswith("rejoinder_") and name.endswith("_v1") for name in names)
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


# ---------------------------------------------------------------- one of many fails


async def test_a_bad_write_fails_alone(database: Database) -> None:
    async with opened(database.dsn) as store:
        sessions = [await open_session(store) for _ in range(3)]
        database.sql("alter table rejoinder_events add constraint polite check (payload not like '%rude%')")
        rude = {"text": "rude"}
        new, refused, late = new_session(), new_session(), T0_MS + 2**70
        outcomes = await store.commit(
            [
                accept(sessions[0].session_id, "c1"),
                accept(sessions[1].session_id, "c1", payload=rude),
                accept(sessions[1].session_id, "c1"),
                turn(None, event(refused, payload=rude), session_id=refused),
                accept(refused, "c1"),
                greeting(new),
                accept(sessions[2].session_id, created_at=late),
                turn(sessions[2], event(sessions[2].session_id), answers=0),
            ]
        )
        assert [outcomes[place] for place in (1, 3, 4, 6)] == [
            Failed("23514"),
            Failed("23514"),
            Missing(),
            Failed("22003"),
        ]
        assert [type(outcomes[place]) for place in (0, 2, 5, 7)] == [Committed] * 4
        assert [(await snapshot(store, one.session_id)).seq for one in sessions] == [3, 3, 4]
        assert await store.load(refused, USER, 0, 10) is None
        assert database.sql("select count(*) from rejoinder_sessions") == "4"
        assert isinstance(await commit(store, greeting(refused)), Committed)


async def test_a_session_is_made_by_the_first_write_that_can(database: Database) -> None:
    """A stranger's, even: an id belongs to nobody until something stands under it."""
    async with opened(database.dsn) as store:
        database.sql("alter table rejoinder_events add constraint polite check (payload not like '%rude%')")
        session_id = new_session()
        bad = turn(None, event(session_id, payload={"text": "rude"}), session_id=session_id)
        good = greeting(session_id, user_id="eve")
        outcomes = await store.commit([accept(session_id), bad, good, greeting(session_id)])
        assert [type(outcome) for outcome in outcomes] == [Missing, Failed, Committed, Missing]
        assert (await snapshot(store, session_id, user_id="eve")).version == 1


@pytest.mark.parametrize("code", ["53100", "40P01", "57P01", "XX001"])
async def test_what_is_no_fault_of_a_write_is_no_fault_of_a_write(database: Database, code: str) -> None:
    """No room on the disk, a deadlock: the batch is not written, and may be tried again."""
    async with opened(database.dsn) as store:
        one, two = await open_session(store), await open_session(store)
        database.sql(
            "create function fail() returns trigger language plpgsql as"
            f" $$ begin raise sqlstate '{code}' using message = 'on purpose'; end $$;"
            "create trigger fails before insert on rejoinder_events for each row"
            f" when (new.session_id = '{two.session_id}') execute function fail()"
        )
        with pytest.raises(StoreUnavailable, match=f"{code}.*on purpose"):
            await store.commit([accept(one.session_id, "c1"), accept(two.session_id, "c1")])
        assert await snapshot(store, one.session_id) == one
        database.sql("drop trigger fails on rejoinder_events")
        outcomes = await store.commit([accept(one.session_id, "c1"), accept(two.session_id, "c1")])
        assert [type(outcome) for outcome in outcomes] == [Committed, Committed]


async def test_a_commit_looks_up_its_sessions_and_reads_no_whole_table(database: Database) -> None:
    """A plan is kept for as long as the connection: one that suits a small table would be there for the large one."""
    read = (
        "select coalesce(sum(seq_tup_read), 0) + (select sum(idx_tup_read) from pg_stat_user_indexes)"
        " from pg_stat_user_tables where relname ~ 'rejoinder_(sessions|events)'"
    )
    async with opened(database.dsn, connections=1) as store:
        sessions = [new_session() for _ in range(300)]
        for place in range(0, 300, 50):
            await store.commit([greeting(one) for one in sessions[place : place + 50]])
        before = await _counted(store, read)
        for number in range(20):
            await store.commit([accept(one, f"c{number}") for one in sessions[:10]])
        assert await _counted(store, read) - before < 20 * 10 * 10
        assert await _counted(store, read.replace("sum(idx_tup_read)", "0")) == 0


async def _counted(store: PostgresStore, query: str) -> int:
    await store._ask_for("flush", "select pg_stat_force_next_flush()::text", ())
    return int(await store._ask_for(query, query, ()))


# ---------------------------------------------------------------- several servers


async def test_of_sixteen_writers_at_two_stores_one_wins_each_version(database: Database) -> None:
    async with opened(database.dsn) as one, opened(database.dsn) as two:
        before = await open_session(one)
        for version in range(1, 6):
            writes = [turn(before, to=f"{version}/{number}") for number in range(16)]
            outcomes = await asyncio.gather(
                *(commit(one if place % 2 else two, write) for place, write in enumerate(writes))
            )
            winners = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Committed)]
            assert len(winners) == 1
            assert [outcome for outcome in outcomes if isinstance(outcome, Conflict)] == [Conflict(version + 1)] * 15
            before = await snapshot(two, before.session_id)
            assert (before.version, before.state) == (version + 1, f"{version}/{winners[0]}")


async def test_of_sixteen_greetings_at_two_stores_one_wins(database: Database) -> None:
    async with opened(database.dsn) as one, opened(database.dsn) as two:
        for _ in range(5):
            session_id = new_session()
            outcomes = await asyncio.gather(
                *(commit(one if place % 2 else two, greeting(session_id)) for place in range(16))
            )
            assert sorted(map(repr, outcomes))[1:] == ["Conflict(version=1)"] * 15
            assert len(await log_of(one, session_id)) == 2


async def test_who_greets_waits_for_who_greets_and_takes_over_from_who_gave_up(database: Database) -> None:
    session_id = new_session()
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "insert into rejoinder_sessions values ($1, 'eve', '', '', '{}', 1, 0, 0, 0, 0, null, 0, 0)", session_id
        )
        greeted = asyncio.create_task(commit(store, greeting(session_id)))
        await waiting(database.dsn)
        assert not greeted.done()
        await transaction.rollback()
        assert isinstance(await greeted, Committed)


async def test_batches_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(database: Database) -> None:
    """Each batch names the same sessions in another order, makes some, and some are deleted meanwhile."""
    shuffled = random.Random(7)
    async with opened(database.dsn) as one, opened(database.dsn) as two:
        olds = [(await open_session(one)).session_id for _ in range(6)]

        async def work(store: Store, number: int) -> None:
            for round_ in range(12):
                news = [f"new {round_} {place}" for place in range(4)]
                writes: list[Write] = [accept(old, f"{number}/{round_}") for old in olds]
                writes += [greeting(new) for new in news]
                shuffled.shuffle(writes)
                outcomes = await store.commit(writes)
                made = [type(outcome) for write, outcome in zip(writes, outcomes, strict=True) if write.update]
                assert set(made) <= {Committed, Conflict}
                if number == 0:
                    await store.delete(news[round_ % 4], USER)

        await asyncio.gather(*(work(store, number) for number, store in enumerate([one, two, one, two, one])))
        for old in olds:
            log = await log_of(one, old)
            assert [said.seq for said in log] == list(range(1, 2 + 5 * 12 + 1))
            assert fold(log, USER) == await snapshot(two, old)
    assert database.orphans() == 0


async def test_a_delete_takes_what_was_committed_while_it_waited(database: Database) -> None:
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        before = await open_session(store)
        async with other.transaction():
            await other.execute(
                "select rejoinder_commit_v1($1)",
                encode([_write_row(accept(before.session_id, "c1"))]),
            )
            deleting = asyncio.create_task(store.delete(before.session_id, USER))
            await waiting(database.dsn)
        assert await deleting is True
        assert await store.load(before.session_id, USER, 0, 10) is None
    assert database.orphans() == 0


async def test_a_session_that_is_deleted_while_it_is_greeted_again_is_made_anew(database: Database) -> None:
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        before = await open_session(store)
        async with other.transaction():
            await other.execute("delete from rejoinder_sessions where session_id = $1", before.session_id)
            await other.execute("delete from rejoinder_events where session_id = $1", before.session_id)
            greeted = asyncio.create_task(commit(store, greeting(before.session_id)))
            await waiting(database.dsn)
        assert isinstance(await greeted, Committed)
        assert len(await log_of(store, before.session_id)) == 2


async def test_leases_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(database: Database) -> None:
    async with opened(database.dsn) as one, opened(database.dsn) as two:
        keys = [(f"s{number}", USER) for number in range(8)]

        async def work(store: Store, number: int) -> None:
            shuffled = random.Random(number)
            for _ in range(25):
                asked = shuffled.sample(keys, 5)
                held = await store.hold(asked, f"h{number}", shuffled.choice([1, 60_000]))
                await store.release([key for key, is_held in zip(asked, held, strict=True) if is_held], f"h{number}")

        await asyncio.gather(*(work(store, number) for number, store in enumerate([one, two, one, two])))
        assert all(await one.hold(keys, "last", 60_000))


async def test_leases_that_are_over_do_not_pile_up(database: Database) -> None:
    async with opened(database.dsn) as store:
        for left, asked in ((50, 150), (0, 0)):  # at most 100 go at once
            await store.hold([(f"s{number}", USER) for number in range(asked)], "gone", 0)
            assert database.sql("select count(*) from rejoinder_leases") == str(left)


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
    async with opened(database.dsn, connections=1, timeout_ms=300) as store:
        before = await open_session(store)
        async with locked(database.dsn, before.session_id):
            outcomes = await asyncio.gather(
                commit(store, accept(before.session_id)), store.deck("m1"), return_exceptions=True
            )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
        assert await store.deck("m1") is None


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


async def _use(store: Store) -> None:
    """Call everything once."""
    before = await open_session(store)
    line, _ = await store.commit([accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3)])
    assert isinstance(line, Committed)
    loaded = await store.load(before.session_id, USER, 0, 10)
    assert loaded is not None
    assert list(loaded.events) == await store.read(before.session_id, USER, 0, 10)
    assert fold(loaded.events, USER) == loaded.snapshot
    assert await store.find(before.session_id, USER, "c1") == line.events[0]
    assert list(await store.heads([(before.session_id, USER)])) == [5]
    assert list(await store.hold([(before.session_id, USER)], "me", 1000)) == [True]
    await store.release([(before.session_id, USER)], "me")
    assert await store.deck("unknown") is None
    assert before.session_id not in dict(await store.pending(T0_MS + 10_000, 1000))
    assert before.session_id in [one.session_id for one in await store.list(USER, 1000)]
    assert await store.delete(before.session_id, USER) is True


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("odd", ["a\0b", "\ud800"])
async def test_an_id_that_no_database_keeps_is_not_there(database: Database, odd: str) -> None:
    async with opened(database.dsn) as store:
        before = await open_session(store)
        assert await store.load(odd, USER, 0, 1) is None
        assert await store.read(before.session_id, odd, 0, 1) == []
        assert await store.find(before.session_id, USER, odd) is None
        assert await store.deck(odd) is None
        assert await store.delete(odd, USER) is False
        assert await store.list(odd, 1) == []
        assert await store.heads([(odd, USER), (before.session_id, USER)]) == [0, 2]
        assert await store.hold([(before.session_id, odd), (before.session_id, USER)], "me", 1000) == [False, True]
        await store.release([(odd, USER), (before.session_id, USER)], "me")
        assert await store.hold([(before.session_id, USER)], "you", 1000) == [True]
