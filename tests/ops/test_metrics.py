"""Turns become figures: each is counted once, with what is known of it."""

from typing import Any, Final

import pytest

from server.ops.metrics import CALLED, OUTCOMES, SUMS, TIMES, Counts, Exposed, Figures
from tests.support.figures import Read

QUICK: Final = {"ack_ms": 3, "step_ms": 7, "commit_ms": 2}
MODEL: Final[dict[str, Any]] = {
    **QUICK,
    "model": "some-model",
    "input_tokens": 300,
    "output_tokens": 40,
    "cost_micro_usd": 380,
    "calls": 2,
    "call_attempts": 3,
    "first_token_ms": 450,
    "window_messages": 4,
    "window_chars": 1200,
    "window_tokens": 300,
}


def read(*turns: tuple[str, dict[str, Any]]) -> Read:
    figures = Figures(["echo", "chat"])
    for outcome, record in turns:
        figures.count("chat", outcome, record)
    return Read(Exposed(figures, lambda: 5, lambda: 6).text().decode())


def buckets(found: Read, name: str) -> dict[str, float]:
    ends = {shape.field: shape.ends for shape in (*TIMES, *CALLED)}[name]
    return {le: found(f"{name}_bucket", le=le) for le in (*map(str, map(float, ends)), "+Inf")}


def test_before_the_first_turn_every_series_is_there_and_says_zero() -> None:
    found = read()
    for outcome in OUTCOMES:
        assert found("turns_total", workflow="echo", outcome=outcome) == 0
    for shape in (*TIMES, *CALLED):
        assert (found(f"{shape.field}_count"), found(f"{shape.field}_sum")) == (0, 0)
    assert [found(f"{field}_total") for field in (*SUMS, "model_turns", "unpriced_turns")] == [0] * (len(SUMS) + 2)
    assert (found("connections"), found("sessions")) == (5, 6)


def test_many_different_times_are_all_counted_and_few_of_them_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    added, add = list[int | None](), Counts.add

    def adding(counts: Counts, value: int | None, times: int = 1) -> None:
        added.append(value)
        add(counts, value, times)

    monkeypatch.setattr(Counts, "add", adding)
    figures = Figures(["chat"])
    for ms in range(1_000):
        figures.count("chat", "answered", {"ack_ms": ms, "step_ms": 7, "commit_ms": None if ms % 2 else ms})
        assert ms < 200 or added  # what was kept until then is in the buckets
    found = Read(Exposed(figures, int, int).text().decode())
    assert found("turns_total", workflow="chat", outcome="answered") == 1_000
    assert [found(f"{name}_count") for name in ("ack_ms", "step_ms", "commit_ms")] == [1_000, 1_000, 500]
    assert [found(f"{name}_sum") for name in ("ack_ms", "step_ms", "commit_ms")] == [499_500, 7_000, 249_500]


def test_a_turn_with_a_model_feeds_the_window() -> None:
    found = read(("answered", MODEL), ("answered", {**MODEL, "window_messages": 5}))
    assert buckets(found, "window_messages") == {
        **dict.fromkeys(("1.0", "2.0"), 0),
        "4.0": 1,
        **dict.fromkeys(("8.0", "16.0", "32.0", "64.0", "128.0", "256.0", "+Inf"), 2),
    }
    assert (found("window_messages_count"), found("window_messages_sum")) == (2, 9)
    assert (found("window_chars_sum"), found("window_tokens_sum"), found("first_token_ms_sum")) == (2400, 600, 900)
    assert [found(f"{field}_total") for field in SUMS] == [600, 80, 760, 4, 6]
    assert (found("model_turns_total"), found("unpriced_turns_total")) == (2, 0)


def test_a_turn_without_a_model_feeds_its_times_only() -> None:
    found = read(("answered", QUICK))
    assert (found("ack_ms_sum"), found("step_ms_sum"), found("commit_ms_sum")) == (3, 7, 2)
    assert found("model_turns_total") == found("window_messages_count") == 0


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_turn_is_counted_by_its_outcome(outcome: str) -> None:
    found = read((outcome, QUICK))
    counted = {other: found("turns_total", workflow="chat", outcome=other) for other in OUTCOMES}
    assert counted == {other: float(other == outcome) for other in OUTCOMES}


def test_what_is_not_known_is_not_counted() -> None:
    found = read(("failed", {**MODEL, "ack_ms": None, "first_token_ms": None, "cost_micro_usd": None}))
    assert found("ack_ms_count") == found("first_token_ms_count") == 0
    assert (found("cost_micro_usd_total"), found("unpriced_turns_total"), found("model_turns_total")) == (0, 1, 1)


def test_a_clock_that_was_set_back_takes_nothing_from_a_sum() -> None:
    found = read(("answered", {**QUICK, "ack_ms": -60_000}), ("answered", QUICK))
    assert (found("ack_ms_count"), found("ack_ms_sum")) == (2, 3)


def test_a_value_on_an_end_is_below_it_and_one_above_all_is_in_the_last() -> None:
    found = read(("answered", {**QUICK, "ack_ms": 5}), ("answered", {**QUICK, "ack_ms": 9_000_000}))
    told = buckets(found, "ack_ms")
    assert (told["2.0"], told["5.0"], told["5000.0"], told["+Inf"]) == (0, 1, 1, 2)
