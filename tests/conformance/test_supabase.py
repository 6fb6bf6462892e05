"""What only the Supabase store promises: how it calls, and what becomes of a call that something happens to."""

import asyncio
import gc
import re
import traceback
from typing import Final

import pytest

from server.errors import InvalidWrite, StoreClosed, StoreUnavailable
from server.records import Committed, SessionKey
from server.store.supabase.store import SupabaseStore
from tests.conformance.supabase_store import CALLS, COMMIT, PATIENCE_S, READ, opened
from tests.services.gateway import PREFIX, Fault
from tests.services.postgres import MIGRATIONS
from tests.services.supabase import SECRET_KEY, SupabaseServer, empty_project
from tests.support.writes import USER, accept, commit, greeting, log_of, new_session, open_session, snapshot


@pytest.fixture
def project() -> SupabaseServer:
    return empty_project()


# ---------------------------------------------------------------- one call each


async def test_each_call_of_the_contract_is_one_call_of_one_function(project: SupabaseServer) -> None:
    async with opened(project) as store:
        before = await open_session(store)
        project.gateway.calls.clear()
        sessions = [before.session_id, *(new_session() for _ in range(99))]
        await store.commit([accept(before.session_id), *map(greeting, sessions[1:])])
        assert project.gateway.calls == {f"{PREFIX}/rpc/{COMMIT}": 1}
        await store.load(SessionKey(USER, before.session_id), 0, 10)
        await store.read(SessionKey(USER, before.session_id), 0, 10)
        assert list(await store.heads([SessionKey(USER, session_id) for session_id in sessions])) == [3] + [2] * 99
        await store.find(SessionKey(USER, before.session_id), "c1")
        await store.published("m1", "slide_update")
        await store.pending(0, 1)
        await store.list(USER, 1)
        await store.delete(SessionKey(USER, before.session_id))
        names = ("commit", "load", "read", "heads", "find", "published", "pending", "list", "delete")
        assert project.gateway.calls == {f"{PREFIX}/rpc/rejoinder_{name}_v1": 1 for name in names}


async def test_opening_asks_for_the_schema_and_for_nothing_else(project: SupabaseServer) -> None:
    """No sign-in, no refreshing of tokens, no socket for realtime: nothing runs beside the calls."""
    project.gateway.calls.clear()
    tasks = asyncio.all_tasks()
    async with opened(project) as store:
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
        assert store._client._postgrest is not None
        assert store._client.auth._refresh_token_timer is None
        assert not store._client.realtime.is_connected
    assert project.gateway.calls == {f"{PREFIX}/rpc/rejoinder_schema_v1": 1}


async def test_the_client_speaks_http_1_1(project: SupabaseServer) -> None:
    project.gateway.versions.clear()
    async with opened(project) as store:
        await open_session(store)
    assert project.gateway.versions == {(1, 1)}


@pytest.mark.parametrize("key", ["secret", "service_role"])
async def test_both_kinds_of_secret_key_work(project: SupabaseServer, key: str) -> None:
    async with opened(project, key=SECRET_KEY if key == "secret" else project.service_role_key) as store:
        before = await open_session(store)
        assert (await snapshot(store, before.session_id)).seq == 2


async def test_more_rows_are_read_than_the_data_api_gives_of_a_table(project: SupabaseServer) -> None:
    async with opened(project) as store:
        before = await open_session(store)
        for _ in range(15):
            await store.commit([accept(before.session_id) for _ in range(100)])
        assert len(await log_of(store, before.session_id)) == 1502
        loaded = await store.load(SessionKey(USER, before.session_id), 0, 2000)
        assert loaded is not None
        assert (len(loaded.events), len(loaded.inbox)) == (1502, 1500)


# ---------------------------------------------------------------- places


async def test_at_most_so_many_calls_are_under_way(project: SupabaseServer) -> None:
    async with opened(project, calls=3) as store:
        before = await open_session(store)
        project.gateway.most_in_flight = 0
        reads = [store.read(SessionKey(USER, before.session_id), 0, 10) for _ in range(60)]
        commits = [commit(store, accept(before.session_id)) for _ in range(20)]
        await asyncio.gather(*reads, *commits)
        assert project.gateway.most_in_flight == 3


