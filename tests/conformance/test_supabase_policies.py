"""Row level security: who sees what of Rejoinder's tables through Supabase's Data API, with a browser's key.

In a project of today nothing in `public` is exposed but what is granted; in one from before 2026-10-30 everything
was, so there the migrations have to take it away.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest

from server.records import SessionKey
from server.store.supabase.store import SupabaseStore
from tests.services.supabase import PUBLISHABLE_KEY, SECRET_KEY, SupabaseServer, supabase_server, token, user_token
from tests.support.writes import accept, committed, open_session

CUID: Final = "cm3k9x2ab0000qw08f7h2d1zz"
UUID: Final = "8f4b8a0e-8c1e-4a55-9d2c-0f6f3c1a7b11"
STRANGER: Final = "nobody-with-a-session"
SESSIONS: Final = "rejoinder_sessions"
EVENTS: Final = "rejoinder_events"
TABLES: Final = """
    select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')
        and relname like 'rejoinder%' order by relname
"""
FUNCTIONS: Final = """
    select p.proname || '|' || coalesce(array_to_string(p.proargnames, ','), '') || '|' ||
        array_to_string(array(select format_type(t, null) from unnest(p.proargtypes) t), ',')
    from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'rejoinder%' order by 1
"""
#: A value for each type of an argument: the call must get as far as the right to make it.
VALUES: Final = {"text": "x", "text[]": ["x"], "bigint": 1, "integer": 1, "jsonb": [], "json": [], "boolean": True}


class Visitor(NamedTuple):
    """Somebody with a browser: `bearer` is his token if he is signed in."""

    bearer: str | None
    status: int  # of what he may not do


VISITORS: Final = {
    "not signed in": Visitor(None, 401),
    "with the anon key's own token": Visitor(token("anon"), 401),
    "with a session (cuid)": Visitor(user_token(CUID), 403),
    "with a session (UUID)": Visitor(user_token(UUID), 403),
    "without a session": Visitor(user_token(STRANGER), 403),
    "signed in as nobody": Visitor(token("authenticated"), 403),
}


class Browser:
    """The Data API as pages reach it: with the publishable key, and a user's token if there is one."""

    def __init__(self, project: SupabaseServer, bearer: str | None, key: str = PUBLISHABLE_KEY) -> None:
        headers = {"apikey": key} | ({} if bearer is None else {"Authorization": f"Bearer {bearer}"})
        self._client = httpx.Client(base_url=f"{project.url}/rest/v1", headers=headers, verify=False)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status, and the rows or the error's code."""
        response = self._client.request(method, path, json=body)
        seen: Any = response.json() if response.content else None
        return response.status_code, seen["code"] if response.is_error else seen

    def rows(self, path: str) -> list[dict[str, Any]]:
        status, rows = self.ask("GET", path)
        assert status == httpx.codes.OK, rows
        assert isinstance(rows, list)
        return rows

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module", params=[False, True], ids=["project of today", "project from before"])
def project(request: pytest.FixtureRequest) -> Iterator[SupabaseServer]:
    """Two sessions of the user with the cuid, one of the user with the UUID."""
    with supabase_server(exposes_all=request.param) as server:
        asyncio.run(_fill(server))
        yield server


async def _fill(server: SupabaseServer) -> None:
    store = SupabaseStore(server.url, SECRET_KEY)
    await store.open()
    for user_id in (CUID, CUID, UUID):
        before = await open_session(store, user_id=user_id)
        await committed(store, accept(before.session_id, "c1", user_id=user_id, payload={"text": f"by {user_id}"}))
    await store.hold([SessionKey(UUID, before.session_id)], "a process", 600_000)
    await store.close()


@pytest.fixture(params=VISITORS)
def visitor(request: pytest.FixtureRequest) -> Visitor:
    return VISITORS[request.param]


@pytest.fixture
def browser(project: SupabaseServer, visitor: Visitor) -> Iterator[Browser]:
    opened = Browser(project, visitor.bearer)
    yield opened
    opened.close()


