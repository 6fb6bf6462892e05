"""The account of a turn: what is on it however a call ends, its bounds, and that it holds nobody's words."""

import gc
import weakref
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from server.assistant import Prompt, Usage
from server.assistant.breaker import Breaker
from server.assistant.errors import AssistantError, Fault
from server.assistant.guarded import Guarded
from server.assistant.prices import parse_prices
from server.engine.account import TRACE_LIMIT, Account, Accounted
from server.machines.trace import ModelCall, ModelUsage, Spent, ToolCall, TraceEntry
from server.records import SessionKey
from tests.assistant.calls import ask, call

PRICES = parse_prices("known=1/2")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


class Scripted:
    """Yields what it was given, 10 ms each; an exception is raised."""

    def __init__(self, clock: Clock, *answers: list[Any]) -> None:
        self.prompts: list[Prompt] = []
        self._clock = clock
        self._answers = list(answers)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        self.prompts.append(prompt)
        for item in self._answers.pop(0):
            self._clock.ms += 10
            if isinstance(item, Exception):
                raise item
            yield item


def account_of(*answers: list[Any], max_tokens: int = 4_000, turn_ms: int = 100) -> tuple[Account, Accounted, Scripted]:
    clock = Clock()
    account, scripted = Account(SessionKey("ann", "s-1"), clock, PRICES), Scripted(clock, *answers)
    guarded = Guarded(scripted, Breaker(), now_ms=clock)
    return account, Accounted(guarded, account, max_tokens=max_tokens, turn_ms=turn_ms), scripted


def spent(account: Account, most_bytes: int = 1_000_000) -> Spent:
    return account.spent(most_bytes)


def usage(account: Account) -> ModelUsage:
    found = spent(account).usage
    assert found is not None
    return found


def calls(trace: Sequence[TraceEntry]) -> list[ModelCall]:
    """The trace of a turn that called a model alone."""
    return [entry for entry in trace if isinstance(entry, ModelCall)]


async def test_calls_are_summed() -> None:
    account, assistant, _ = account_of(
        ["{}", Usage("known", 10, 5)], ["One ", "two", Usage("known", 20, 7, attempts=2)]
    )
    await call(assistant, "Which intent?")
    await call(assistant, "And the answer?")
    assert usage(account) == ModelUsage(
        model="known", input_tokens=30, output_tokens=12, cost_micro_usd=54, calls=2, attempts=3, first_token_ms=30,
        measured=True,
    )  # fmt: skip
    first, second = calls(spent(account).trace)
    assert (first.ms, second.ms) == (20, 30)
    assert first.digest != second.digest


async def test_the_first_word_is_the_answers_and_not_the_one_of_a_call_beside_it() -> None:
    account, assistant, _ = account_of(["One ", Usage("known", 1, 1)], ["Sum", Usage("known", 2, 2)])
    await call(assistant, "Count.")
    await call(assistant, replace(ask("Shorten."), task="summarise"))
    assert usage(account).first_token_ms == 10
    assert (usage(account).calls, usage(account).input_tokens) == (2, 3)
    assert [entry.name for entry in calls(spent(account).trace)] == ["answer", "summarise"]


async def test_a_turn_without_a_call_has_no_account() -> None:
    assert spent(account_of()[0]) == Spent()


async def test_a_model_without_a_price_makes_the_sum_unknown() -> None:
    account, assistant, _ = account_of([Usage("known", 1, 1)], [Usage("new", 1, 1)])
    await call(assistant, "One?")
    assert usage(account).cost_micro_usd == 3
    await call(assistant, "Two?")
    assert usage(account).cost_micro_usd is None


async def test_a_call_that_failed_has_its_code_and_its_cost() -> None:
    error = AssistantError(Fault.TIMEOUT, "too long", streamed=True, usage=Usage("known", 10, 1))
    account, assistant, _ = account_of(["One ", error])
    assert (await call(assistant, "Count.")).error is error
    assert spent(account).trace[0].outcome == "assistant_timeout"
    assert usage(account).cost_micro_usd == 12


