"""Reading a session in one kind of store: what each of them can do to a reader, and what a reader may not need."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest
import redis

from server.errors import StoreUnavailable
from server.store.inspect.contract import PAGE_LIMIT, Damaged
from server.store.redis.store import RedisStore
from tests.conformance.opened_redis import calls
from tests.services.gateway import PREFIX, Fault
from tests.services.postgres import running_server
from tests.services.redis import empty_server
from tests.services.supabase import PUBLISHABLE_KEY, SECRET_KEY, empty_project, user_token
from tests.store.test_inspectors import LINES, talk_long
from tests.support.kept_in import KeptInPostgres, KeptInRedis, KeptInSupabase
from tests.support.stored import KEY, SESSION

INSPECT = f"{PREFIX}/rpc/rejoinder_inspect_v2"
PAGES = (LINES + 2) // PAGE_LIMIT + 1


@pytest.fixture
def postgres() -> Iterator[KeptInPostgres]:
    server = running_server()
    with server.database() as dsn:
        yield KeptInPostgres(server, dsn)


@pytest.fixture
def supabase() -> KeptInSupabase:
    return KeptInSupabase(empty_project())


@pytest.fixture
def durable() -> KeptInRedis:
    return KeptInRedis(empty_server("durable"))


# ---------------------------------------------------------------- PostgreSQL


def test_a_database_that_takes_no_writes_can_be_looked_into(postgres: KeptInPostgres) -> None:
    postgres.fill()
    postgres.sql(f"alter database {postgres.name} set default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        postgres.fill()
    assert postgres.check().status == 0


def test_the_transaction_is_one_that_cannot_write(postgres: KeptInPostgres) -> None:
    postgres.sql(
        "alter function rejoinder_inspect_v2 rename to hidden; create function rejoinder_inspect_v2(session text,"
        " owner text, after bigint, page integer) returns json language plpgsql as $$ begin"
        " insert into rejoinder_migrations values ('1', current_setting('transaction_isolation'), '');"
        " return hidden(session, owner, after, page); end $$"
    )
    postgres.fill()
    seen = postgres.check()
    assert (seen.status, seen.out) == (2, "")
    assert "cannot execute INSERT in a read-only transaction (25006)" in seen.err


def test_a_role_that_may_not_read(postgres: KeptInPostgres) -> None:
    postgres.sql("create role visitor login")
    try:
        postgres.environ = {"DATABASE_URL": postgres.environ["DATABASE_URL"].replace("//postgres@", "//visitor@")}
        seen = postgres.check()
    finally:
        postgres.sql("drop role visitor")
    assert (seen.status, seen.out) == (2, "")
    assert "permission denied for function rejoinder_schema_v1 (42501)" in seen.err


def test_columns_that_lost_their_rules(postgres: KeptInPostgres) -> None:
    postgres.fill()
    postgres.sql("alter table rejoinder_events alter payload drop not null, alter role drop not null")
    postgres.sql("update rejoinder_events set payload = null where seq = 4")
    postgres.sql("update rejoinder_events set role = null where seq = 5")
    seen = postgres.check("--json")
    assert seen.status == 3
    assert [problem.partition(":")[0] for problem in seen.report["invariants"]["readable"]["problems"]] == [
        "event 4",
        "event 5",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret/key@127.0.0.1/x",  # the / cuts it, and what stands before would be a port
        "postgresql://u:secret@127.0.0.1:port/x",
        "postgresql://u:secret@127.0.0.1/x?sslmode=odd",
    ],
)
def test_an_address_that_cannot_be_used_is_not_shown(postgres: KeptInPostgres, url: str) -> None:
    postgres.environ = {"STORE_URL": url}
    seen = postgres.check()
    assert (seen.status, seen.out) == (2, "")
    assert "cannot read postgresql://***@127.0.0.1" in seen.err
    assert "secret" not in seen.err


# ---------------------------------------------------------------- Supabase


def test_each_page_is_one_call(supabase: KeptInSupabase) -> None:
    supabase.do(talk_long)
    before = supabase.project.gateway.calls[INSPECT]
    assert supabase.check().status == 0
    assert supabase.project.gateway.calls[INSPECT] - before == PAGES


@pytest.mark.parametrize(
    "name", ["rejoinder_inspect_v2(text, text, bigint, integer)", "rejoinder_owners_v1(text, integer)"]
)
def test_who_may_call_a_function_of_the_operators(supabase: KeptInSupabase, name: str) -> None:
    may = f"has_function_privilege(r, '{name}', 'execute')"
    roles = supabase.sql(f"select r, {may} from unnest(array['anon', 'authenticated', 'service_role']) r")
    assert roles.splitlines() == ["anon|f", "authenticated|f", "service_role|t"]
    written = supabase.sql(f"select provolatile from pg_proc where oid = '{name}'::regprocedure")
    assert written == "s"  # PostgREST runs such a function in a transaction that cannot write


def test_who_may_call_the_operators_door(supabase: KeptInSupabase) -> None:
    """Not a browser, and not a user: not even the session's own."""
    supabase.fill()
    asked = {"session": SESSION, "owner": "u", "after": 0, "page": 1}
    answers = {}
    for name, key, bearer in (
        ("anybody", PUBLISHABLE_KEY, None),
        ("the user", PUBLISHABLE_KEY, user_token("u")),
        ("the operator", SECRET_KEY, None),
    ):
        headers = {"apikey": key} | ({} if bearer is None else {"Authorization": f"Bearer {bearer}"})
        response = httpx.post(f"{supabase.project.url}{INSPECT}", headers=headers, json=asked)
        answers[name] = response.status_code
    assert answers == {"anybody": 401, "the user": 403, "the operator": 200}


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        (PUBLISHABLE_KEY, "SUPABASE_SERVICE_KEY=***: this is the publishable key"),
        (user_token("u"), "SUPABASE_SERVICE_KEY=***: this is the authenticated key"),
    ],
)
def test_a_key_for_browsers(supabase: KeptInSupabase, key: str, complaint: str) -> None:
    seen = supabase.check(SUPABASE_SERVICE_KEY=key)
    assert (seen.status, seen.out) == (2, "")
    assert complaint in seen.err
    assert key not in seen.err


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.CUT, Fault.BAD_GATEWAY, Fault.PAGE, Fault.EMPTY])
@pytest.mark.parametrize("function", ["rejoinder_owners_v1", "rejoinder_inspect_v2"])
def test_an_answer_that_is_none(supabase: KeptInSupabase, fault: Fault, function: str) -> None:
    supabase.fill()
    supabase.project.gateway.fail(fault, function=function)
    seen = supabase.check()
    assert (seen.status, seen.out) == (2, "")
    assert f"cannot read {supabase.project.url}: Supabase " in seen.err
    assert supabase.check().status == 0