@pytest.fixture
def server_side(project: SupabaseServer) -> Iterator[Browser]:
    opened = Browser(project, None, SECRET_KEY)
    yield opened
    opened.close()


def _tables(project: SupabaseServer) -> list[str]:
    return project.sql(TABLES).split()


def _calls(project: SupabaseServer) -> dict[str, dict[str, Any]]:
    """Every function of ours with arguments that it takes."""
    calls = {}
    for line in project.sql(FUNCTIONS).splitlines():
        name, names, types = line.split("|")
        pairs = zip(names.split(","), types.split(","), strict=True) if names else ()
        calls[name] = {argument: VALUES[kind] for argument, kind in pairs}
    return calls


@pytest.mark.parametrize(("user_id", "sessions"), [(CUID, 2), (UUID, 1)])
def test_a_user_sees_his_own_sessions_and_events(project: SupabaseServer, user_id: str, sessions: int) -> None:
    browser = Browser(project, user_token(user_id))
    seen = browser.rows(f"/{SESSIONS}?select=session_id,user_id,state,seq")
    assert [(row["user_id"], row["seq"]) for row in seen] == [(user_id, 3)] * sessions
    events = browser.rows(f"/{EVENTS}?select=session_id,seq,payload&order=seq.asc")
    assert {row["session_id"] for row in events} == {row["session_id"] for row in seen}
    assert [row["seq"] for row in events] == sorted([1, 2, 3] * sessions)
    assert {row["payload"] for row in events if row["seq"] == 3} == {f'{{"text":"by {user_id}"}}'}
    browser.close()


def test_a_user_sees_nothing_of_anothers_session_even_if_he_knows_it(project: SupabaseServer) -> None:
    theirs = project.sql(f"select session_id from {SESSIONS} where user_id = '{UUID}'")
    browser = Browser(project, user_token(CUID))
    assert browser.rows(f"/{SESSIONS}?session_id=eq.{theirs}") == []
    assert browser.rows(f"/{EVENTS}?session_id=eq.{theirs}") == []
    assert browser.rows(f"/{SESSIONS}?user_id=eq.{UUID}") == []
    browser.close()


@pytest.mark.parametrize("bearer", [user_token(STRANGER), token("authenticated"), user_token("")])
def test_whoever_has_no_session_sees_none(project: SupabaseServer, bearer: str) -> None:
    browser = Browser(project, bearer)
    assert browser.rows(f"/{SESSIONS}") == browser.rows(f"/{EVENTS}") == []
    browser.close()


def test_whoever_is_not_signed_in_may_not_even_look(project: SupabaseServer) -> None:
    browser = Browser(project, None)
    tables = _tables(project)
    assert {SESSIONS, EVENTS} < set(tables)
    assert {table: browser.ask("GET", f"/{table}") for table in tables} == dict.fromkeys(tables, (401, "42501"))
    browser.close()


def test_signed_in_users_may_read_two_tables_only(project: SupabaseServer) -> None:
    browser = Browser(project, user_token(CUID))
    others = [table for table in _tables(project) if table not in (SESSIONS, EVENTS)]
    assert others
    assert {table: browser.ask("GET", f"/{table}") for table in others} == dict.fromkeys(others, (403, "42501"))
    browser.close()


def test_nobody_with_a_browser_may_call_a_function(project: SupabaseServer, browser: Browser, visitor: Visitor) -> None:
    calls = _calls(project)
    assert {"rejoinder_commit_v1", "rejoinder_load_v1", "rejoinder_delete_v1", "rejoinder_schema_v1"} <= calls.keys()
    answers = {name: browser.ask("POST", f"/rpc/{name}", arguments) for name, arguments in calls.items()}
    assert answers == dict.fromkeys(calls, (visitor.status, "42501"))


