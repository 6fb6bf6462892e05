"""The real PostgREST and its stand-in answer alike: whatever else is tested with one of them holds for the other."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.services.gateway import Fault
from tests.services.postgrest import ROWS_LIMIT
from tests.services.supabase import PUBLISHABLE_KEY, SECRET_KEY, SupabaseServer, supabase_server, token, user_token

PROBES: Final = """
    create table public.probes (id int primary key, owner text not null, note text);
    alter table public.probes enable row level security;
    grant select, insert, update, delete on public.probes to authenticated, service_role;
    create policy probes_read on public.probes for select to authenticated
        using (owner = (select auth.jwt() ->> 'sub'));
    create policy probes_insert on public.probes for insert to authenticated
        with check (owner = (select auth.jwt() ->> 'sub'));
    insert into public.probes values (1, 'ann', 'one'), (2, 'ann', null), (3, 'eve', 'three');
    create function public.probe_echo(value jsonb, word text default 'none') returns json language sql stable as $$
        select json_build_array(value, word)
    $$;
    create function public.probe_null() returns text language sql stable as $$ select null::text $$;
    create function public.probe_text() returns text language sql stable as $$ select 'a "b"'::text $$;
    create function public.probe_nothing() returns void language sql as $$ $$;
    create function public.probe_rows(ids int[]) returns setof public.probes language sql stable as $$
        select * from public.probes where id = any (ids) order by id
    $$;
    create function public.probe_many() returns setof int language sql stable as $$ select generate_series(1, 3000) $$;
    create function public.probe_one_large() returns json language sql stable as $$
        select json_agg(n) from generate_series(1, 3000) n
    $$;
    create function public.probe_raise(code text) returns void language plpgsql as $$
    begin
        insert into public.probes values (99, 'ann', 'is rolled back');
        raise exception 'on purpose' using errcode = code, detail = 'the detail', hint = 'the hint';
    end $$;
    create function public.probe_write_though_stable() returns void language plpgsql stable as $$
    begin perform public.probe_raise('P0001'); end $$;
    create function public.probe_context() returns json language sql stable as $$
        select json_build_array(
            current_user, current_setting('transaction_isolation'), current_setting('transaction_read_only'),
            current_setting('search_path'), current_setting('request.jwt.claims')::json ->> 'role',
            current_setting('request.jwt.claims')::json ->> 'sub', current_setting('request.method'),
            current_setting('request.path'), current_setting('request.headers')::json ->> 'x-probe')
    $$;
    create function public.probe_put() returns text language sql as $$
        insert into public.probes values (50, 'ann') returning 'it is put'
    $$;
    create function public.probe_secret() returns int language sql stable as $$ select 7 $$;
    revoke execute on function public.probe_secret() from public;
    grant execute on function public.probe_secret() to service_role;
    notify pgrst, 'reload schema';