# ---------------------------------------------------------------- Redis


def test_each_page_is_one_script(durable: KeptInRedis) -> None:
    durable.do(talk_long)
    before = calls(durable.server, "lrange")
    assert durable.check().status == 0
    assert calls(durable.server, "lrange") - before == PAGES


@contextlib.contextmanager
def reader(kept: KeptInRedis) -> Iterator[str]:
    """The URL of a user that may call no command that writes."""
    rights = ("+@read", "+@connection", "+eval", "+evalsha", "+info", "+config|get")
    kept.server.command("ACL", "SETUSER", "reader", "on", ">password", "~*", *rights)
    try:
        yield kept.server.url.replace("//", "//reader:password@")
    finally:
        kept.server.command("ACL", "DELUSER", "reader")


def test_a_user_that_may_not_write(durable: KeptInRedis) -> None:
    durable.fill()
    with reader(durable) as url:
        assert durable.check("--store", url).status == 0


@pytest.mark.parametrize("flavour", ["plain", "durable"])
def test_it_does_not_matter_what_the_server_promises(durable: KeptInRedis, flavour: str) -> None:
    server = empty_server("plain" if flavour == "plain" else "durable")
    weak = KeptInRedis(server)
    weak.environ = {"STORE_URL": f"{server.url}?durability=weak"}
    weak.store = lambda: RedisStore(f"{server.url}?durability=weak")  # type: ignore[method-assign]
    weak.fill()
    assert weak.check().status == 0
    assert KeptInRedis(server).check().status == 0


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("session", "its row in sessions: the session is a string, not a hash"),
        ("log", "the log is a string, not a list"),
    ],
)
def test_a_key_of_another_type(durable: KeptInRedis, key: str, reason: str) -> None:
    durable.fill()
    durable.server.command("SET", f"rejoinder:2:{key}:u:{SESSION}", "x")
    seen = durable.check()
    assert seen.status == 3
    assert reason in seen.out + seen.err


def test_bytes_that_are_no_text(durable: KeptInRedis) -> None:
    durable.fill()
    with redis.Redis.from_url(durable.server.url) as client:
        text = client.lindex(durable.log, 3)
        assert isinstance(text, bytes)
        client.lset(durable.log, 3, text.replace(b"Who", b"\xff\xfe"))
    seen = durable.check("--json")
    assert seen.status == 3
    assert [entry["seq"] for entry in seen.report["history"]] == list(range(1, 10))
    assert seen.report["invariants"]["readable"]["count"] == 1
    with redis.Redis.from_url(durable.server.url) as client:
        client.hset(durable.session, "user_id", b"\xff")
    seen = durable.check()
    assert (seen.status, seen.out) == (3, "")
    assert "is damaged: its row in sessions: " in seen.err


@pytest.mark.parametrize("field", ["user_id", "state", "seq"])
def test_a_field_that_is_missing(durable: KeptInRedis, field: str) -> None:
    durable.fill()
    durable.server.command("HDEL", durable.session, field)
    with durable.inspector() as inspector:
        look = inspector.look(KEY)
        assert isinstance(look.snapshot, Damaged)
        assert "lacks" in look.snapshot.reason
        assert len(list(look.log)) == 9
    assert durable.check().status == 3


def test_an_option_that_there_is_not(durable: KeptInRedis) -> None:
    seen = durable.check("--store", durable.server.url + "?socket_timeout=1")
    assert (seen.status, seen.out) == (2, "")
    assert "there is no option socket_timeout" in seen.err


def test_a_nesting_without_end(durable: KeptInRedis) -> None:
    durable.fill()
    durable.spoil(4, '{"a":' + "[" * 5000 + "]" * 5000 + "}")
    seen = durable.check("--json")
    assert seen.status == 3
    [problem] = seen.report["invariants"]["readable"]["problems"][:1]
    assert "event 4: what is stored is damaged: maximum recursion depth" in problem