def test_nobody_with_a_browser_may_write(project: SupabaseServer, browser: Browser, visitor: Visitor) -> None:
    """Not even his own rows: what is in the log, the server alone has put there."""
    before = project.sql(f"select count(*), sum(seq), max(state) from {SESSIONS}")
    refused = (visitor.status, "42501")
    for table in _tables(project):
        columns = f"select column_name from information_schema.columns where table_name = '{table}' limit 1"
        column = project.sql(columns)
        assert browser.ask("POST", f"/{table}", {column: "x"}) == refused
        assert browser.ask("PATCH", f"/{table}?{column}=eq.x", {column: "x"}) == refused
        assert browser.ask("DELETE", f"/{table}?{column}=eq.x") == refused
    assert browser.ask("PATCH", f"/{SESSIONS}?user_id=eq.{CUID}", {"state": "STOLEN"}) == refused
    assert browser.ask("PATCH", f"/{SESSIONS}?user_id=eq.{UUID}", {"user_id": CUID}) == refused
    assert browser.ask("DELETE", f"/{EVENTS}?seq=eq.1") == refused
    assert project.sql(f"select count(*), sum(seq), max(state) from {SESSIONS}") == before


def test_the_secret_key_may_call_every_function(project: SupabaseServer, server_side: Browser) -> None:
    for name, arguments in _calls(project).items():
        status, seen = server_side.ask("POST", f"/rpc/{name}", arguments)
        assert (status, seen) != (403, "42501"), name
        assert status < 500, (name, seen)


def test_no_right_is_left_over(project: SupabaseServer) -> None:
    """Also where no request comes by: what the roles hold, PUBLIC among them, is in the catalogue."""
    held = "select grantee, table_name, privilege_type from information_schema.role_table_grants"
    browsers = "grantee in ('anon', 'authenticated', 'PUBLIC') and table_name like 'rejoinder%' order by 1, 2"
    assert project.sql(f"{held} where {browsers}").splitlines() == [
        f"authenticated|{EVENTS}|SELECT",
        f"authenticated|{SESSIONS}|SELECT",
    ]
    may_call = (
        "(has_function_privilege('anon', oid, 'execute') or has_function_privilege('authenticated', oid, 'execute'))"
    )
    assert project.sql(f"select proname from pg_proc where proname like 'rejoinder%' and {may_call}") == ""
    assert project.sql("select relname from pg_class where relname like 'rejoinder%' and relkind = 'S'") == ""


def test_every_table_has_row_level_security(project: SupabaseServer) -> None:
    unprotected = (
        "select relname from pg_class where relname like 'rejoinder%' and relkind = 'r' and not relrowsecurity"
    )
    assert project.sql(unprotected) == ""
    for_whom = "select tablename, cmd, roles::text from pg_policies where tablename like 'rejoinder%' order by 1"
    assert project.sql(for_whom).splitlines() == [
        f"{EVENTS}|SELECT|{{authenticated}}",
        f"{SESSIONS}|SELECT|{{authenticated}}",
    ]


def test_functions_work_with_the_callers_rights_and_an_empty_search_path(project: SupabaseServer) -> None:
    lax = "select proname from pg_proc where proname like 'rejoinder%' and "
    assert project.sql(f"{lax} prosecdef") == ""
    assert project.sql(f"{lax} not coalesce(proconfig, '{{}}') @> array['search_path=\"\"']") == ""


@pytest.mark.parametrize("claims", ["", '{"role": "authenticated"}', '{"sub": null}'])
def test_without_a_user_in_the_claims_there_is_nothing_and_no_error(project: SupabaseServer, claims: str) -> None:
    """After a request PostgREST's settings are '' and not null."""
    become = f"set role authenticated; set request.jwt.claims = '{claims}';"
    seen = project.postgres.sql(project.database, f"{become} select count(*) from public.{SESSIONS}")
    assert seen == "0"


def test_the_migrations_may_be_run_again(project: SupabaseServer) -> None:
    before = project.sql(f"select count(*), sum(seq) from {SESSIONS}")
    project.migrate()
    assert project.sql(f"select count(*), sum(seq) from {SESSIONS}") == before
    test_no_right_is_left_over(project)
    test_every_table_has_row_level_security(project)
