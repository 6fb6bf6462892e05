"""A short soak in the suite; the long one is `scripts/soak`."""

import ast
from pathlib import Path

import pytest

from tests.soak.between import Redis
from tests.soak.broken import BREAKAGES, Breakage, Change, UnfitPatch, break_copy, check_fit
from tests.soak.options import Options, read_options
from tests.soak.run import ROOT, soak

KILLS = 20
#: Never reached but by a server that hangs: the run ends with its last kill.
SECONDS = 120.0
ACKED_AT_LEAST = 100
#: With several processes the storm is over after so long, however slow the machine; everybody says one thing more.
STORM_S = 8.0


async def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    options = Options(kills=KILLS, seconds=SECONDS, seed=20, clients=10, lines=25, life_s=(0.05, 0.4))
    verdict, wrong = await soak(options, tmp_path)
    assert verdict.violations == [], wrong
    assert verdict.counts["acked"] >= ACKED_AT_LEAST
    assert verdict.counts["kills"] >= KILLS


@pytest.mark.parametrize(
    ("store", "redis"), [("postgres", "yes"), ("postgres", "dead"), ("supabase", "yes"), ("redis", "yes")]
)
async def test_three_processes_lose_nothing(store: str, redis: Redis, tmp_path: Path) -> None:
    options = Options(
        kills=8,
        seconds=STORM_S,
        seed=21,
        clients=6,
        lines=12,
        store=store,
        processes=3,
        redis=redis,
        life_s=(0.05, 0.4),
        stall_s=2.0,
        pause_s=1.0,
    )
    verdict, wrong = await soak(options, tmp_path)
    assert verdict.violations == [], wrong
    assert verdict.counts["acked"] >= options.clients
    assert verdict.counts["still_tabs"] > 0
    befell = {name.partition("_")[0] for name in verdict.troubles}
    assert befell & {"store", "rest", "gateway"}
    assert ("redis" in befell) == (redis == "yes")


async def test_workers_over_one_file_lose_nothing(tmp_path: Path) -> None:
    options = Options(kills=6, seconds=STORM_S, seed=22, clients=6, lines=12, processes=3, life_s=(0.05, 0.4))
    verdict, wrong = await soak(options, tmp_path)
    assert verdict.violations == [], wrong
    assert verdict.counts["acked"] >= options.clients


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


def test_options_have_names_for_everything(tmp_path: Path) -> None:
    given = read_options(["--kills", "7", "--seed", "3", "--keep", str(tmp_path), "--seconds", "2.5"])
    assert given == Options(kills=7, seed=3, keep=tmp_path, seconds=2.5)
    assert read_options([]).seed >= 0


def test_several_processes_have_a_redis_between_them_unless_they_are_not_to() -> None:
    assert (read_options([]).processes, read_options([]).redis) == (1, "no")
    assert read_options(["--processes", "3"]).redis == "yes"
    assert read_options(["--processes", "3", "--redis", "dead"]).redis == "dead"


@pytest.mark.parametrize("store", ["sqlite", "postgres", "supabase", "redis", "postgresql://u:p@127.0.0.1/x"])
def test_a_store_is_a_kind_or_a_url(store: str) -> None:
    assert read_options(["--store", store]).store == store


@pytest.mark.parametrize("given", [["--store", "mongo"], ["--processes", "0"], ["--redis", "maybe"], ["--kills", "0"]])
def test_what_cannot_be_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options(given)
    assert given[0] in capsys.readouterr().err
