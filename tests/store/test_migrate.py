"""Migrations of a real PostgreSQL: applied once and whole, whoever starts them, whatever ends them."""

from collections.abc import Iterator

import pytest

from server.errors import StoreUnavailable
from server.records import Duplicate, Missing, SessionKey
from server.store.postgres.migrate import Migration, migrate, shipped
from tests.services.postgres import postgres_server, running_server
from tests.services.supabase import BOOTSTRAP, EXPOSE_ALL
from tests.support.databases import (
    ADDED,
    ADDS,
    NOTHING,
    OWN,
    TAKEN,
    applied,
    contents,
    dsn,
    empty_database,
    is_refused,
    locked,
    next_schema,
    opened,
    pasted_database,
    recorded,
    untimed,
)
from tests.support.process import ROOT
from tests.support.writes import (
    STRANGER,
    USER,
    accept,
    commit,
    committed,
    greeting,
    log_of,
    open_session,
    snapshot,
    turn,
)

#: What made schema 2, in which a session is known by its id alone.
BEFORE_OWNERS = [one for one in shipped() if one.version < "20261201000020"]
TOOK_OVER = "found tables without a record of migrations: all of them run again"


@pytest.fixture
def empty() -> Iterator[str]:
    with empty_database() as name:
        yield name


@pytest.fixture
def pasted() -> Iterator[str]:
    with pasted_database() as name:
        yield name


# ---------------------------------------------------------------- forward


async def test_an_empty_database_gets_every_file_once(empty: str) -> None:
    assert untimed(await migrate(dsn(empty))) == applied(shipped())
    assert recorded(empty) == [f"{one.version}|{one.name}|{one.sha256}" for one in shipped()]
    before = contents(empty)
    assert await migrate(dsn(empty)) == NOTHING
    assert contents(empty) == before
    async with opened(empty) as store:
        session = await open_session(store)
        await committed(store, accept(session.session_id, "c1"))
        assert len(await log_of(store, session.session_id)) == 3


async def test_what_was_pasted_by_hand_is_taken_over(empty: str, pasted: str) -> None:
    async with opened(pasted) as store:
        session = await open_session(store)
        assert untimed(await migrate(dsn(pasted))) == [TOOK_OVER, *applied(shipped())]
        assert await snapshot(store, session.session_id) == session
        await committed(store, turn(session))
    assert await migrate(dsn(pasted)) == NOTHING
    await migrate(dsn(empty))
    running_server().sql(pasted, "truncate rejoinder_sessions, rejoinder_events")
    is_moment = "INSERT INTO public.rejoinder_migrations"
    assert [line for line in contents(pasted) if is_moment not in line] == [
        line for line in contents(empty) if is_moment not in line
    ]
    assert recorded(pasted) == recorded(empty)


async def test_some_files_that_were_pasted_by_hand_are_completed(empty: str) -> None:
    for one in shipped()[:2]:
        running_server().sql(empty, one.sql)
    with pytest.raises(StoreUnavailable):
        async with opened(empty):
            pass
    assert untimed(await migrate(dsn(empty))) == [TOOK_OVER, *applied(shipped())]
    async with opened(empty) as store:
        await open_session(store)


async def test_only_what_is_missing_is_applied(empty: str) -> None:
    await migrate(dsn(empty))
    assert untimed(await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)) == applied([ADDS])
    assert await migrate(dsn(empty), migrations=ADDED, own=OWN + 1) == [f"nothing to do, the schema is {OWN + 1}"]


@pytest.mark.parametrize("state", ["empty", "pasted", "migrated"])
async def test_a_dry_run_changes_nothing(state: str, empty: str, pasted: str) -> None:
    name = pasted if state == "pasted" else empty
    if state == "migrated":
        await migrate(dsn(empty))
    before = contents(name)
    lines = await migrate(dsn(name), migrations=TAKEN, own=OWN + 2, dry_run=True)
    missing = TAKEN[-2:] if state == "migrated" else TAKEN
    assert lines == [TOOK_OVER] * (state == "pasted") + [f"would apply {one}" for one in missing]
    assert contents(name) == before
    if state == "migrated":
        assert await migrate(dsn(name), dry_run=True) == NOTHING


async def test_a_dry_run_waits_for_nobody(empty: str) -> None:
    async with locked(empty):
        assert len(await migrate(dsn(empty), dry_run=True, wait_ms=1)) == len(shipped())


