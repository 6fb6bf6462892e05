"""A running step of the real workflow, which goes on when the schedule says so."""

from collections.abc import AsyncIterator, Callable

from msgspec import structs

from server import signals
from server.errors import StepError
from server.steps import SPARE_IDS
from server.workflow import OPEN, Delta, Line, Progress, Result, Turn, Workflow, step
from tests.model.pending import at_once


class Step:
    """One output at a time."""

    def __init__(self, effect: signals.RunStep, session_id: str, workflow: Workflow, fresh: Callable[[], str]) -> None:
        self.effect = effect
        self._workflow = workflow
        self._fresh = fresh
        self._session_id = session_id
        self._outputs = self._run(effect, session_id)

    def _run(self, effect: signals.RunStep, session_id: str) -> AsyncIterator[Progress | Delta | Result]:
        line, snapshot, workflow = effect.line, effect.snapshot, self._workflow
        payload = line.payload if line else {"text": ""}
        state = snapshot.state if snapshot else workflow.start
        turn = Turn(
            session_id=session_id,
            number=effect.turn,
            attempt=effect.attempt,
            line=workflow.read_line(payload["text"], payload.get("action_value")) if line else Line("", ""),
            intent="" if line else OPEN,
            came_from=state,
            state=state,
            memory=snapshot.memory if snapshot else {},
            events=(),
            new_id=self._fresh,
            public_url="",
        )
        return step(workflow, turn, stale=effect.stale)

    def begin_again(self) -> signals.Input:
        """The step broke off, and runs from its beginning."""
        self.effect = structs.replace(self.effect, attempt=self.effect.attempt + 1)
        self._outputs = self._run(self.effect, self._session_id)
        return signals.Again(self.effect.run)

    def go_on(self, now_ms: int, *, broken: bool = False) -> signals.Input:
        """The step's next output, as the input that the session gets."""
        run = self.effect.run
        try:
            output = at_once(_next(self._outputs, broken=broken))
        except Exception as error:  # noqa: BLE001  a step is foreign code
            code = error.code if isinstance(error, StepError) else "step_failed"
            ids = [self._fresh() for _ in range(SPARE_IDS)]
            return signals.Failed(run, code, "It broke.", "corr", True, ids, now_ms)
        match output:
            case Progress():
                return signals.Shown(run, output)
            case Delta(text):
                return signals.Streamed(run, text, self._fresh())
            case _:
                ids = [self._fresh() for _ in range(len(output.frames) + SPARE_IDS)]
                return signals.Done(run, output, ids, now_ms)


async def _next(outputs: AsyncIterator[Progress | Delta | Result], *, broken: bool) -> Progress | Delta | Result:
    if broken:
        raise RuntimeError("on purpose")
    return await anext(outputs)
