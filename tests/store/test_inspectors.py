"""The script for the person on call over every kind of store: the same words, the same statuses, nothing changed."""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from server.errors import StoreUnavailable
from server.records import Event, SessionKey, Snapshot, Update, Write
from server.store.inspect.contract import PAGE_LIMIT, Damaged
from server.store.library import FullStore
from tests.support.kept import Kept
from tests.support.kept_in import KEPT, KeptInSqlite
from tests.support.stored import KEY, SESSION, START_MS, Talk, ended, said

LINES = 2 * PAGE_LIMIT + 1
LEASE_MS = 60_000
DRIVER_S = 60.0  # how long asyncpg would wait by itself
#: What tests/store/test_inspector.py tries with a file.
remote = pytest.mark.parametrize("bare", [name for name in KEPT if name != "sqlite"], indirect=True)


@pytest.fixture(params=KEPT)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """A store without a session."""
    with KEPT[request.param](tmp_path) as kept:
        yield kept


@pytest.fixture
def kept(bare: Kept) -> Kept:
    """A store with the session."""
    bare.fill()
    return bare


async def talk_long(store: FullStore, start_ms: int = START_MS) -> None:
    """A session with a log of more than two pages."""
    opening = [said("Hello!"), *(said(str(number)) for number in range(LINES)), ended(None, "X", "Open")]
    await Talk(store).answer(*(structs.replace(event, created_at=start_ms) for event in opening))


async def delete(store: FullStore) -> None:
    assert await store.delete(KEY)


# ---------------------------------------------------------------- what is shown


def test_a_sound_session(kept: Kept) -> None:
    before = kept.contents()
    seen = kept.check_as_a_person()
    assert (seen.status, seen.err) == (0, "")
    assert "State is CREATE_CONFIRMATION_PLAN – will restore 6 messages." in seen.out
    assert re.search(r"^  at work  nobody holds a lease$", seen.out, re.MULTILINE)
    assert re.search(r"^  3  02:13:20  \[user\] chat_message .* I need a presentation about Krishna", seen.out, re.M)
    report = kept.check("--json").report
    assert report["sound"] is True
    assert report["session"]["seq"] == 9
    assert [entry["seq"] for entry in report["history"]] == list(range(1, 10))
    assert report["memory"] == {"topic": "Krishna", "slides": list(range(99))}
    assert report["restoration"]["action_request"]["seq"] == 8
    assert kept.contents() == before


def test_a_store_that_a_flag_names(kept: Kept) -> None:
    environ = dict(kept.environ)
    url = environ.pop("STORE_URL", None) or environ.pop("DATABASE_URL", None) or "supabase"
    kept.environ = environ
    assert kept.check("--store", url).status == 0


@pytest.mark.parametrize(
    ("damage", "laws", "problem"),
    [
        (lambda kept: kept.spoil(4, "{"), {"readable", "fold"}, "event 4: "),
        (lambda kept: kept.spoil(4, "[]"), {"readable", "fold"}, "event 4: "),
        (lambda kept: kept.spoil(5, "{}"), {"readable", "answers"}, "event 5: a state_update without"),
        (lambda kept: kept.remove(7), {"seq", "fold"}, "event 8 stands behind event 6"),
        (lambda kept: kept.remove(1), {"seq", "fold"}, "event 2 stands behind event 0"),
        (lambda kept: kept.alter("cursor", 11), {"answers", "fold"}, "the cursor is 11, but the last line is 6"),
        (lambda kept: kept.alter("state", "X"), {"fold"}, "state is X, the log gives CREATE_CONFIRMATION_PLAN"),
        (lambda kept: kept.alter("seq", 8), {"fold"}, "seq is 8, the log gives 9"),
    ],
    ids=["no JSON", "no object", "no state", "gap", "no first event", "cursor ahead", "other state", "other seq"],
)
def test_a_broken_law_is_named(kept: Kept, damage: Callable[[Kept], None], laws: set[str], problem: str) -> None:
    damage(kept)
    seen = kept.check("--json")
    assert seen.status == 3
    assert laws <= seen.broken
    assert any(problem in one for law in seen.report["invariants"].values() for one in law["problems"])


def test_a_damaged_session(kept: Kept) -> None:
    kept.alter("memory", "[")
    seen = kept.check()
    assert (seen.status, seen.out) == (3, "")
    assert f"session {SESSION} is damaged: its row in sessions: " in seen.err


def test_a_log_without_its_session(kept: Kept) -> None:
    """A file knows a session's log by the number that stands in its row: without the row nobody knows whose it is."""
    kept.orphan()
    seen = kept.check()
    if isinstance(kept, KeptInSqlite):
        assert (seen.status, seen.out) == (1, "")
        return
    assert (seen.status, seen.out) == (3, "")
    assert "is damaged: event 1: it is in the log, but sessions has no such session" in seen.err


@pytest.mark.parametrize("user_id", ["v", "a family 👨\u200d👩\u200d👧", "it's 100%:*"])
def test_several_owners_of_one_id(kept: Kept, user_id: str) -> None:
    """The script says who they are, in words for a shell, and looks at the one that is named."""
    kept.do(lambda store: store.commit([_greeting(said("Hi"), user_id)]))
    seen = kept.check()
    assert (seen.status, seen.out) == (64, "")
    assert f"several users have a session {SESSION}: add --user with one of: " in seen.err
    assert {"u", user_id} == set(shlex.split(seen.err.rpartition(": ")[2].replace(", ", " ")))
    assert kept.check("--user", "u", "--json").report["session"]["seq"] == 9
    other = kept.check("--user", user_id, "--json").report
    assert (other["session"]["user_id"], other["session"]["seq"]) == (user_id, 2)
    assert kept.check("--user", "w").status == 1
    kept.do(lambda store: store.delete(KEY._replace(user_id=user_id)))
    assert kept.check().status == 0


