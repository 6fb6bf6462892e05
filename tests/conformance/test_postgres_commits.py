"""Commits to PostgreSQL: a bad write fails alone, servers do not overtake each other, no circle of locks can close."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from server.errors import StoreUnavailable
from server.records import Committed, Conflict, Failed, Missing, SessionKey, Write, fold
from server.store.library import FullStore
from server.store.postgres.functions import _write_row
from server.store.postgres.store import PostgresStore
from server.store.rows import encode
from tests.conformance.opened_postgres import Database, connected, new_database, opened, waiting
from tests.support.writes import (
    T0_MS,
    USER,
    accept,
    commit,
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


# ---------------------------------------------------------------- one of many fails


async def test_a_bad_write_fails_alone(database: Database) -> None:
    async with opened(database.dsn) as store:
        sessions = [await open_session(store) for _ in range(3)]
        database.sql("alter table rejoinder_events add constraint polite check (payload not like '%rude%')")
        rude = {"text": "rude"}
        new, refused, early = new_session(), new_session(), T0_MS - 2**70
        outcomes = await store.commit(
            [
                accept(sessions[0].session_id, "c1"),
                accept(sessions[1].session_id, "c1", payload=rude),
                accept(sessions[1].session_id, "c1"),
                turn(None, event(refused, payload=rude), session_id=refused),
                accept(refused, "c1"),
                greeting(new),
                accept(sessions[2].session_id, created_at=early),
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
        assert await store.load(SessionKey(USER, refused), 0, 10) is None
        assert database.sql("select count(*) from rejoinder_sessions") == "4"
        assert isinstance(await commit(store, greeting(refused)), Committed)


async def test_a_session_is_made_by_the_first_write_that_can(database: Database) -> None:
    """Of each owner: a write of one makes nothing for the other."""
    async with opened(database.dsn) as store:
        database.sql("alter table rejoinder_events add constraint polite check (payload not like '%rude%')")
        session_id = new_session()
        bad = turn(None, event(session_id, payload={"text": "rude"}), session_id=session_id)
        good = greeting(session_id, user_id="eve")
        outcomes = await store.commit([accept(session_id), bad, good, accept(session_id), greeting(session_id)])
        assert [type(outcome) for outcome in outcomes] == [Missing, Failed, Committed, Missing, Committed]
        assert (await snapshot(store, session_id, user_id="eve")).version == 1
        assert (await snapshot(store, session_id)).version == 1


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


async def test_a_session_that_cannot_be_changed_gets_no_events_either(database: Database) -> None:
    """A trigger may make an update of nothing, in silence."""
    async with opened(database.dsn) as store:
        one, two = await open_session(store), await open_session(store)
        database.sql(
            "create function skip() returns trigger language plpgsql as $$ begin return null; end $$;"
            "create trigger skips before update on rejoinder_sessions for each row"
            f" when (new.session_id = '{two.session_id}') execute function skip()"
        )
        with pytest.raises(StoreUnavailable, match=r"XX000.*some trigger"):
            await store.commit([accept(one.session_id, "c1"), accept(two.session_id, "c1")])
        assert len(await log_of(store, two.session_id)) == 2
        assert await snapshot(store, one.session_id) == one


async def test_a_commit_looks_up_its_sessions_and_reads_no_whole_table(database: Database) -> None:
    """A plan is kept for as long as the connection: one that suits a small table would be there for the large one."""
    by_scan = "select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables"
    by_index = "select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes"
    async with opened(database.dsn, connections=1) as store:
        sessions = [new_session() for _ in range(300)]
        for place in range(0, 300, 50):
            await store.commit([greeting(one) for one in sessions[place : place + 50]])
        before = await _counted(store, by_index)
        for number in range(20):
            await store.commit([accept(one, f"c{number}") for one in sessions[:10]])
        assert await _counted(store, by_index) - before < 20 * 10 * 10
        assert await _counted(store, by_scan) == 0


async def _counted(store: PostgresStore, query: str) -> int:
    await store._ask_for("flush", "select pg_stat_force_next_flush()::text", ())  # else a second later
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
            "insert into rejoinder_sessions values ($1, 'ann', '', '', '{}', 1, 0, 0, 0, 0, null, 0, 0)", session_id
        )
        greeted = asyncio.create_task(commit(store, greeting(session_id)))
        await waiting(database.dsn)
        assert not greeted.done()
        await transaction.rollback()
        assert isinstance(await greeted, Committed)


async def test_a_session_that_is_not_there_is_locked_all_the_same(database: Database) -> None:
    """Else it could appear between the look for it and the write, with nothing locked."""
    session_id = new_session()
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        async with other.transaction():
            line = encode([_write_row(accept(session_id))])
            assert await other.fetchval("select rejoinder_commit_v1($1)", line) == '[["missing"]]'
            greeted = asyncio.create_task(commit(store, greeting(session_id)))
            await waiting(database.dsn)
        assert isinstance(await greeted, Committed)


async def test_batches_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(database: Database) -> None:
    """Lines and greetings for the same few sessions in any order, which others meanwhile delete."""
    async with opened(database.dsn) as one, opened(database.dsn) as two:
        sessions = [f"s{number}" for number in range(10)]

        async def work(store: FullStore, number: int) -> None:
            shuffled = random.Random(number)
            for place in range(25):
                some = shuffled.sample(sessions, 6)
                writes: list[Write] = [accept(session_id, f"{number}/{place}") for session_id in some]
                writes += [greeting(session_id) for session_id in shuffled.sample(sessions, 2)]
                shuffled.shuffle(writes)
                for write, outcome in zip(writes, await store.commit(writes), strict=True):
                    assert isinstance(outcome, Committed | Conflict if write.update else Committed | Missing)
                if shuffled.random() < 0.3:
                    await store.delete(SessionKey(USER, shuffled.choice(sessions)))

        await asyncio.gather(*(work(store, number) for number, store in enumerate([one, two] * 4)))
        for session_id in sessions:
            loaded = await one.load(SessionKey(USER, session_id), 0, 1000)
            if loaded is not None:
                assert fold(loaded.events, USER) == loaded.snapshot
                assert [said.seq for said in loaded.events] == list(range(1, loaded.snapshot.seq + 1))
    assert database.orphans() == 0
    assert database.sql("select count(*) from rejoinder_sessions where version = 0") == "0"


async def test_a_delete_takes_what_was_committed_while_it_waited(database: Database) -> None:
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        before = await open_session(store)
        async with other.transaction():
            await other.execute(
                "select rejoinder_commit_v1($1)",
                encode([_write_row(accept(before.session_id, "c1"))]),
            )
            deleting = asyncio.create_task(store.delete(SessionKey(USER, before.session_id)))
            await waiting(database.dsn)
        assert await deleting is True
        assert await store.load(SessionKey(USER, before.session_id), 0, 10) is None
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
        keys = [SessionKey(USER, f"s{number}") for number in range(8)]

        async def work(store: FullStore, number: int) -> None:
            shuffled = random.Random(number)
            for _ in range(25):
                asked = shuffled.sample(keys, 5)
                held = await store.hold(asked, f"h{number}", shuffled.choice([1, 60_000]))
                await store.release([key for key, is_held in zip(asked, held, strict=True) if is_held], f"h{number}")

        await asyncio.gather(*(work(store, number) for number, store in enumerate([one, two, one, two])))
        assert all(await one.hold(keys, "last", 60_000))


async def test_a_lease_that_is_over_and_locked_is_left_for_another_time(database: Database) -> None:
    database.sql("insert into rejoinder_leases values ('s0', 'ann', 'gone', now() - interval '1 hour')")
    async with opened(database.dsn) as store, connected(database.dsn) as other:
        async with other.transaction():
            await other.execute("select from rejoinder_leases for update")
            assert list(await store.hold([SessionKey(USER, "s1")], "here", 60_000)) == [True]
        assert database.sql("select count(*) from rejoinder_leases") == "2"
        assert list(await store.hold([SessionKey(USER, "s1")], "here", 60_000)) == [True]
        assert database.sql("select session_id from rejoinder_leases") == "s1"


async def test_leases_that_are_over_do_not_pile_up(database: Database) -> None:
    async with opened(database.dsn) as store:
        for left, asked in ((50, 150), (0, 0)):  # at most 100 go at once
            await store.hold([SessionKey(USER, f"s{number}") for number in range(asked)], "gone", 0)
            assert database.sql("select count(*) from rejoinder_leases") == str(left)
