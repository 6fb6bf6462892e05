"""How fast a peer may go, and who it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.records import SessionKey
from server.web import rate_limit
from server.web.access.identity import ANONYMOUS, Principal, identify
from server.web.rate_limit import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    return clock


def test_a_burst_goes_at_once_and_no_more(clock: Clock) -> None:
    bucket = TokenBucket(rate_per_s=10, burst=3)
    assert [bucket.wait_ms(clock.now_s) for _ in range(5)] == [0, 0, 0, 101, 101]


def test_a_refusal_takes_nothing(clock: Clock) -> None:
    bucket = TokenBucket(rate_per_s=10, burst=1)
    assert bucket.wait_ms(clock.now_s) == 0
    for _ in range(9):
        clock.now_s += 0.01
        assert bucket.wait_ms(clock.now_s) > 0
    clock.now_s += 0.02
    assert bucket.wait_ms(clock.now_s) == 0


def test_rest_fills_the_bucket_to_its_brim_only(clock: Clock) -> None:
    bucket = TokenBucket(rate_per_s=10, burst=2)
    clock.now_s += 3600
    assert [bucket.wait_ms(clock.now_s) for _ in range(3)] == [0, 0, 101]


def test_a_wait_is_at_least_a_millisecond(clock: Clock) -> None:
    bucket = TokenBucket(rate_per_s=1_000_000, burst=1)
    assert [bucket.wait_ms(clock.now_s), bucket.wait_ms(clock.now_s)] == [0, 1]


@given(rate_per_s=st.integers(1, 1_000_000), burst=st.integers(1, 5), spent_s=st.floats(0, 2))
def test_whoever_waits_as_long_as_told_goes_on(rate_per_s: int, burst: int, spent_s: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(rate_limit, "time", clock)
        bucket = TokenBucket(rate_per_s, burst)
        for _ in range(burst):
            assert bucket.wait_ms(clock.now_s) == 0
        clock.now_s += spent_s
        if wait_ms := bucket.wait_ms(clock.now_s):
            clock.now_s += wait_ms / 1000
            assert bucket.wait_ms(clock.now_s) == 0


@pytest.mark.parametrize("user_id", ["ann", "a", "x" * 255, "Jörg Müller", ANONYMOUS])
def test_in_the_open_mode_a_user_is_whoever_it_says(user_id: str) -> None:
    assert identify({"user_id": user_id}) == Principal(user_id)


def test_a_user_who_says_nothing_is_anonymous() -> None:
    assert identify({}) == Principal(ANONYMOUS)


@pytest.mark.parametrize("user_id", ["", "x" * 256, "a\nb", "a\x00", "\ud800"])
def test_a_name_that_cannot_be_one_is_refused(user_id: str) -> None:
    assert identify({"user_id": user_id}) is None


def test_a_principal_names_its_own_sessions() -> None:
    assert Principal("ann").session("s") == SessionKey(user_id="ann", session_id="s")
