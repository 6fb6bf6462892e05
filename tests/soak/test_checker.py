"""The judge as a program: what it reads, counts and tells."""

import json
from pathlib import Path

import pytest

from tests.soak.checker import judge, main, report
from tests.soak.history import NOTHING, History, Recorded
from tests.soak.play import SESSION, whole
from tests.soak.server_log import complaints
from tests.soak.story import tell


def test_an_error_in_the_log_is_caught(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text('{"event": "step_failed", "level": "error"}\n{"event": "task_failed", "level": "error"}\n{"event"')
    assert [violation.says for violation in complaints(log, 0)] == ["task_failed: "]
    log.write_text("fault step=kill@1*1 pass 1\nTraceback (most recent call last):\n")
    assert [violation.check for violation in complaints(log, 0)] == ["traceback"]


def test_a_server_that_cannot_start_is_excused_as_often_as_there_was_a_reason(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text('{"event": "cannot_start", "level": "critical", "reason": "no store"}\n' * 3)
    assert [violation.says for violation in complaints(log, 2)] == ["cannot_start: no store"]


def test_a_session_that_was_not_read_is_caught() -> None:
    assert "unread" in whole().judged()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.jsonl")


def test_the_program_counts_tells_and_exits(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    play = whole()
    play.log = play.log[:5]
    play.final()
    for record in play.processes:
        history.note_process(record.e, **record.q)
    for record in play.records:
        text = "" if record.f is NOTHING else record.text
        history.note(record.s, record.c, record.n, record.e, text, **record.q)
    history.close()
    figures = history.path.with_name("figures.json")
    assert main([str(history.path), "--json", str(figures)]) == 1
    assert json.loads(figures.read_text())["acked"] == 2
    assert json.loads(figures.read_text())["lost"] > 0
    printed = capsys.readouterr().out
    assert "b was acknowledged at 6 and is not in the log" in printed
    assert "The story of session" in printed
    recorded = Recorded(history.path)
    verdict = judge(recorded)
    assert report(recorded, verdict) in printed
    lost = next(violation for violation in verdict.violations if violation.check == "acked line lost")
    told = tell(recorded.of(SESSION), recorded.of(""), lost)
    assert "→ user_message b" in told
    assert "apples" not in told
