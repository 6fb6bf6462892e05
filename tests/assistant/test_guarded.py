"""Retries and the breaker around a real model: what the vendor sees, and what the caller gets."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

import pytest

from server.assistant import Prompt, Usage
from server.assistant.breaker import Breaker, Phase
from server.assistant.errors import AssistantError, Fault
from server.assistant.guarded import Guarded
from server.assistant.retry import Patience
from tests.assistant.calls import ask, call
from tests.assistant.conftest import Open
from tests.vendors import Play, Vendors, cut, fault, hang, refuse, say

PATIENCE = Patience(attempts=3, first_wait_ms=400, longest_wait_ms=8_000)


class Time:
    """A clock that only sleep moves, and the sleeps."""

    def __init__(self) -> None:
        self.ms = 0
        self.waits_ms: list[int] = []

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.waits_ms.append(round(seconds * 1000))
        self.ms += self.waits_ms[-1]


def phase_of(breaker: Breaker) -> Phase:
    return breaker.phase


def guard(open_vendor: Open, time: Time, breaker: Breaker | None = None) -> Guarded:
    model = open_vendor("openai")
    return Guarded(model, breaker or Breaker(), PATIENCE, now_ms=time.now_ms, sleep=time.sleep, chance=lambda: 1.0)


async def test_it_tries_again_and_counts_its_attempts(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(fault("failing"), cut(), say("At last."))
    time = Time()
    answer = await call(guard(open_vendor, time), "Hello?")
    assert answer.text == "At last."
    assert time.waits_ms == [400, 800]
    assert answer.usage is not None
    assert answer.usage.attempts == len(vendors.calls) == 3
    assert answer.usage.first_token_ms is not None
    assert answer.usage.first_token_ms >= 1_200, "the person waited for the pauses too"


async def test_it_waits_as_long_as_the_vendor_says(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(fault("rate_limited", "3"))
    time = Time()
    assert (await call(guard(open_vendor, time), "Hello?")).error is None
    assert time.waits_ms == [3_300]


async def test_it_does_not_wait_beyond_the_deadline(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(fault("rate_limited", "30"))
    time = Time()
    answer = await call(guard(open_vendor, time), ask("Hello?", deadline_ms=20_000))
    assert answer.error is not None
    assert (answer.error.fault, answer.error.retry_after_ms) == (Fault.RATE_LIMITED, 30_000)
    assert time.waits_ms == []
    assert len(vendors.calls) == 1


async def test_all_attempts_share_the_deadline() -> None:
    class Failing:
        deadlines: ClassVar[list[int]] = []

        async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
            self.deadlines.append(prompt.deadline_ms)
            raise AssistantError(Fault.UNREACHABLE, "away")
            yield

    time = Time()
    guarded = Guarded(Failing(), Breaker(), PATIENCE, now_ms=time.now_ms, sleep=time.sleep, chance=lambda: 1.0)
    await call(guarded, ask("Hello?", deadline_ms=10_000))
    assert Failing.deadlines == [10_000, 9_600, 8_800]


async def test_it_gives_up_with_the_last_fault(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(fault("failing"), fault("failing"), fault("rate_limited"), say("Too late."))
    answer = await call(guard(open_vendor, Time()), "Hello?")
    assert answer.error is not None
    assert answer.error.fault is Fault.RATE_LIMITED
    assert answer.error.usage is not None
    assert answer.error.usage.attempts == len(vendors.calls) == 3


@pytest.mark.parametrize("play", [refuse(), fault("too_long"), fault("unauthorised"), fault("no_model")])
async def test_what_cannot_pass_is_not_tried_again(vendors: Vendors, open_vendor: Open, play: Play) -> None:
    vendors.next(play)
    assert (await call(guard(open_vendor, Time()), "Hello?")).error is not None
    assert len(vendors.calls) == 1


async def test_text_that_was_given_out_is_not_written_twice(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(cut("One two"), say("Another answer."))
    answer = await call(guard(open_vendor, Time()), "Count.")
    assert answer.text == "One two"
    assert answer.error is not None
    assert answer.error.streamed
    assert len(vendors.calls) == 1


async def test_the_breaker_answers_at_once_and_recovers_by_itself(vendors: Vendors, open_vendor: Open) -> None:
    time, breaker = Time(), Breaker(failures_limit=3, rest_ms=5_000)
    assistant = guard(open_vendor, time, breaker)
    vendors.play = fault("failing")
    await call(assistant, "Hello?")
    assert phase_of(breaker) is Phase.OPEN
    answer = await call(assistant, "Hello?")
    assert answer.error is not None
    assert answer.error.fault is Fault.UNREACHABLE
    assert answer.error.retry_after_ms == 5_000
    assert len(vendors.calls) == 3, "an open breaker calls nobody"
    time.ms += 5_000
    await call(assistant, "Hello?")
    assert len(vendors.calls) == 4, "one probe, which failed"
    time.ms += 10_000
    vendors.play = say("Here again.")
    assert (await call(assistant, "Hello?")).text == "Here again."
    assert phase_of(breaker) is Phase.CLOSED


@pytest.mark.parametrize("play", [refuse(), fault("too_long"), fault("unauthorised"), fault("no_model")])
async def test_a_vendor_that_says_no_is_there(vendors: Vendors, open_vendor: Open, play: Play) -> None:
    breaker = Breaker(failures_limit=2)
    assistant = guard(open_vendor, Time(), breaker)
    for bad in (fault("failing"), play, fault("failing"), play):
        vendors.next(bad)
        await call(assistant, ask("Hello?", deadline_ms=1_300))  # no time for a second attempt
    assert phase_of(breaker) is Phase.CLOSED


async def test_too_many_calls_are_no_outage(vendors: Vendors, open_vendor: Open) -> None:
    breaker = Breaker(failures_limit=1)
    vendors.play = fault("rate_limited")
    await call(guard(open_vendor, Time(), breaker), "Hello?")
    assert phase_of(breaker) is Phase.CLOSED


async def test_too_many_calls_are_no_recovery_either(vendors: Vendors, open_vendor: Open) -> None:
    breaker = Breaker(failures_limit=2)
    assistant = guard(open_vendor, Time(), breaker)
    for play in (fault("failing"), fault("rate_limited"), fault("failing")):
        vendors.next(play)
        await call(assistant, ask("Hello?", deadline_ms=1_300))
    assert phase_of(breaker) is Phase.OPEN


async def test_an_answer_that_is_merely_long_is_no_outage(vendors: Vendors, open_vendor: Open) -> None:
    breaker = Breaker(failures_limit=1)
    vendors.play = hang("One two")
    answer = await call(guard(open_vendor, Time(), breaker), ask("Count.", deadline_ms=100))
    assert answer.error is not None
    assert answer.error.fault is Fault.TIMEOUT
    assert phase_of(breaker) is Phase.CLOSED


async def test_silence_is_an_outage(vendors: Vendors, open_vendor: Open) -> None:
    breaker = Breaker(failures_limit=1)
    vendors.play = hang()
    await call(guard(open_vendor, Time(), breaker), ask("Count.", deadline_ms=100))
    assert phase_of(breaker) is Phase.OPEN


async def test_a_cancelled_probe_lets_the_next_call_look(vendors: Vendors, open_vendor: Open) -> None:
    time, breaker = Time(), Breaker(failures_limit=1, rest_ms=1_000)
    assistant = guard(open_vendor, time, breaker)
    vendors.next(fault("failing"), hang("One "))
    await call(assistant, ask("Hello?", deadline_ms=1_100))
    time.ms += 1_000
    async with aclosing(assistant.stream(ask("Count."))) as stream:
        assert await anext(stream) == "One "
        assert phase_of(breaker) is Phase.HALF_OPEN
    assert (await call(assistant, "Hello?")).error is None
    assert phase_of(breaker) is Phase.CLOSED


async def test_a_pause_can_be_cancelled(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(fault("rate_limited", "600"))
    assistant = Guarded(open_vendor("openai"), Breaker(), PATIENCE)
    task = asyncio.create_task(call(assistant, ask("Hello?", deadline_ms=3_600_000)))
    await vendors.until(lambda: bool(vendors.calls) and vendors.calls[0].outcome == "answered", "the refusal")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_two_calls_are_one_usage() -> None:
    first = Usage("a", 10, 0, None, 500, 2)
    second = Usage("b", 10, 5, 20, 100, 1, measured=False, complete=False)
    assert first.then(second) == Usage("b", 20, 5, 520, 600, 3, measured=False, complete=False)
    assert second.then(first) == Usage("a", 20, 5, 20, 600, 3, measured=False, complete=True)
