"""The breaker, input by input, and against random ones."""

from hypothesis import given
from hypothesis import strategies as st

from server.assistant.breaker import Breaker, Phase, Shut


def opened(now_ms: int = 0) -> Breaker:
    """A breaker that three failures opened; its rest is 1,000 ms."""
    breaker = Breaker(failures_limit=3, rest_ms=1_000, longest_rest_ms=4_000, probe_ms=500)
    for _ in range(3):
        breaker.failed(admitted(breaker, now_ms), now_ms)
    assert phase_of(breaker) is Phase.OPEN
    return breaker


def phase_of(breaker: Breaker) -> Phase:
    return breaker.phase


def admitted(breaker: Breaker, now_ms: int) -> int:
    ticket = breaker.admit(now_ms)
    assert isinstance(ticket, int)
    return ticket


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(failures_limit=3, rest_ms=1_000)
    for phase in (Phase.CLOSED, Phase.CLOSED, Phase.OPEN):
        breaker.failed(admitted(breaker, 0), 0)
        assert phase_of(breaker) is phase


def test_a_success_between_them_starts_the_count_again() -> None:
    breaker = Breaker(failures_limit=2)
    for _ in range(5):
        breaker.failed(admitted(breaker, 0), 0)
        breaker.succeeded(admitted(breaker, 0))
    assert phase_of(breaker) is Phase.CLOSED


def test_open_it_says_when_to_come_back() -> None:
    breaker = opened()
    assert breaker.admit(0) == Shut(1_000)
    assert breaker.admit(999) == Shut(1)


def test_after_the_rest_one_call_looks() -> None:
    breaker = opened()
    admitted(breaker, 1_000)
    assert phase_of(breaker) is Phase.HALF_OPEN
    assert breaker.admit(1_000) == Shut(500)


def test_its_success_closes() -> None:
    breaker = opened()
    breaker.succeeded(admitted(breaker, 1_000))
    assert phase_of(breaker) is Phase.CLOSED
    for _ in range(2):  # and the count begins at nothing
        breaker.failed(admitted(breaker, 1_000), 1_000)
    assert phase_of(breaker) is Phase.CLOSED


def test_its_failure_opens_for_twice_as_long_up_to_a_bound() -> None:
    breaker, now_ms = opened(), 0
    for rest_ms in (1_000, 2_000, 4_000, 4_000):
        now_ms += rest_ms
        assert breaker.admit(now_ms - 1) == Shut(1)
        breaker.failed(admitted(breaker, now_ms), now_ms)
    breaker.succeeded(admitted(breaker, now_ms + 4_000))
    for _ in range(3):
        breaker.failed(admitted(breaker, 0), 0)
    assert breaker.admit(0) == Shut(1_000), "a success makes the rest short again"


def test_a_probe_that_was_cancelled_lets_the_next_call_look() -> None:
    breaker = opened()
    breaker.abandoned(admitted(breaker, 1_000), 1_100)
    assert phase_of(breaker) is Phase.OPEN
    admitted(breaker, 1_100)


def test_a_probe_that_never_comes_back_is_given_up() -> None:
    breaker = opened()
    lost = admitted(breaker, 1_000)
    assert breaker.admit(1_499) == Shut(1)
    second = admitted(breaker, 1_500)
    breaker.failed(lost, 1_600)
    assert phase_of(breaker) is Phase.HALF_OPEN, "the lost probe says nothing any more"
    breaker.succeeded(second)
    assert phase_of(breaker) is Phase.CLOSED


def test_calls_of_before_say_nothing() -> None:
    breaker = Breaker(failures_limit=1, rest_ms=1_000)
    early, other = admitted(breaker, 0), admitted(breaker, 0)
    breaker.failed(early, 0)
    breaker.succeeded(other)
    assert phase_of(breaker) is Phase.OPEN, "a call from before the trouble must not close it"
    breaker.failed(other, 900)
    assert breaker.admit(999) == Shut(1), "nor make the rest longer"
    breaker.abandoned(other, 999)
    assert phase_of(breaker) is Phase.OPEN


def test_a_success_of_before_does_not_pass_for_the_probes() -> None:
    breaker = Breaker(failures_limit=1, rest_ms=1_000)
    early, other = admitted(breaker, 0), admitted(breaker, 0)
    breaker.failed(early, 0)
    probe = admitted(breaker, 1_000)
    breaker.succeeded(other)
    assert phase_of(breaker) is Phase.HALF_OPEN
    breaker.failed(probe, 1_000)
    assert breaker.admit(1_000) == Shut(2_000)


def test_an_abandoned_call_changes_nothing_while_closed() -> None:
    breaker = Breaker(failures_limit=2)
    breaker.failed(admitted(breaker, 0), 0)
    breaker.abandoned(admitted(breaker, 0), 0)
    breaker.failed(admitted(breaker, 0), 0)
    assert phase_of(breaker) is Phase.OPEN


@given(st.lists(st.tuples(st.sampled_from(["admit", "good", "bad", "gone"]), st.integers(0, 2_000), st.integers(0, 9))))
def test_laws_under_any_inputs(inputs: list[tuple[str, int, int]]) -> None:
    """Whatever happens: one probe at a time, every rest ends, and a vendor that answers again is found."""
    breaker = Breaker(failures_limit=2, rest_ms=1_000, longest_rest_ms=4_000, probe_ms=500)
    now_ms, tickets = 0, list[int]()
    for kind, later_ms, which in inputs:
        now_ms += later_ms
        ticket = tickets[which % len(tickets)] if tickets else 0
        match kind:
            case "admit":
                before = breaker.phase
                answer = breaker.admit(now_ms)
                if isinstance(answer, Shut):
                    assert before is not Phase.CLOSED
                    assert 0 < answer.retry_after_ms <= 4_000
                else:
                    tickets.append(answer)
                    if breaker.phase is Phase.HALF_OPEN:
                        assert isinstance(breaker.admit(now_ms), Shut), "one probe"
            case "good":
                breaker.succeeded(ticket)
            case "bad":
                breaker.failed(ticket, now_ms)
            case _:
                breaker.abandoned(ticket, now_ms)
    breaker.succeeded(admitted(breaker, now_ms + 4_000))
    assert phase_of(breaker) is Phase.CLOSED
