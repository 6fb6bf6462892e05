"""What may end a process, and what may keep it from starting: its killer, its drain, and the trouble of its store."""

import pytest

from tests.soak.history import Record
from tests.soak.view import LATER_S, Processes


def life(*events: tuple[float, str], status: int = 1) -> list[Record]:
    """The records of process 1, which began at 10 s."""
    said = [(10.0, "start"), *events]
    return [Record("", t, e=e, q={"number": 1, "faults": "", "status": status}) for t, e in said]


def trouble(what: str, begins: float, ends: float) -> list[Record]:
    return [Record("", begins, e="trouble", q={"what": what}), Record("", ends, e="relief", q={"what": what})]


def processes(*records: Record) -> Processes:
    return Processes(sorted(records, key=lambda one: one.t))


def strange(*records: Record) -> list[str]:
    return [violation.check for violation in processes(*records).strange_ends()]


UNABLE = life((12.0, "exit"))


@pytest.mark.parametrize("span", [(11.0, 11.5), (5.0, 10.5), (11.9, 30.0), (5.0, 10.0 - LATER_S / 2)])
def test_a_process_may_not_be_able_to_start_while_its_store_is_in_trouble(span: tuple[float, float]) -> None:
    records = [*UNABLE, *trouble("store_killed", *span)]
    assert strange(*records) == []
    assert (processes(*records).refused_starts, processes(*records).excused_starts) == (1, 1)


@pytest.mark.parametrize(
    "records",
    [
        UNABLE,
        [*UNABLE, *trouble("store_killed", 1.0, 10.0 - 2 * LATER_S)],
        [*UNABLE, *trouble("store_killed", 12.5, 20.0)],
        [*UNABLE, *trouble("redis_killed", 11.0, 20.0)],
        [*life((12.0, "exit"), status=3), *trouble("store_killed", 11.0, 20.0)],
        [*life((11.0, "ready"), (12.0, "exit")), *trouble("store_killed", 11.0, 20.0)],
    ],
    ids=["no trouble", "long before", "later", "not the store's", "another status", "it had started"],
)
def test_without_such_a_reason_it_may_not(records: list[Record]) -> None:
    assert strange(*records) == ["exit"]
    assert (processes(*records).refused_starts, processes(*records).excused_starts) == (0, 0)


@pytest.mark.parametrize(
    ("ready", "span", "excused"),
    [([], (11.0, 11.5), 1), ([], (12.5, 20.0), 0), ([(11.0, "ready")], (11.0, 11.5), 0)],
    ids=["in trouble", "no trouble", "it had started"],
)
def test_a_process_that_is_killed_while_it_says_that_it_cannot_start_may_say_so(
    ready: list[tuple[float, str]], span: tuple[float, float], excused: int
) -> None:
    records = [*life(*ready, (12.0, "exit"), status=-9), *trouble("store_killed", *span)]
    assert strange(*records) == []
    assert (processes(*records).refused_starts, processes(*records).excused_starts) == (0, excused)


@pytest.mark.parametrize(("event", "check"), [("stuck", "drain without end"), ("unready", "start without end")])
def test_a_process_that_hangs_is_caught(event: str, check: str) -> None:
    assert strange(*life((60.0, event), (60.0, "exit"), status=-9)) == [check]


def test_a_start_while_the_store_is_in_trouble_is_not_timed() -> None:
    started = life((14.0, "ready"))
    assert list(processes(*started).undisturbed()) == [(1, 10.0, 14.0)]
    assert list(processes(*started, *trouble("store_cut", 13.0, 13.1)).undisturbed()) == []
    assert list(processes(*started, *trouble("redis_cut", 13.0, 13.1)).undisturbed()) == [(1, 10.0, 14.0)]
