"""The retry policy: a table of what happened and what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.assistant.errors import TEMPORARY, Fault
from server.assistant.retry import Patience, wait_ms

PATIENCE = Patience(attempts=4, first_wait_ms=500, longest_wait_ms=3_000, least_call_ms=1_000)


@pytest.mark.parametrize(
    ("attempt", "chance", "wait"), [(1, 0, 250), (1, 1, 500), (2, 0, 500), (2, 1, 1_000), (3, 0.5, 1_500)]
)
def test_waits_double_and_spread(attempt: int, chance: float, wait: int) -> None:
    assert wait_ms(PATIENCE, attempt=attempt, fault=Fault.UNREACHABLE, left_ms=60_000, chance=chance) == wait


def test_a_wait_has_a_bound() -> None:
    many = Patience(attempts=100, first_wait_ms=500, longest_wait_ms=3_000)
    assert wait_ms(many, attempt=60, fault=Fault.UNREACHABLE, left_ms=60_000, chance=1) == 3_000


@pytest.mark.parametrize("fault", Fault)
def test_only_what_can_pass_is_tried_again(fault: Fault) -> None:
    wait = wait_ms(PATIENCE, attempt=1, fault=fault, left_ms=60_000, chance=0)
    assert (wait is not None) == (fault in TEMPORARY)


def test_permanent_faults() -> None:
    assert set(Fault) - TEMPORARY == {Fault.REFUSED, Fault.TOO_LONG, Fault.UNAUTHORISED, Fault.REJECTED}


@pytest.mark.parametrize(("attempt", "again"), [(1, True), (3, True), (4, False), (5, False)])
def test_attempts_end(attempt: int, *, again: bool) -> None:
    assert (wait_ms(PATIENCE, attempt=attempt, fault=Fault.MALFORMED, left_ms=60_000, chance=0) is not None) == again


@pytest.mark.parametrize(("left_ms", "wait"), [(1_250, 250), (1_249, None), (0, None), (-10, None)])
def test_no_attempt_begins_without_time_for_it(left_ms: int, wait: int | None) -> None:
    assert wait_ms(PATIENCE, attempt=1, fault=Fault.UNREACHABLE, left_ms=left_ms, chance=0) == wait


@pytest.mark.parametrize(
    ("asked_ms", "left_ms", "chance", "wait"),
    [
        (7_000, 60_000, 0, 7_000),
        (7_000, 60_000, 1, 7_700),
        (100, 60_000, 0, 250),  # our own wait is longer
        (7_000, 7_999, 0, None),
        (3_600_000, 60_000, 0, None),
        (0, 60_000, 0, 250),
    ],
)
def test_a_vendors_wait_is_a_lower_bound(asked_ms: int, left_ms: int, chance: float, wait: int | None) -> None:
    found = wait_ms(
        PATIENCE, attempt=1, fault=Fault.RATE_LIMITED, left_ms=left_ms, chance=chance, retry_after_ms=asked_ms
    )
    assert found == wait


@pytest.mark.parametrize(
    ("streamed", "may_restart", "again"),
    [(False, False, True), (False, True, True), (True, False, False), (True, True, True)],
)
def test_text_that_was_streamed_is_not_written_twice(*, streamed: bool, may_restart: bool, again: bool) -> None:
    wait = wait_ms(
        PATIENCE,
        attempt=1,
        fault=Fault.UNREACHABLE,
        left_ms=60_000,
        chance=0,
        streamed=streamed,
        may_restart=may_restart,
    )
    assert (wait is not None) == again


@given(
    attempt=st.integers(1, 50),
    fault=st.sampled_from(Fault),
    left_ms=st.integers(-1_000, 200_000),
    chance=st.floats(0, 1),
    retry_after_ms=st.none() | st.integers(0, 200_000),
    streamed=st.booleans(),
)
def test_a_wait_always_leaves_time_and_respects_the_vendor(
    attempt: int, fault: Fault, left_ms: int, chance: float, retry_after_ms: int | None, *, streamed: bool
) -> None:
    wait = wait_ms(
        Patience(attempts=10),
        attempt=attempt,
        fault=fault,
        left_ms=left_ms,
        chance=chance,
        retry_after_ms=retry_after_ms,
        streamed=streamed,
    )
    if wait is not None:
        assert wait >= max(0, retry_after_ms or 0)
        assert wait + 1_000 <= left_ms
        assert not streamed
        assert fault in TEMPORARY
        assert attempt < 10
