"""A running step of the real workflow, which goes on when the schedule says so."""

from collections.abc import AsyncIterator, Callable

from msgspec import structs

from server.engine.run_step import SPARE_IDS
from server.errors import ErrorCode, StepError
from server.machines import effects, inputs
from server.workflows.move import step, step_at_once
from server.workflows.table import OPEN, Delta, Line, Progress, Result, Turn, Workflow
from tests.model.pending import at_once


class Step:
    """One output at a time."""

    def __init__(self, effect: effects.RunStep, session_id: str, workflow: Workflow, fresh: Callable[[], str]) -> None:
        self.effect = effect
        self._fresh = fresh
        self._workflow = workflow
        self._session_id = session_id
        self._outputs = step(workflow, _turn(effect, session_id, workflow, fresh), stale=effect.stale)

    def begin_again(self) -> inputs.Input:
        """The step broke off, and runs from its beginning."""
        self.effect = structs.replace(self.effect, attempt=self.effect.attempt + 1)
        turn = _turn(self.effect, self._session_id, self._workflow, self._fresh)
        self._outputs = step(self._workflow, turn, stale=self.effect.stale)
        return inputs.Again(self.effect.run)

    def go_on(self, now_ms: int, *, broken: bool = False) -> inputs.Input:
        """The step's next output, as the input that the session gets."""
        run = self.effect.run
        try:
            output = at_once(_next(self._outputs, broken=broken))
        except Exception as error:  # noqa: BLE001  a step is foreign code
            return _failed(run, error, self._fresh, now_ms)
        match output:
            case Progress():
                return inputs.Shown(run, output)
            case Delta(text):
                return inputs.Streamed(run, text, self._fresh())
            case _:
                return _done(run, output, self._fresh, now_ms)


def end_at_once(
    effect: effects.RunStep, session_id: str, workflow: Workflow, fresh: Callable[[], str], now_ms: int
) -> inputs.Done | inputs.Failed | inputs.MayWait:
    """The end of a step that does not wait."""
    try:
        result = step_at_once(workflow, _turn(effect, session_id, workflow, fresh), stale=effect.stale)
    except Exception as error:  # noqa: BLE001  a step is foreign code
        return _failed(effect.run, error, fresh, now_ms)
    return _done(effect.run, result, fresh, now_ms) if result is not None else inputs.MAY_WAIT


def _turn(effect: effects.RunStep, session_id: str, workflow: Workflow, fresh: Callable[[], str]) -> Turn:
    line, snapshot = effect.line, effect.snapshot
    payload = line.payload if line else {"text": ""}
    state = snapshot.state if snapshot else workflow.start
    return Turn(
        session_id=session_id,
        number=effect.turn,
        attempt=effect.attempt,
        line=workflow.read_line(payload["text"], payload.get("action_value")) if line else Line("", ""),
        intent="" if line else OPEN,
        came_from=state,
        state=state,
        memory=snapshot.memory if snapshot else {},
        events=(),
        new_id=fresh,
        public_url="",
    )


def _done(run: int, result: Result, fresh: Callable[[], str], now_ms: int) -> inputs.Done:
    return inputs.Done(run, result, [fresh() for _ in range(len(result.frames) + SPARE_IDS)], now_ms)


def _failed(run: int, error: Exception, fresh: Callable[[], str], now_ms: int) -> inputs.Failed:
    code = error.code if isinstance(error, StepError) else ErrorCode.STEP_FAILED
    return inputs.Failed(run, code, "It broke.", "corr", True, [fresh() for _ in range(SPARE_IDS)], now_ms)


async def _next(outputs: AsyncIterator[Progress | Delta | Result], *, broken: bool) -> Progress | Delta | Result:
    if broken:
        raise RuntimeError("on purpose")
    return await anext(outputs)
