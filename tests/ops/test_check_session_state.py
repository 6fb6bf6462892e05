"""The script for the person on call: what it shows, and what it says when there is nothing to show."""

import contextlib
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from server.ops.diagnosis import LAWS
from tests.support.stored import (
    SCRIPT,
    SESSION,
    Talk,
    check,
    check_file,
    edit,
    ended,
    event,
    opened,
    stopped,
    talk_until_plan,
)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    return await stopped(tmp_path)


def test_a_sound_session(database: Path) -> None:
    seen = check_file(database)
    assert seen.status == 0
    assert seen.err == ""
    lines = seen.out.splitlines()
    assert "State is CREATE_CONFIRMATION_PLAN – will restore 6 messages." in seen.out
    assert "\x1b" not in seen.out
    for law in LAWS:
        assert re.search(rf"^  ok +{law} ", seen.out, re.MULTILINE)
    (line,) = [line for line in lines if "Krishna." in line]
    assert re.fullmatch(
        r"  3  02:13:20  \[user\] chat_message +Submit_Initial_Topic +I need a presentation about Krishna\. Please\.",
        line,
    )
    assert any(re.search(r"\[assistant\] chat_message +ASK_CLARIFYING_QUESTIONS +Who is it for", one) for one in lines)
    assert "Submit_Initial_Topic: PROVIDE_GREETING → ASK_CLARIFYING_QUESTIONS" in seen.out
    assert (
        "The open action request is event 8: Does this look right? [Yes, let's build it! | I'd like changes]"
        in seen.out
    )
    assert "Every line has its answer." in seen.out
    assert "sync_response tells has_strawman: false" in seen.out
    assert "No page is published." in seen.out
    assert re.search(r"^  slides +\[0,1,2,.*…$", seen.out, re.MULTILINE)
    assert max(map(len, lines)) < 170


def test_json(database: Path) -> None:
    seen = check_file(database, "--json")
    report = seen.report
    assert seen.status == 0
    assert list(report) == ["session", "lease_ms", "history", "memory", "restoration", "invariants", "sound"]
    assert report["sound"] is True
    assert report["lease_ms"] is None
    assert report["session"]["state"] == "CREATE_CONFIRMATION_PLAN"
    assert report["session"]["created_at"] == "2025-11-13T02:13:20.000Z"
    assert [entry["seq"] for entry in report["history"]] == list(range(1, 10))
    assert report["history"][2] == {
        "seq": 3,
        "created_at": "2025-11-13T02:13:20.002Z",
        "role": "user",
        "type": "chat_message",
        "message_id": report["history"][2]["message_id"],
        "text": "I need a presentation about Krishna. Please.",
        "intent": "Submit_Initial_Topic",
        "state": "ASK_CLARIFYING_QUESTIONS",
    }
    assert report["memory"] == {"topic": "Krishna", "slides": list(range(99))}
    assert report["restoration"]["messages"] == 6
    assert report["restoration"]["frames"] == 9
    assert report["restoration"]["action_request"]["seq"] == 8
    assert list(report["invariants"]) == list(LAWS)
    assert report["invariants"]["fold"] == {"ok": True, "says": LAWS["fold"], "count": 0, "problems": []}