"""
PATIENCE_S: Final = 60.0  # PostgREST looks for its database after 1, 2, 4, 8 … s
ANN: Final = user_token("ann")
SERVICE: Final = token("service_role")
ROWS: Final = [
    {"id": 1, "owner": "ann", "note": "one"},
    {"id": 2, "owner": "ann", "note": None},
    {"id": 3, "owner": "eve", "note": "three"},
]
#: What `probe_context` shows that is the same for everybody: between the user and its role, and behind its claims.
MOMENT: Final = ["read committed", "on", '"public", "public", "extensions"']
REQUEST: Final = ["POST", "/rpc/probe_context", "seen"]
#: method, path, token, body → status, what the body is: a code, or the value itself
CASES: Final[list[tuple[str, str, str | None, Any, int, Any]]] = [
    ("POST", "/rpc/probe_echo", SERVICE, {"value": {"b": [None, 2.5]}}, 200, [{"b": [None, 2.5]}, "none"]),
    ("POST", "/rpc/probe_echo", SERVICE, {"value": 1, "word": "x"}, 200, [1, "x"]),
    ("POST", "/rpc/probe_echo", SERVICE, {"value": 1, "word": None}, 200, [1, None]),
    ("POST", "/rpc/probe_echo", SERVICE, {"value": None}, 200, [None, "none"]),
    ("POST", "/rpc/probe_echo", SERVICE, {"word": "x"}, 404, "PGRST202"),
    ("POST", "/rpc/probe_echo", SERVICE, {"value": 1, "wird": "x"}, 404, "PGRST202"),
    ("POST", "/rpc/probe_echo", SERVICE, {"value": "\0"}, 400, "22P05"),
    ("POST", "/rpc/probe_nowhere", SERVICE, {}, 404, "PGRST202"),
    ("POST", "/rpc/probe_null", SERVICE, {}, 200, None),
    ("POST", "/rpc/probe_text", SERVICE, {}, 200, 'a "b"'),
    ("POST", "/rpc/probe_nothing", SERVICE, {}, 204, ...),
    ("POST", "/rpc/probe_rows", SERVICE, {"ids": [3, 1]}, 200, [ROWS[0], ROWS[2]]),
    ("POST", "/rpc/probe_rows", SERVICE, {"ids": []}, 200, []),
    ("POST", "/rpc/probe_rows", SERVICE, {"ids": ["x"]}, 400, "22P02"),
    ("POST", "/rpc/probe_many", SERVICE, {}, 200, list(range(1, ROWS_LIMIT + 1))),
    ("POST", "/rpc/probe_one_large", SERVICE, {}, 200, list(range(1, 3001))),
    ("PUT", "/rpc/probe_null", SERVICE, {}, 405, "PGRST101"),
    ("POST", "/rpc/probe_write_though_stable", SERVICE, {}, 405, "25006"),
    *[
        ("POST", "/rpc/probe_raise", SERVICE, {"code": code}, status, code)
        for code, status in {
            "P0001": 400, "PT409": 409, "PT418": 418, "22023": 400, "22P02": 400, "23505": 409, "23503": 409,
            "23514": 400, "40P01": 500, "42501": 403, "42P01": 404, "42883": 404, "53300": 503, "53400": 503,
            "54000": 413, "55P03": 500, "57014": 500, "58030": 500, "08006": 503, "28000": 403, "XX000": 500,
        }.items()
    ],
    ("POST", "/rpc/probe_secret", SERVICE, {}, 200, 7),
    ("POST", "/rpc/probe_secret", ANN, {}, 403, "42501"),
    ("POST", "/rpc/probe_secret", None, {}, 401, "42501"),
    ("POST", "/rpc/probe_context", None, {}, 200, ["anon", *MOMENT, "anon", None, *REQUEST]),
    ("POST", "/rpc/probe_context", ANN, {}, 200, ["authenticated", *MOMENT, "authenticated", "ann", *REQUEST]),
    ("POST", "/rpc/probe_null", "garbage", {}, 401, "PGRST301"),
    ("POST", "/rpc/probe_null", SECRET_KEY, {}, 401, "PGRST301"),
    ("POST", "/rpc/probe_null", ANN[:-5] + "AAAAA", {}, 401, "PGRST301"),
    ("POST", "/rpc/probe_null", user_token("ann", exp=1), {}, 401, "PGRST301"),
    ("POST", "/rpc/probe_null", token("nobody_knows_this_role"), {}, 400, "22023"),
    ("POST", "/rpc/probe_null", token("postgres"), {}, 403, "42501"),
    ("GET", "/probes?order=id.desc&select=id", ANN, None, 200, [{"id": 2}, {"id": 1}]),
    ("GET", "/probes?order=id.asc&limit=1", SERVICE, None, 200, ROWS[:1]),
    ("GET", "/probes?owner=eq.eve&select=id,note", SERVICE, None, 200, [{"id": 3, "note": "three"}]),
    ("GET", "/probes?owner=eq.eve", ANN, None, 200, []),
    ("GET", "/probes", None, None, 401, "42501"),
    ("GET", "/probes?nowhere=eq.1", SERVICE, None, 400, "42703"),
    ("GET", "/nowhere", SERVICE, None, 404, "42P01"),
    ("POST", "/probes", ANN, {"id": 4, "owner": "ann"}, 201, ...),
    ("POST", "/probes", ANN, {"id": 5, "owner": "eve"}, 403, "42501"),
    ("POST", "/probes", SERVICE, {"id": 1, "owner": "ann"}, 409, "23505"),
    ("POST", "/probes", SERVICE, {"id": 6, "owner": None}, 400, "23502"),
    ("PATCH", "/probes?id=eq.3", SERVICE, {"note": "new"}, 204, ...),
    ("PATCH", "/probes?id=eq.1", ANN, {"note": "new"}, 204, ...),
    ("DELETE", "/probes?id=eq.4", SERVICE, None, 204, ...),
    ("GET", "/probes?order=id.asc", SERVICE, None, 200, [*ROWS[:2], {**ROWS[2], "note": "new"}]),
]  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["real", "stand-in"])
def server(request: pytest.FixtureRequest) -> Iterator[SupabaseServer]:
    with supabase_server(migrated=False, standin=request.param) as started:
        started.sql(PROBES)
        yield started


def ask(server: SupabaseServer, method: str, path: str, bearer: str | None, body: Any = None) -> httpx.Response:
    """A request to PostgREST itself, past the gateway."""
    headers = {"X-Probe": "seen"} | ({} if bearer is None else {"Authorization": f"Bearer {bearer}"})
    transport = httpx.HTTPTransport(uds=str(server.rest.socket), verify=False)
    with httpx.Client(transport=transport, base_url="http://localhost", headers=headers) as client:
        return client.request(method, path, json=body)


def test_both_give_the_same_answers_to_the_same_requests(server: SupabaseServer) -> None:
    ask_until(server, "probe_context", httpx.codes.OK)
    wrong = {}
    for method, path, bearer, body, status, expected in CASES:
        response = ask(server, method, path, bearer, body)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            error = response.json()
            seen: Any = error["code"]
            assert error.keys() == {"code", "details", "hint", "message"}
            assert response.headers["content-type"] == "application/json; charset=utf-8"
            assert ("www-authenticate" in response.headers) == (response.status_code == httpx.codes.UNAUTHORIZED)
        else:
            seen = response.json() if response.content else ...
        if (response.status_code, seen) != (status, expected):
            wrong[f"{method} {path} {body}"] = (response.status_code, seen)
    assert wrong == {}


def test_a_raised_error_comes_whole(server: SupabaseServer) -> None:
    response = ask(server, "POST", "/rpc/probe_raise", SERVICE, {"code": "PT409"})
    told = {"code": "PT409", "details": "the detail", "hint": "the hint", "message": "on purpose"}
    assert response.json() == told
    assert ask(server, "GET", "/probes?id=eq.99", SERVICE).json() == []


def test_malformed_json_is_refused(server: SupabaseServer) -> None:
    transport = httpx.HTTPTransport(uds=str(server.rest.socket), verify=False)
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        headers = {"Authorization": f"Bearer {SERVICE}", "Content-Type": "application/json"}
        response = client.post("/rpc/probe_echo", content='{"value": ', headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST102")


def test_a_path_that_is_none_has_an_error_without_a_code(server: SupabaseServer) -> None:
    response = ask(server, "POST", "/rest/v1/rpc/probe_null", SERVICE, {})
    assert (response.status_code, response.json()) == (404, {})


def ask_until(server: SupabaseServer, function: str, status: int) -> httpx.Response:
    """Ask until the answer has this status: nobody is told when PostgREST has read the schema or found its database."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        response = ask(server, "POST", f"/rpc/{function}", SERVICE, {})
        if response.status_code == status:
            return response
        time.sleep(0.01)  # polling what another process does
    raise AssertionError(f"{function}: {response.status_code} {response.text}")


