"""A step's time and that of the calls to a model in it: which of them ends first, exactly."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import pytest

from server.assistant import Prompt, Usage
from server.assistant.breaker import Breaker
from server.assistant.errors import AssistantError, Fault
from server.assistant.guarded import Guarded
from server.engine.account import Account
from server.engine.run_step import Means, run_step
from server.machines.effects import RunStep
from server.machines.inputs import Failed, Input
from server.records import SessionKey
from server.settings import Settings
from server.workflows.chat import CHAT
from server.workflows.table import Output, Turn, chat
from tests.support import virtual_time
from tests.support.builders import SESSION, USER, line, snapshot
from tests.support.dict_store import DictStore
from tests.support.example_workflows import ECHO


def now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


class Slow:
    """A model that says a word and no more; like the real one it keeps its prompt's deadline."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        yield "One "
        await asyncio.sleep(prompt.deadline_ms / 1000)
        raise AssistantError(Fault.TIMEOUT, "no answer", streamed=True)


class Endless:
    """One that keeps no deadline."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        yield "One "
        await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("assistant", "code", "after_ms"), [(Slow(), "assistant_timeout", 1900), (Endless(), "step_timeout", 2000)]
)
def test_a_call_ends_before_its_step_so_that_its_own_code_is_told(
    assistant: Slow | Endless, code: str, after_ms: int
) -> None:
    async def play() -> tuple[list[Input], int]:
        means = Means(
            DictStore(), replace(Settings(), step_timeout_ms=2000), Guarded(assistant, Breaker(), now_ms=now_ms)
        )
        effect = RunStep(1, 3, 1, line(3), snapshot(workflow="chat", state=CHAT.start, seq=3, lined=3), stale=False)
        outputs: list[Input] = []
        account = Account(SessionKey(USER, SESSION), now_ms, {})
        await run_step(means, CHAT, effect, SessionKey(USER, SESSION), account=account, show=outputs.append)
        return outputs, now_ms()

    outputs, ended_ms = virtual_time.run(play())
    failed = outputs[-1]
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert ended_ms == after_ms


def test_a_step_that_waits_for_something_else_is_ended_at_its_time() -> None:
    async def wait(turn: Turn) -> AsyncIterator[Output]:
        await asyncio.sleep(3600)
        yield chat("too late")

    async def play() -> tuple[list[Input], int]:
        means = Means(DictStore(), replace(Settings(), step_timeout_ms=2000))
        effect = RunStep(1, 3, 1, line(3), snapshot(seq=3, lined=3), stale=False)
        outputs: list[Input] = []
        account, workflow = Account(SessionKey(USER, SESSION), now_ms, {}), replace(ECHO, answer=wait)
        await run_step(means, workflow, effect, SessionKey(USER, SESSION), account=account, show=outputs.append)
        return outputs, now_ms()

    outputs, ended_ms = virtual_time.run(play())
    [failed] = outputs
    assert isinstance(failed, Failed)
    assert (failed.code, ended_ms) == ("step_timeout", 2000)
