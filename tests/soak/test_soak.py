"""A short soak in the suite; the long one is `scripts/soak`."""

import ast
from pathlib import Path

import pytest

from tests.soak.broken import BREAKAGES, Breakage, Change, UnfitPatch, break_copy, check_fit
from tests.soak.options import Options, read_options
from tests.soak.run import ROOT, soak

KILLS = 20
#: Never reached but by a server that hangs: the run ends with its last kill.
SECONDS = 120.0
ACKED_AT_LEAST = 100


async def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    options = Options(kills=KILLS, seconds=SECONDS, seed=20, clients=10, lines=25, life_s=(0.05, 0.4))
    verdict, wrong = await soak(options, tmp_path)
    assert verdict.violations == [], wrong
    assert verdict.counts["acked"] >= ACKED_AT_LEAST
    assert verdict.counts["kills"] >= KILLS


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_server_can_still_be_made(breakage: Breakage, tmp_path: Path) -> None:
    break_copy(breakage, tmp_path)
    for change in breakage.changes:
        broken = (tmp_path / change.path).read_text()
        assert change.new in broken
        assert broken != (ROOT / change.path).read_text()
        assert not change.path.endswith(".py") or ast.parse(broken)


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UnfitPatch, match="0 times: no such text"):
        check_fit(Breakage("", frozenset(), (Change("server/app.py", "no such text", ""),)))


def test_several_processes_are_refused_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options(["--processes", "2"])
    assert "not supported" in capsys.readouterr().err


def test_options_have_names_for_everything(tmp_path: Path) -> None:
    given = read_options(["--kills", "7", "--seed", "3", "--keep", str(tmp_path), "--seconds", "2.5"])
    assert given == Options(kills=7, seed=3, keep=tmp_path, seconds=2.5)
    assert read_options([]).seed >= 0
