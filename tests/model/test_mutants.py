"""The list of mutants fits the code as it is."""

from pathlib import Path

import pytest

from tests.model.mutant import Change, Mutant
from tests.model.mutants import MUTANTS, ROOT, broken_copy, main, stale


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_patch_matches_exactly_once(mutant: Mutant) -> None:
    assert stale(mutant) == []
    assert all(change.old != change.new for change in mutant.changes)
    assert all((ROOT / path).exists() for path in mutant.tests)
    assert mutant.tests or mutant.is_in_model


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("old", ["no such text", "\n"])
def test_a_patch_that_does_not_fit_is_found(old: str) -> None:
    mutant = Mutant("bad", "", (Change("server/machines/session.py", old, ""),), ())
    assert stale(mutant) == ["server/machines/session.py"]


def test_a_copy_has_the_patch(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    broken_copy(mutant, tmp_path)
    for change in mutant.changes:
        text = (tmp_path / change.path).read_text(encoding="utf-8")
        assert change.old not in text
        assert change.new in text


def test_the_list_can_be_read_and_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(MUTANTS)
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])
