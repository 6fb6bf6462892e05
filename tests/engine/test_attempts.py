"""When a step that broke off is begun again, and when it is not."""

import asyncio
from collections.abc import Sequence

import pytest

from server.assistant.errors import TEMPORARY, AssistantError, Fault
from server.assistant.retry import Patience
from server.engine.attempts import Attempts
from server.errors import ErrorCode, StepError
from server.machines.effects import RunStep
from server.machines.inputs import Again, Input, Streamed
from server.records import SessionKey

PATIENCE = Patience(attempts=3, first_wait_ms=400, longest_wait_ms=8_000, least_call_ms=1_000)
EFFECT = RunStep(run=5, turn=3, attempt=2, line=None, snapshot=None, stale=False)
BROKE_OFF = AssistantError(Fault.UNREACHABLE, "it broke off", streamed=True)


class Steps:
    """The step's attempts: each says its number and then raises its error, if it has one."""

    def __init__(self, *errors: Exception | None, left_ms: int = 60_000) -> None:
        self.begun: list[int] = []
        self.shown: list[Input] = []
        self.closed = 0
        self.waits_ms: list[int] = []
        self._errors = list(errors)
        key = SessionKey("user", "session")
        self.attempts = Attempts(EFFECT, key, lambda: left_ms, PATIENCE, sleep=self._sleep, chance=lambda: 1.0)

    async def outputs(self) -> Sequence[Input]:
        await self.attempts.run(self._attempt, self.shown.append)
        return self.shown

    async def _attempt(self, effect: RunStep) -> None:
        self.begun.append(effect.attempt)
        try:
            self.shown.append(Streamed(effect.run, f"attempt {effect.attempt}", "s"))
            if (error := self._errors.pop(0)) is not None:
                raise error
        finally:
            self.closed += 1

    async def _sleep(self, seconds: float) -> None:
        self.waits_ms.append(round(seconds * 1000))


def said(attempt: int) -> Streamed:
    return Streamed(EFFECT.run, f"attempt {attempt}", "s")


async def test_a_step_that_broke_off_is_begun_again_after_a_word_and_a_wait() -> None:
    steps = Steps(BROKE_OFF, BROKE_OFF, None)
    assert await steps.outputs() == [said(2), Again(5), said(3), Again(5), said(4)]
    assert (steps.begun, steps.closed) == ([2, 3, 4], 3)
    assert steps.waits_ms == [400, 800]
    assert steps.attempts.effect.attempt == 4


async def test_attempts_end() -> None:
    steps = Steps(*[BROKE_OFF] * 9)
    with pytest.raises(AssistantError) as raised:
        await steps.outputs()
    assert raised.value is BROKE_OFF
    assert steps.begun == [2, 3, 4]
    assert steps.attempts.effect.attempt == 4


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("fault", Fault)
async def test_only_what_broke_off_in_mid_answer_and_can_pass(fault: Fault, *, streamed: bool) -> None:
    steps = Steps(AssistantError(fault, "it failed", streamed=streamed), None)
    if streamed and fault in TEMPORARY:
        assert len(await steps.outputs()) == 3
    else:
        with pytest.raises(AssistantError):
            await steps.outputs()
        assert (steps.begun, steps.waits_ms) == ([2], [])


@pytest.mark.parametrize("error", [StepError(ErrorCode.STEP_FAILED, "no"), RuntimeError("no"), TimeoutError()])
async def test_what_is_no_fault_of_the_assistant_is_not_tried_again(error: Exception) -> None:
    steps = Steps(error, None)
    with pytest.raises(type(error)):
        await steps.outputs()
    assert steps.begun == [2]


@pytest.mark.parametrize(("left_ms", "begun"), [(1_400, [2, 3]), (1_399, [2]), (-5, [2])])
async def test_no_attempt_begins_without_time_for_it(left_ms: int, begun: list[int]) -> None:
    steps = Steps(BROKE_OFF, StepError(ErrorCode.STEP_FAILED, "the end"), left_ms=left_ms)
    with pytest.raises(StepError):
        await steps.outputs()
    assert steps.begun == begun


async def test_a_vendor_is_not_asked_before_its_time() -> None:
    steps = Steps(AssistantError(Fault.RATE_LIMITED, "slow down", retry_after_ms=3_000, streamed=True), None)
    await steps.outputs()
    assert steps.waits_ms == [3_300]


async def test_whoever_stops_it_in_the_pause_closes_everything() -> None:
    steps = Steps(BROKE_OFF, None)
    steps.attempts._sleep = asyncio.sleep  # a real pause
    task = asyncio.create_task(steps.outputs())
    async with asyncio.timeout(5):
        while not steps.closed:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.begun == [2]