async def test_supabase_is_migrated_by_its_own_role_and_shows_nothing_of_it() -> None:
    """In a project from before 2026-10-30, where the API shows every table that nobody hides."""
    with postgres_server() as server, empty_database(server) as name:
        server.sql(name, BOOTSTRAP.read_text(encoding="utf-8"))
        server.sql(name, EXPOSE_ALL)
        address = server.dsn(name).replace("//postgres@", "//project_owner@")
        assert untimed(await migrate(address)) == applied(shipped())
        assert await migrate(address) == NOTHING
        rights = "has_table_privilege({}, 'public.rejoinder_migrations', 'select, insert, update, delete, truncate')"
        for role in ("anon", "authenticated"):
            assert server.sql(name, f"select {rights.format(repr(role))}") == "f"
        assert server.sql(name, "select relrowsecurity from pg_class where relname = 'rejoinder_migrations'") == "t"


# ---------------------------------------------------------------- what is refused


async def test_a_file_that_was_edited_after_it_was_applied_is_refused(empty: str) -> None:
    await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)
    edited = (*shipped(), ADDS._replace(sql=ADDS.sql + "-- harmless\n"))
    await is_refused(empty, f"{ADDS} was edited after it was applied: put its text back", edited, OWN + 1)


async def test_a_file_that_comes_too_late_is_refused(empty: str) -> None:
    await migrate(dsn(empty))
    late = Migration("20200101000000", "late", "create table late (x int);")
    await is_refused(empty, f"20200101000000_late is older than {shipped()[-1].version}", (late, *shipped()))


async def test_a_file_that_fails_leaves_nothing_of_those_before_it(empty: str) -> None:
    fails = next_schema(OWN + 2, OWN, "create table public.rejoinder_half (x int); no sql;")
    await migrate(dsn(empty))
    await is_refused(
        empty, rf"{fails} failed and nothing was changed \(42601\): syntax error", (*ADDED, fails), OWN + 2
    )
    assert untimed(await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)) == applied([ADDS])


async def test_what_users_wrote_is_in_no_complaint(empty: str) -> None:
    await migrate(dsn(empty))
    async with opened(empty) as store:
        session = await open_session(store)
    running_server().sql(empty, "update rejoinder_sessions set state = 'a secret'")
    casts = next_schema(OWN + 1, OWN, "select state::int from public.rejoinder_sessions;")
    with pytest.raises(StoreUnavailable, match=r"failed and nothing was changed \(22P02\)$"):
        await migrate(dsn(empty), migrations=(*shipped(), casts), own=OWN + 1)
    unique = next_schema(
        OWN + 1, OWN, f"insert into public.rejoinder_sessions select * from rejoinder_sessions; --{session.session_id}"
    )
    with pytest.raises(StoreUnavailable, match=r"failed and nothing was changed \(23505\)$"):
        await migrate(dsn(empty), migrations=(*shipped(), unique), own=OWN + 1)


async def test_files_that_make_another_schema_than_the_servers_are_refused(empty: str) -> None:
    await is_refused(empty, f"the migrations make schema {OWN}, not {OWN + 1}: nothing was changed", None, OWN + 1)
    await is_refused(empty, f"make schema none, not {OWN}", tuple(shipped()[:1]))


async def test_a_role_without_rights_is_told_so(empty: str) -> None:
    running_server().sql(
        "postgres", "do $$ begin if to_regrole('guest') is null then create role guest login; end if; end $$"
    )
    await is_refused(
        empty, "lacks a right during .*_rejoinder_tables: permission denied for schema public", user="guest"
    )
    await migrate(dsn(empty))
    await is_refused(empty, "permission denied for function rejoinder_schema_v1; nothing was changed", user="guest")


async def test_a_database_that_takes_no_writes_is_told_so(empty: str) -> None:
    running_server().sql("postgres", f"alter database {empty} set default_transaction_read_only = on")
    await is_refused(empty, "takes no writes")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://ann:hunter2@127.0.0.1:1/x", "cannot connect to the database at 127.0.0.1:1"),
        ("postgresql://ann:hunter2@127.0.0.1:{port}/postgres", "refused the user or the password"),
        ("postgresql://postgres:hunter2@127.0.0.1:{port}/nowhere", "has no database of the name"),
        ("postgresql://ann:hunter2@127.0.0.1:99999/x", "address of the database cannot be used"),
        ("postgresql://ann:hunter2@127.0.0.1:{port}/x?sslmode=hunter2", "address of the database cannot be used"),
        ("postgresql://ann:hunter2@nowhere.invalid/x", "cannot connect to the database at nowhere.invalid:5432"),
    ],
)
async def test_who_cannot_connect_is_told_why(address: str, reason: str) -> None:
    with pytest.raises(StoreUnavailable, match=reason) as raised:
        await migrate(address.format(port=running_server().port))
    assert "hunter2" not in str(raised.value)