async def test_a_commit_does_not_stand_behind_reads(project: SupabaseServer) -> None:
    async with opened(project, timeout_ms=600_000) as store:
        before = await open_session(store)
        project.gateway.fail(Fault.STALLED, times=CALLS - 1, function=READ)
        reads = [asyncio.create_task(store.read(SessionKey(USER, before.session_id), 0, 10)) for _ in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            assert isinstance(await commit(store, accept(before.session_id, "c1")), Committed)
        assert not any(read.done() for read in reads)
        for read in reads[: CALLS - 1]:
            read.cancel()
        assert {len(page) for page in await asyncio.gather(*reads[CALLS - 1 :])} == {3}


# ---------------------------------------------------------------- errors

#: SQLSTATE → whether trying again may help
CODES: Final = {
    **dict.fromkeys(("22P02", "22021", "23502", "23505", "54000"), InvalidWrite),
    **dict.fromkeys(
        ("57014", "53300", "40P01", "55P03", "42501", "PT409", "P0001", "XX000", "08006"), StoreUnavailable
    ),
}
RAISE: Final = """
    create or replace function public.rejoinder_raise(code text) returns void language plpgsql as $$
    begin raise exception 'what ann wrote' using errcode = code, detail = 'what ann wrote', hint = 'what ann wrote'; end
    $$;
    grant execute on function public.rejoinder_raise(text) to service_role;
    notify pgrst, 'reload schema';
"""


async def test_an_error_is_told_by_its_code_and_without_what_users_wrote(project: SupabaseServer) -> None:
    project.sql(RAISE)
    async with opened(project) as store:
        for code, kind in CODES.items():
            error = await _raised(store, "rejoinder_raise", code=code)
            assert type(error) is kind, code
            assert code in str(error)
            assert "ann wrote" not in "".join(traceback.format_exception(error))
            assert error.__context__ is None
    project.sql("drop function public.rejoinder_raise(text); notify pgrst, 'reload schema'")


async def test_an_argument_that_is_refused_is_not_shown(project: SupabaseServer) -> None:
    async with opened(project) as store:
        error = await _raised(store, READ, session="s", owner="ann wrote", after="what ann wrote", page=1)
        assert isinstance(error, InvalidWrite)
        assert "ann wrote" not in "".join(traceback.format_exception(error))


async def _raised(store: SupabaseStore, function: str, **arguments: object) -> Exception:
    """What a call raises, once PostgREST knows the function."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with pytest.raises((InvalidWrite, StoreUnavailable)) as raised:
                await store._call(function, arguments)
            if "PGRST202" not in str(raised.value):
                return raised.value


def test_no_migration_raises_what_postgrest_repeats_for_ever() -> None:
    """Before version 16 it runs a transaction that fails with 40001 again, without an end and whoever still waits."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in MIGRATIONS.glob("*.sql")}
    assert texts
    told = re.compile(r"40001|serialization_failure|serializable|repeatable\s+read", re.IGNORECASE)
    assert {name: told.findall(text) for name, text in texts.items() if told.search(text)} == {}


async def test_a_store_that_could_not_open_leaves_nothing_behind(project: SupabaseServer) -> None:
    store = SupabaseStore(project.url, SECRET_KEY)
    for fault in (Fault.UNAVAILABLE, Fault.REFUSED):
        project.gateway.fail(fault)
        with pytest.raises(StoreUnavailable):
            await store.open()
    gc.collect()  # an open connection would complain, and a complaint is an error here
    await store.open()
    await open_session(store)
    await store.close()


async def test_close_before_open_is_no_fault(project: SupabaseServer) -> None:
    store, asked = SupabaseStore(project.url, SECRET_KEY), project.gateway.calls.total()
    await store.close()
    assert project.gateway.calls.total() == asked
    with pytest.raises(StoreClosed):
        await store.load(SessionKey(USER, new_session()), 0, 0)
