"""The account of a turn: what is on it however a call ends, its bounds, and that it holds nobody's words."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from server.assistant import Prompt, Usage
from server.assistant.account import TRACE_LIMIT, Account, Accounted
from server.assistant.errors import AssistantError, Fault
from server.assistant.prices import parse_prices
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
    account, scripted = Account("s-1", clock, PRICES), Scripted(clock, *answers)
    return account, Accounted(scripted, account, max_tokens=max_tokens, turn_ms=turn_ms), scripted


async def test_calls_are_summed() -> None:
    account, assistant, _ = account_of(
        ["{}", Usage("known", 10, 5)], ["One ", "two", Usage("known", 20, 7, attempts=2)]
    )
    await call(assistant, "Which intent?")
    await call(assistant, "And the answer?")
    usage = account.spent()["usage"]
    assert usage == {
        "model": "known", "input_tokens": 30, "output_tokens": 12, "cost_micro_usd": 54, "calls": 2, "attempts": 3,
        "first_token_ms": 30, "measured": True,
    }  # fmt: skip
    first, second = account.spent()["trace"]
    assert (first["ms"], second["ms"]) == (20, 30)
    assert first["digest"] != second["digest"]


async def test_the_first_word_is_the_answers_and_not_the_one_of_a_call_beside_it() -> None:
    account, assistant, _ = account_of(["One ", Usage("known", 1, 1)], ["Sum", Usage("known", 2, 2)])
    await call(assistant, "Count.")
    await call(assistant, replace(ask("Shorten."), task="summarise"))
    spent = account.spent()
    assert spent["usage"]["first_token_ms"] == 10
    assert (spent["usage"]["calls"], spent["usage"]["input_tokens"]) == (2, 3)
    assert [entry["name"] for entry in spent["trace"]] == ["answer", "summarise"]


async def test_a_turn_without_a_call_has_no_account() -> None:
    assert account_of()[0].spent() == {}


async def test_a_model_without_a_price_makes_the_sum_unknown() -> None:
    account, assistant, _ = account_of([Usage("known", 1, 1)], [Usage("new", 1, 1)])
    await call(assistant, "One?")
    assert account.spent()["usage"]["cost_micro_usd"] == 3
    await call(assistant, "Two?")
    assert account.spent()["usage"]["cost_micro_usd"] is None


async def test_a_call_that_failed_has_its_code_and_its_cost() -> None:
    error = AssistantError(Fault.TIMEOUT, "too long", streamed=True, usage=Usage("known", 10, 1))
    account, assistant, _ = account_of(["One ", error])
    assert (await call(assistant, "Count.")).error is error
    assert account.spent()["trace"][0]["outcome"] == "assistant_timeout"
    assert account.spent()["usage"]["cost_micro_usd"] == 12


@pytest.mark.parametrize("is_closed", [False, True], ids=["running", "closed"])
async def test_a_call_that_was_stopped_is_an_estimate(*, is_closed: bool) -> None:
    account, assistant, _ = account_of(["One two ", "three"])
    async with aclosing(assistant.stream(ask("Count."))) as pieces:
        await anext(pieces)
        spent = account.spent()
    spent = account.spent() if is_closed else spent
    assert spent["trace"][0]["outcome"] == "cancelled"
    assert (spent["usage"]["output_tokens"], spent["usage"]["measured"]) == (2, False)
    assert spent["usage"]["input_tokens"] > 0


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
    assert len(account.spent()["trace"]) == TRACE_LIMIT
    assert account.spent()["usage"]["calls"] == account.spent()["usage"]["input_tokens"] == count


async def test_no_word_is_on_it() -> None:
    account, assistant, _ = account_of(["Answer", Usage("m", 1, 1)])
    await call(assistant, "my secret \ud800")
    told = json.dumps(account.spent())
    assert "secret" not in told
    assert "Answer" not in told
    assert account.spent()["trace"][0]["session_id"] == "s-1"
