"""A summary beside an answer, with assistants that keep to nothing."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from server.assistant import Prompt, Usage
from server.assistant.past import Past
from server.engine import turn_context
from server.engine.account import Account
from server.engine.turn_context import TurnContext
from server.machines.effects import RunStep
from server.records import SessionKey
from server.server_memory import StoredSummary
from server.settings import Settings
from tests.assistant.calls import person
from tests.support.builders import SESSION, USER, line, snapshot


class Endless:
    """Says nothing, whatever its deadline is, and notes whether it was stopped."""

    def __init__(self) -> None:
        self.calls: list[Prompt] = []
        self.stopped = 0

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        self.calls.append(prompt)
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1
        yield ""


class Brief:
    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        yield "They talk of tea."
        yield Usage("m", 1, 1)


def turn(**settings: Any) -> TurnContext:
    """A turn whose past has one message, which is due."""
    account = Account(SessionKey(USER, SESSION), lambda: time.monotonic_ns() // 1_000_000, {})
    effect = RunStep(1, 5, 1, line(5), snapshot(seq=5, lined=5), stale=False)
    made = TurnContext(Settings(chat_context_limit=1, **settings), effect, SessionKey(USER, SESSION), account)
    made.past = Past("", 2, ((3, person("I am Ada.")),))
    return made


async def test_a_summary_is_kept_with_the_turn_and_begun_once() -> None:
    async with turn() as one:
        one.called(Brief(), "")
        one.called(Endless(), "")
        kept = await one.new_summary()
    assert kept == StoredSummary(3, "They talk of tea.")


async def test_no_answer_is_lost_to_a_summary_that_takes_the_rest_of_the_steps_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn_context, "WAIT_MS", 3_600_000)
    endless = Endless()
    async with asyncio.timeout(20), turn(step_timeout_ms=200) as one:
        one.called(endless, "")
        assert await one.new_summary() is None
    assert (len(endless.calls), endless.stopped) == (1, 1)


async def test_a_turn_that_is_cut_ends_its_summary() -> None:
    endless, one = Endless(), turn()

    async def step() -> None:
        async with one:
            one.called(endless, "")
            await one.new_summary()

    running = asyncio.create_task(step())
    while not endless.calls:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert endless.stopped == 1
