"""`python -m server check-workflow`, and what there is to write behind `python -m server`."""

import pytest

from server.__main__ import COMMANDS, run_command
from server.workflows.registry import find_workflows


def test_a_conversation_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["Bees", "Children, 10 min", "accept_plan", "shorter", "Looks perfect!"]
    status = run_command(["check-workflow", "builder", *lines])
    shown = capsys.readouterr()
    assert (status, shown.err) == (0, "")
    assert "(the session opens)   PROVIDE_GREETING → PROVIDE_GREETING, Open\n  Hello!" in shown.out
    assert "  Shall I build the slides like this?  [Yes, let's build it!]  [I'd like to make changes]" in shown.out
    assert "  (presentation_url)" in shown.out


def test_what_is_wrong_is_told_and_the_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-workflow", "builder", "Bees"]) == 1
    assert "wrong: no line leads to state REFINE_STRAWMAN: add lines that do\n" in capsys.readouterr().err


def test_a_workflow_that_there_is_not_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-workflow", "buidler"]) == 2
    assert capsys.readouterr().err == f"There is no workflow 'buidler', but {', '.join(find_workflows())}.\n"


def test_an_unknown_command_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-workfow"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("There is no command 'check-workfow'")
    assert all(name in said for name in COMMANDS)