@pytest.mark.parametrize("is_closed", [False, True], ids=["running", "closed"])
async def test_a_call_that_was_stopped_is_an_estimate(*, is_closed: bool) -> None:
    account, assistant, _ = account_of(["One two ", "three"])
    async with aclosing(assistant.stream(ask("Count."))) as pieces:
        await anext(pieces)
        found = spent(account)
    found = spent(account) if is_closed else found
    assert found.trace[0].outcome == "cancelled"
    assert found.usage is not None
    assert (found.usage.output_tokens, found.usage.measured) == (2, False)
    assert found.usage.input_tokens > 0


async def test_an_answer_and_a_turn_have_their_bounds() -> None:
    _, assistant, scripted = account_of([Usage("m")], [Usage("m")], max_tokens=500, turn_ms=100)
    await call(assistant, "One?")
    await call(assistant, Prompt("", ask("Two?").window, max_tokens=100, deadline_ms=50))
    assert [(p.max_tokens, p.deadline_ms) for p in scripted.prompts] == [(500, 100), (100, 50)]


async def test_a_turn_whose_time_is_over_has_none_left() -> None:
    _, assistant, scripted = account_of(["x"] * 10 + [Usage("m")], [Usage("m")], turn_ms=100)
    await call(assistant, "One?")
    await call(assistant, "Two?")
    assert scripted.prompts[1].deadline_ms == 1


async def test_the_trace_is_bounded_and_the_sum_is_whole() -> None:
    count = TRACE_LIMIT + 5
    account, assistant, _ = account_of(*([Usage("m", 1, 1)] for _ in range(count)), turn_ms=10_000)
    for _ in range(count):
        await call(assistant, "Again.")
    assert len(spent(account).trace) == TRACE_LIMIT
    assert usage(account).calls == usage(account).input_tokens == count


async def test_no_word_is_on_it() -> None:
    account, assistant, _ = account_of(["Answer", Usage("m", 1, 1)])
    await call(assistant, "my secret \ud800")
    told = msgspec.json.encode(spent(account)).decode()
    assert "secret" not in told
    assert "Answer" not in told
    assert spent(account).trace[0].session_id == "s-1"


async def test_calls_of_a_model_and_of_tools_stand_in_their_order_each_with_its_attempt() -> None:
    account, assistant, _ = account_of([Usage("m", 1, 1)])
    use = account.begin_use("weather", '"Oslo"')
    account.end_use(use, "answered", "12")
    account.attempt = 2
    await call(assistant, "And now?")
    account.begin_use("weather", '"Rome"')
    assert [(entry.attempt, type(entry).__name__) for entry in spent(account).trace] == [
        (1, "ToolCall"), (2, "ModelCall"), (2, "ToolCall"),
    ]  # fmt: skip
    first, _, last = spent(account).trace
    assert first == ToolCall("s-1", 1, "weather", '"Oslo"', "12", 0, "answered")
    assert last.outcome == "cancelled"
    assert usage(account).calls == 1


async def test_an_account_is_gone_with_its_turn_without_the_collector() -> None:
    """It holds the prompts of its calls, which are long."""
    account, assistant, _ = account_of(["One ", Usage("m", 1, 1)])
    await call(assistant, "Count.")
    gone = weakref.ref(account)
    gc.disable()
    try:
        del account, assistant
        assert gone() is None
    finally:
        gc.enable()


def test_a_turn_of_tools_alone_has_no_usage() -> None:
    account, _, _ = account_of()
    account.begin_use("weather", "")
    assert spent(account).usage is None
    assert len(spent(account).trace) == 1


def test_the_trace_has_its_bytes_and_loses_its_end() -> None:
    account, _, _ = account_of()
    for city in ("Oslo", "Rome", "Bern"):
        account.begin_use("weather", city)
    size = len(msgspec.json.encode(spent(account).trace[0]))
    assert len(spent(account, 3 * size).trace) == 3
    assert spent(account, 3 * size - 1).trace == spent(account).trace[:2]
    assert spent(account, 0).trace == spent(account, -5).trace == ()