def test_a_new_function_is_known_once_the_schema_is_told_to_be_read_again(server: SupabaseServer) -> None:
    server.sql("create function public.probe_new() returns int language sql stable as $$ select 1 $$")
    assert ask(server, "POST", "/rpc/probe_new", SERVICE, {}).status_code == httpx.codes.NOT_FOUND
    server.sql("notify pgrst, 'reload schema'")
    assert ask_until(server, "probe_new", httpx.codes.OK).json() == 1


def test_without_its_database_it_says_503_and_comes_back(server: SupabaseServer) -> None:
    server.postgres.kill()
    try:
        # On a connection that is gone the real one may say 400 first, and no code.
        ask_until(server, "probe_null", httpx.codes.SERVICE_UNAVAILABLE)
    finally:
        server.postgres.start()
    assert ask_until(server, "probe_null", httpx.codes.OK).json() is None


# ---------------------------------------------------------------- the gateway


def knock(server: SupabaseServer, key: str | None, bearer: str | None = None, **headers: str) -> tuple[int, Any]:
    """Ask through the gateway who we are."""
    headers |= {} if key is None else {"apikey": key}
    headers |= {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    response = httpx.post(f"{server.url}/rest/v1/rpc/probe_context", headers=headers, json={}, verify=False)
    seen = json.loads(response.text)
    return response.status_code, seen[0] if isinstance(seen, list) else seen.get("code", "no code")


def test_the_gateway_knows_the_keys(server: SupabaseServer) -> None:
    ask_until(server, "probe_context", httpx.codes.OK)
    assert knock(server, None) == (401, "no code")
    assert knock(server, "sb_secret_unknown") == (401, "no code")
    assert knock(server, SECRET_KEY) == (200, "service_role")
    assert knock(server, SECRET_KEY, SECRET_KEY) == (200, "service_role")
    assert knock(server, SECRET_KEY, **{"User-Agent": "Mozilla/5.0"}) == (401, "no code")
    assert knock(server, PUBLISHABLE_KEY) == (200, "anon")
    assert knock(server, PUBLISHABLE_KEY, ANN) == (200, "authenticated")
    assert knock(server, server.service_role_key, server.service_role_key) == (200, "service_role")
    assert knock(server, server.anon_key) == (200, "anon")
    assert httpx.get(f"{server.url}/auth/v1/user", verify=False).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("fault", Fault)
def test_the_gateway_fails_when_it_is_told_to(server: SupabaseServer, fault: Fault) -> None:
    ask(server, "DELETE", "/probes?id=eq.50", SERVICE)
    server.gateway.fail(fault)
    headers = {"apikey": SECRET_KEY, "Prefer": "return=representation"}
    with httpx.Client(base_url=f"{server.url}/rest/v1", headers=headers, timeout=0.5, verify=False) as client:
        if fault.value[:3].isdigit():
            assert client.post("/rpc/probe_put").status_code == int(fault.value[:3])
        else:
            with pytest.raises(httpx.TransportError):
                client.post("/rpc/probe_put")
        assert len(client.get("/probes?id=eq.50").json()) == fault.executed
