"""A tiny run of the bench: that it measures, adds up and tells. How fast anything is, is not asserted anywhere."""

import json
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.bench.bench import UNCOUNTED, Found, Unknown, bench
from tests.bench.charts import charts
from tests.bench.options import FIGURES, Options, Plan, read_options
from tests.bench.report import as_json, table

TINY: Final = Plan(
    rounds=1,
    seconds=0.3,
    warm_s=0.1,
    levels=(64,),
    quick=True,
    fill=(1, 3, 4, 5, 6, 8),
    fill_tabs=8,
    histories=(10, 1_000),
    missed=(0, 10),
    reconnects=3,
    connections=(20, 60),
    storm=60,
    long_rounds=1,
    watchers=(3,),
    words=100,
    starts=1,
)
#: What a run without rivals and without PostgreSQL can tell.
COMPUTED: Final = {
    "turns_vs_floor",
    "reconnect_long_vs_short",
    "bytes_late_vs_early",
    "turns_late_vs_early",
    "idle_memory_vs_floor",
    "storm_vs_floor",
}
#: One commit for the line and its answer, and one sync; some room for those of the log's own.
SYNCS_A_TURN: Final = 1.3
OTHERS: Final = {"turns_vs_chainlit", "turns_vs_langgraph", "turns_vs_socketio", "two_processes_cpu_vs_one"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    options = Options(plan=TINY, only=frozenset({"floor", "sqlite"}))
    return bench(options, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def told(found: Found) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(as_json(found))
    return content


def test_every_ratio_is_there_and_what_can_be_computed_is_positive(told: dict[str, Any]) -> None:
    ratios = told["ratios"]
    assert ratios.keys() == COMPUTED | OTHERS
    assert {name for name, ratio in ratios.items() if ratio is not None and ratio > 0} == COMPUTED
    assert told["ratio_spreads"].keys() == COMPUTED
    assert all(low <= ratios[name] <= high for name, (low, high) in told["ratio_spreads"].items())
    assert told["cpu_ratios"].keys() <= ratios.keys()
    assert isinstance(told["ack_p99_over_floor_ms"], float)
    assert isinstance(told["quiet_ack_p99_over_floor_ms"], float)


def test_every_figure_was_measured(found: Found, told: dict[str, Any]) -> None:
    uncounted = {"syncs"} if UNCOUNTED in told["absent"] else set()  # where nothing may be traced
    assert {sample["figure"] for sample in told["rounds"]} == set(FIGURES) - uncounted
    assert told["policies"]["sqlite"].startswith("SQLite, WAL, synchronous=FULL")
    assert told["machine"]["fdatasync_us"] > 0
    assert told["machine"]["open_files"] > 0
    assert 0 <= told["machine"]["slow_share"] < 1
    assert told["client"]["two_vs_one"] > 0
    text = table(found)
    assert "Turns, by sessions at a time" in text
    assert "Ratios" in text


def test_what_was_counted_adds_up(found: Found) -> None:
    samples = found.samples
    [calls] = samples.rounds("storm", "60 sessions", "sqlite", "store_calls_each").values()
    assert calls == pytest.approx(1.0, abs=0.2)  # a search of its own may fall into a storm of sixty
    [delivered] = samples.rounds("streaming", "3 tabs", "sqlite", "delivered").values()
    assert delivered == pytest.approx(1.0)
    if UNCOUNTED not in found.absent:
        [syncs] = samples.rounds("syncs", 1, "sqlite", "syncs_per_turn").values()
        assert 1 <= syncs <= SYNCS_A_TURN
    [early] = samples.rounds("storage", "early", "sqlite", "turn").values()
    assert early == 2.0
    for case in ("early", "late"):
        [rate] = samples.rounds("storage", case, "sqlite", "turns_per_s").values()
        assert rate > 0


def test_charts_are_pictures(found: Found) -> None:
    drawn = charts(found.samples)
    assert set(drawn) == {f"bench-{name}.svg" for name in ("turns", "latency", "memory", "reconnect", "growth")}
    for chart in drawn.values():
        assert ElementTree.fromstring(chart).tag.endswith("svg")


def test_nobody_is_measured_whom_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="nobody is called nobody-knows"):
        bench(Options(plan=TINY, only=frozenset({"nobody-knows"})), tmp_path)


@pytest.mark.parametrize("arguments", [["--figures", "speed"], ["--rounds", "0"]])
def test_what_cannot_be_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_no_more_connections_are_asked_for_than_a_process_may_have() -> None:
    plan = TINY.within(50)
    assert (plan.levels, plan.connections, plan.storm) == ((50,), (20, 50), 50)
    assert TINY.within(1_000) == TINY
