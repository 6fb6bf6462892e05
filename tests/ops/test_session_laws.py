"""Every invariant of a stored session, broken on purpose, is found and named."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from server.ops.diagnosis import LAWS
from tests.support.process import ROOT
from tests.support.stored import SCRIPT, SESSION, Seen, edit, stopped

Look = Callable[..., Seen]

UPDATE = "update events set"
END_AGAIN = (
    "insert into events (session, seq, type, role, message_id, client_id, turn, payload, created_at)"
    " select session, 10, type, role, 'again', client_id, turn, json_set(payload, '$.from', state, '$.to', state),"
    " events.created_at + 100 from events join sessions on number = session where events.seq = {}"
)
COUNTED = "update sessions set seq = 10, version = 4, updated_at = (select max(created_at) from events)"


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    return await stopped(tmp_path)


@pytest.fixture
def look(database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    """The script in this process: there are many runs, and starting Python takes longer than each."""
    monkeypatch.chdir(ROOT)
    specification = importlib.util.spec_from_file_location("check_session_state", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)

    def run(*arguments: str) -> Seen:
        status = script.main([SESSION, "--store", f"sqlite:///{database}", *arguments])
        return Seen(status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("statements", "laws", "problem"),
    [
        (["delete from events where seq = 7"], {"seq", "fold"}, "event 8 stands behind event 6"),
        (["delete from events where seq = 1"], {"seq", "fold"}, "event 2 stands behind event 0"),
        (["update sessions set state = 'X'"], {"fold"}, "state is X, the log gives CREATE_CONFIRMATION_PLAN"),
        (['update sessions set memory = \'{"topic":"Rama"}\''], {"fold"}, "memory differs in slides, topic"),
        (
            ["update sessions set memory = json_set(memory, '$.\"@usage\"', 'three cups')"],
            {"server", "fold"},
            "@usage of a wrong shape: it counts as empty",
        ),
        (["update sessions set visible = 7"], {"fold"}, "visible is 7, the log gives 6"),
        (["update sessions set card = null"], {"fold"}, "card is null, the log gives m-"),
        (["update sessions set version = 4"], {"version", "fold"}, "the version is 4, the turns are 3"),
        ([f"{UPDATE} created_at = created_at - 1 where seq = 4"], {"times"}, "event 4, 2025-11-13T02:13:20.002Z, is"),
        (
            [f"{UPDATE} message_id = (select message_id from events where seq = 1) where seq = 4"],
            {"message_ids"},
            "event 4",
        ),
        (
            ["drop index events_by_client", f"{UPDATE} client_id = 'c' where seq in (3, 6)"],
            {"client_ids"},
            "event 6 has the client id of event 3, c",
        ),
        (["update sessions set cursor = 3"], {"answers", "fold"}, "line 6 has an answer, but the cursor is 3"),
        (["update sessions set cursor = 11"], {"answers", "fold"}, "the cursor is 11, but the last line is 6"),
        ([f"{UPDATE} turn = 4 where seq = 5"], {"answers"}, "line 3 has no answer, but the cursor is 6"),
        ([f"{UPDATE} type = 'x' where seq = 5"], {"answers", "moves", "version", "fold"}, "belongs to turn 3"),
        ([END_AGAIN.format(9), COUNTED], {"answers"}, "event 10 answers event 6, again"),
        (
            [END_AGAIN.format(2), COUNTED, "update sessions set cursor = 0"],
            {"greeting", "answers"},
            "expected one opening turn, found 2",
        ),
        ([f"{UPDATE} turn = 3 where seq = 2"], {"greeting", "answers"}, "expected one opening turn, found 0"),
        (
            [f"{UPDATE} payload = json_set(payload, '$.from', 'X') where seq = 5"],
            {"moves"},
            "event 5 moves from X, but the state was PROVIDE_GREETING",
        ),
        ([f"{UPDATE} payload = '{{' where seq = 4"], {"readable", "fold"}, "event 4: Input data was truncated"),
        ([f"{UPDATE} payload = x'7b2261223a22ff227d' where seq = 4"], {"readable", "fold"}, "event 4: 'utf-8' codec"),
        (
            [f"{UPDATE} payload = '{{\"a\":{'[' * 5000}{']' * 5000}}}' where seq = 4"],
            {"readable", "fold"},
            "event 4: maximum recursion depth",
        ),
        ([f"{UPDATE} payload = '[]' where seq = 4"], {"readable", "fold"}, "event 4: Expected `object`"),
        ([f"{UPDATE} created_at = 'noon' where seq = 4"], {"readable", "fold"}, "event 4: Expected `int`"),
        ([f"{UPDATE} seq = 'last' where seq = 9"], {"readable", "fold"}, "event last: Expected `int`"),
        (
            [f"{UPDATE} payload = '{{}}' where seq = 5"],
            {"readable", "answers", "fold"},
            "event 5: a state_update without",
        ),
        ([f"{UPDATE} created_at = {10**18} where seq = 9"], {"fold"}, "updated_at is"),
        (["delete from events"], {"fold", "greeting", "version", "answers"}, "the log has no turn"),
    ],
)
def test_a_broken_law_is_named(database: Path, look: Look, statements: list[str], laws: set[str], problem: str) -> None:
    edit(database, *statements)
    seen = look("--json")
    assert seen.status == 3
    assert seen.report["sound"] is False
    assert laws <= seen.broken
    problems = [problem for law in seen.report["invariants"].values() for problem in law["problems"]]
    assert any(problem in one for one in problems), problems
    text = look()
    assert text.status == 3
    assert problem in text.out
    assert set(re.findall(r"^  BROKEN  (\w+)", text.out, re.MULTILINE)) == seen.broken
    assert "BROKEN. " in text.out.splitlines()[-1]


def test_laws_that_the_table_above_breaks_are_all_laws() -> None:
    mark = next(mark for mark in test_a_broken_law_is_named.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert set.union(*(laws for _, laws, _ in mark.args[1])) == set(LAWS)


def test_of_many_problems_some_are_spelt_out(database: Path, look: Look) -> None:
    edit(database, "update events set created_at = 1000 - seq")
    law = look("--json").report["invariants"]["times"]
    assert law["count"] == 8
    assert len(law["problems"]) == 5
    assert "… and 3 more" in look().out


def test_a_line_that_no_server_finds(database: Path, look: Look) -> None:
    edit(database, "delete from events where seq > 6", "update sessions set seq = 6")
    seen = look()
    assert seen.status == 3
    assert "(event 6): will NOT be answered" in seen.out


@pytest.mark.parametrize("statement", ["update sessions set memory = '['", "update sessions set version = 'x'"])
def test_a_damaged_session(database: Path, look: Look, statement: str) -> None:
    edit(database, statement)
    seen = look()
    assert (seen.status, seen.out) == (3, "")
    assert f"session {SESSION} is damaged: its row in sessions:" in seen.err


def test_a_log_without_its_session(database: Path, look: Look) -> None:
    """The log knows its session by the number in the row that is gone, so nobody can tell whose it is."""
    edit(database, "delete from sessions")
    seen = look()
    assert (seen.status, seen.out) == (1, "")
    assert f"there is no session {SESSION}" in seen.err