async def test_a_line_without_answer_and_a_presentation(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        talk = Talk(store)
        await talk_until_plan(talk)
        line = await talk.say("build it")
        slides = event("slide_update", {"operation": "full_update", "metadata": {"main_title": "Bees"}}, line)
        made = event("presentation_url", {"url": "https://decks.example/d/1"}, line)
        known = {"presentation_url": made.payload["url"], "presentation_strawman": {"slides": [1, 2]}}
        built = ended("CREATE_CONFIRMATION_PLAN", "CONTENT_GENERATION", "Accept_Plan", line, **known)
        await talk.answer(slides, made, built)
        await talk.say("thanks")
        await talk.say("still there?")
    seen = check_file(tmp_path / "x.db", "--json")
    assert seen.status == 0
    restoration = seen.report["restoration"]
    assert restoration["unanswered"] == 2
    assert restoration["unanswered_from"] == 14
    assert restoration["unanswered_since"] == "2025-11-13T02:13:20.013Z"
    assert restoration["will_be_answered"] is True
    assert restoration["action_request"] is None
    assert restoration["told"]["presentation_url"] == "https://decks.example/d/1"
    assert restoration["page_path"] == f"/decks/{slides.message_id}"
    assert [entry["text"] for entry in seen.report["history"][10:12]] == [
        "full_update: Bees, 0 slides",
        made.payload["url"],
    ]
    text = check_file(tmp_path / "x.db").out
    assert "2 lines without an answer, the first since 2025-11-13T02:13:20.013Z (event 14): will be answered" in text
    assert "sync_response tells presentation_url: https://decks.example/d/1" in text
    assert f"The last published page is event 11, at /decks/{slides.message_id}" in text
    assert "(no answer)" in text


async def test_a_page_of_a_topic_that_was_forgotten_is_still_published(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        talk = Talk(store)
        await talk_until_plan(talk)
        line = await talk.say("build it")
        made = event("slide_update", {}, line)
        await talk.answer(made, ended("CREATE_CONFIRMATION_PLAN", "ASK_CLARIFYING_QUESTIONS", "Change_Topic", line))
    seen = check_file(tmp_path / "x.db")
    assert seen.status == 0
    assert "sync_response tells has_strawman: false" in seen.out
    assert f"The last published page is event 11, at /decks/{made.message_id}" in seen.out


async def test_what_a_user_wrote_cannot_steer_the_terminal(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        talk = Talk(store)
        await talk_until_plan(talk)
        await talk.say("\x1b[2J\x1b]0;owned\x07red\u202e alert\r\n\tagain")
    out = check_file(tmp_path / "x.db").out
    assert "[2J]0;ownedred alert again" in out
    assert not set(out) & set("\x1b\x07\u202e\r\t")


def test_whatever_a_row_says_no_line_is_endless_and_none_steers_the_terminal(database: Path) -> None:
    long = "x" * 50_000
    edit(
        database,
        f"update events set role = char(27) || '{long}', type = '{long}' where seq = 2",
        f"update events set message_id = char(27) || '{long}' where seq in (3)",
        f"""update events set payload = '{{"from": "{long}", "to": "\\u001b{long}", "memory": {{}}}}'
            where type = 'state_update' and turn = 3""",
        "update events set payload = '[' where seq = 4",
    )
    seen = check_file(database)
    assert seen.status == 3
    assert max(map(len, seen.out.splitlines())) < 600
    assert not set(seen.out) & set("\x1b\x07\u202e\r\t")


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_only_on_a_terminal_that_wants_them(database: Path, environ: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    url = f"sqlite:///{database}"
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", **environ}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), SESSION, "--store", url], stdout=theirs, env=environ
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert ("\x1b[" in text) is coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, plain)) <= 100


def test_a_reader_who_has_seen_enough(database: Path) -> None:
    command = f'"{sys.executable}" "{SCRIPT}" {SESSION} --store "sqlite:///{database}" | true'
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""


# ---------------------------------------------------------------- nothing to look at


def test_not_found(database: Path) -> None:
    seen = check("nobody", "--store", f"sqlite:///{database}")
    assert seen == (1, "", "check_session_state.py: there is no session nobody\n")


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"STORE_URL": "sqlite:////nowhere/x.db"}, "there is no file /nowhere/x.db"),
        ({"STORE_URL": "sqlite://"}, "in the server's memory"),
        ({"STORE_URL": "mysql://u:secret@db.example/x"}, "STORE_URL=mysql://***@db.example/x: expected sqlite:///path"),
        ({"STORE_URL": "supabase"}, "SUPABASE_URL=: expected a value, as STORE_URL is supabase; SUPABASE_SERVICE"),
        ({"STORE_URL": "what"}, "STORE_URL=what: expected a URL"),
        ({"PORT": "x", "LOG_LEVEL": "y"}, "PORT=x: expected a whole number from 0 to 65535; LOG_LEVEL=y:"),
    ],
)
def test_unreachable(environ: dict[str, str], complaint: str) -> None:
    seen = check(SESSION, environ=environ)
    assert (seen.status, seen.out) == (2, "")
    assert complaint in seen.err
    assert "secret" not in seen.err


def test_no_database(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("this is no database at all" * 100)
    seen = check_file(other)
    assert (seen.status, seen.out) == (2, "")
    assert "it is not an SQLite database" in seen.err
    other.write_bytes(b"")
    assert "has no conversations" in check_file(other).err
    assert check_file(tmp_path).status == 2
    assert list(tmp_path.iterdir()) == [other]


def test_another_schema(database: Path) -> None:
    edit(database, "pragma user_version = 99")
    seen = check_file(database)
    assert seen.status == 2
    assert "has schema 99" in seen.err


def test_a_locked_file(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("pragma locking_mode = exclusive")
        connection.execute("begin immediate")
        environ = {"STORE_URL": f"sqlite:///{database}", "STORE_TIMEOUT_MS": "100"}
        seen = check(SESSION, environ=environ)
    assert (seen.status, seen.out) == (2, "")
    assert "another process has locked it" in seen.err


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--what"]])
def test_wrong_usage_has_a_status_of_its_own(arguments: list[str]) -> None:
    seen = check(*arguments)
    assert (seen.status, seen.out) == (64, "")
    assert "see --help" in seen.err
    assert re.search(r"^  64  the command line is wrong$", check("--help").out, re.MULTILINE)


# ---------------------------------------------------------------- with any python3


def copy_script(folder: Path) -> Path:
    (folder / "scripts").mkdir()
    return Path(shutil.copy2(SCRIPT, folder / "scripts"))


def test_without_the_packages_it_says_what_to_run(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-IS", str(copy_script(tmp_path)), "x"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"check_session_state\.py: No module named '\w+'; run scripts/setup serve, .*\n", ended.stderr)


def test_without_the_packages_it_takes_the_projects_own_python(tmp_path: Path) -> None:
    script = copy_script(tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    command = [sys.executable, "-IS", str(script), "x", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"{script} x --json\n")