def test_what_ships_can_run_in_one_transaction_and_again() -> None:
    versions = [one.version for one in shipped()]
    assert versions == sorted(set(versions))
    assert len(shipped()) == len(list((ROOT / "server/store/postgres/migrations").iterdir()))
    for one in shipped():
        words = one.sql.lower()
        assert not [word for word in ("concurrently", "vacuum", "commit;", "rollback;") if word in words]
        assert words.count("create table") == words.count("create table if not exists")
        assert words.count("create function") == 0


# ---------------------------------------------------------------- two versions


async def test_an_old_server_works_beside_a_new_schema(empty: str) -> None:
    await migrate(dsn(empty))
    async with opened(empty) as running:
        session = await open_session(running)
        await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)
        [line] = await committed(running, accept(session.session_id, "c1"))
        async with opened(empty) as started:
            assert await started.find(SessionKey(USER, session.session_id), "c1") == line
            await committed(started, turn(session, answers=line.seq))
            session = await open_session(started)
            assert await snapshot(running, session.session_id) == session
    before = contents(empty)
    sentence = f"nothing to do, the schema is {OWN + 1}: newer than this server's {OWN}, and fit for it"
    assert await migrate(dsn(empty)) == [sentence]
    assert contents(empty) == before


async def test_sessions_known_by_their_ids_become_their_owners(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every session that was there, under a server of before that goes on: its calls mean what they meant."""
    monkeypatch.setattr("server.store.postgres.functions.SCHEMA_VERSION", 2)
    await migrate(dsn(empty), migrations=BEFORE_OWNERS, own=2)
    async with opened(empty) as old:
        session, other = await open_session(old), await open_session(old, user_id=STRANGER)
        [line] = await committed(old, accept(session.session_id, "c1"))
        assert await commit(old, greeting(session.session_id, user_id=STRANGER)) == Missing()  # as it was
        running_server().sql(empty, "update rejoinder_sessions set session_id = 'x' where user_id = 'eve'")  # an orphan
        kept = await old.load(session.key, 0, 10)
        await migrate(dsn(empty))
        monkeypatch.undo()
        async with opened(empty) as new:
            assert await old.load(session.key, 0, 10) == await new.load(session.key, 0, 10) == kept
            assert await new.find(session.key, "c1") == line
            assert await commit(old, accept(session.session_id, "c1")) == Duplicate(line)
            await committed(new, greeting(session.session_id, user_id=STRANGER))
            await committed(old, accept(session.session_id, "c1", user_id=STRANGER))
            await committed(old, turn(session, answers=line.seq))
            assert list(await new.heads([session.key, session.key._replace(user_id=STRANGER)])) == [4, 3]
            assert await old.pending(2**52, 10) == [session.key._replace(user_id=STRANGER)]
            assert await old.delete(session.key._replace(user_id=STRANGER))
            assert list(await old.heads([session.key])) == [4]
    owners = f"select rejoinder_owners_v1('{other.session_id}', 9)"
    assert running_server().sql(empty, owners) == '[""]'  # events of no session: an operator still finds them


async def test_the_files_may_run_again_where_two_owners_have_one_id(empty: str) -> None:
    await migrate(dsn(empty))
    async with opened(empty) as store:
        session = await open_session(store)
        await committed(store, greeting(session.session_id, user_id=STRANGER))
    running_server().sql(empty, "delete from rejoinder_migrations")
    before = contents(empty)
    assert (await migrate(dsn(empty)))[0] == TOOK_OVER
    assert [line for line in contents(empty) if "rejoinder_migrations" not in line] == [
        line for line in before if "rejoinder_migrations" not in line
    ]


async def test_a_newer_schema_that_was_pasted_is_not_made_old_again(pasted: str) -> None:
    running_server().sql(pasted, ADDS.sql)
    before = contents(pasted)
    assert "newer than this server's" in (await migrate(dsn(pasted)))[0]
    assert contents(pasted) == before


async def test_a_schema_that_takes_no_old_server_is_left_alone(empty: str) -> None:
    await migrate(dsn(empty), migrations=TAKEN, own=OWN + 2)
    before = contents(empty)
    sentence = f"its schema {OWN + 2} is newer than this server's {OWN} and takes no server older than {OWN + 1}: start"
    await is_refused(empty, f"the database was left alone: {sentence}")
    with pytest.raises(StoreUnavailable, match=sentence):
        async with opened(empty):
            raise AssertionError("it was opened")
    assert contents(empty) == before
    between = await migrate(dsn(empty), migrations=ADDED, own=OWN + 1)  # one version older: that one knows
    assert between == [f"nothing to do, the schema is {OWN + 2}: newer than this server's {OWN + 1}, and fit for it"]