def _greeting(said_first: Event, user_id: str) -> Write:
    update = Update(workflow="builder", state="X", cursor=0, memory={}, card=None)
    events = (said_first, ended(None, "X", "Open"))
    return Write(session_id=SESSION, user_id=user_id, events=events, expected_version=0, update=update)


def test_who_is_at_work(kept: Kept) -> None:
    kept.do(lambda store: store.hold([KEY, SessionKey("v", SESSION)], "p1", LEASE_MS))
    seen = re.search(r"^  at work  a process \(lease ends in (\d+) ms\)$", kept.check().out, re.MULTILINE)
    assert seen is not None
    assert 0 < int(seen[1]) <= LEASE_MS
    kept.do(lambda store: store.release([KEY], "p1"))
    assert kept.check("--json").report["lease_ms"] is None


def test_a_lease_that_is_over_is_none(kept: Kept) -> None:
    kept.do(lambda store: store.hold([KEY], "p1", 1))
    with kept.inspector() as inspector:
        while (left_ms := inspector.look(KEY).lease_ms) is not None:
            assert left_ms == 1


# ---------------------------------------------------------------- one moment


def test_a_log_of_several_pages(bare: Kept) -> None:
    bare.do(talk_long)
    report = bare.check("--json").report
    assert [entry["seq"] for entry in report["history"]] == list(range(1, LINES + 3))
    assert report["sound"] is True


@remote
def test_what_comes_meanwhile_is_not_seen(bare: Kept) -> None:
    bare.do(talk_long)
    with bare.inspector() as inspector:
        look = inspector.look(KEY)
        bare.do(lambda store: Talk(store).say("one more"))
        assert [event.seq for event in look.log] == list(range(1, LINES + 3))
        assert isinstance(look.snapshot, Snapshot)
        assert look.snapshot.seq == LINES + 2
    with bare.inspector() as inspector:
        assert len(list(inspector.look(KEY).log)) == LINES + 3


@remote
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_session_that_ends_meanwhile(bare: Kept, is_replaced: bool) -> None:
    bare.do(talk_long)
    with bare.inspector() as inspector:
        look = inspector.look(KEY)
        first = next(look.log)
        bare.do(delete)
        if is_replaced:
            bare.do(lambda store: talk_long(store, START_MS + 1))
        if bare.is_one_transaction:
            assert [first.seq, *(event.seq for event in look.log)] == list(range(1, LINES + 3))
        else:
            with pytest.raises(StoreUnavailable, match="the session was deleted meanwhile; try again"):
                list(look.log)


def test_several_sessions_in_one_block(kept: Kept) -> None:
    with kept.inspector() as inspector:
        known, unknown = inspector.look(KEY), inspector.look(KEY._replace(session_id="nobody"))
        assert not any(isinstance(event, Damaged) for event in known.log)
        assert (unknown.snapshot, list(unknown.log), unknown.lease_ms) == (None, [], None)
        assert list(known.log) == []  # it was read


# ---------------------------------------------------------------- nothing to look at


@pytest.mark.parametrize("session", ["nobody", "Zoë", "'; drop table x; --", "5F1C8A52"])
def test_not_found(kept: Kept, session: str) -> None:
    assert kept.check(session=session) == (1, "", f"check_session_state.py: there is no session {session}\n")


def test_an_id_of_other_bytes_is_not_found(kept: Kept) -> None:
    seen = kept.check(session="\udcff")
    assert (seen.status, seen.out) == (1, "")


def test_a_store_that_is_away(kept: Kept) -> None:
    with kept.away():
        seen = kept.check()
    assert (seen.status, seen.out) == (2, "")
    assert seen.err.startswith(("check_session_state.py: cannot read ", "check_session_state.py: there is no file "))
    assert kept.check().status == 0


@remote
def test_a_store_that_does_not_answer(bare: Kept) -> None:
    began = time.monotonic()
    with bare.stalled():
        seen = bare.check(STORE_TIMEOUT_MS="500")
    assert time.monotonic() - began < DRIVER_S
    assert (seen.status, seen.out) == (2, "")
    assert "did not answer within 500 ms" in seen.err


@remote
def test_a_key_that_is_not_taken(bare: Kept) -> None:
    bare.environ = bare.strange
    seen = bare.check()
    assert (seen.status, seen.out) == (2, "")
    assert re.search(r"role .* does not exist|does not take SUPABASE_SERVICE_KEY|AuthenticationError", seen.err)
    assert "secret@" not in seen.err
    assert "sb_secret_stranger" not in seen.err


@pytest.mark.parametrize("bare", ["sqlite", "postgres", "redis"], indirect=True)
def test_a_store_without_conversations(bare: Kept) -> None:
    bare.environ = bare.empty
    seen = bare.check()
    assert (seen.status, seen.out) == (2, "")
    assert re.search("has no conversations|has no tables of Rejoinder|no server has kept conversations", seen.err)


def test_a_later_schema(kept: Kept) -> None:
    kept.renew_schema()
    seen = kept.check()
    assert (seen.status, seen.out) == (2, "")
    assert "schema 99" in seen.err
