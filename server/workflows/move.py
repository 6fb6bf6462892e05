"""A line's move: finds its intent, looks up the next state in the table, and runs that state's step.

Pure, like the table: no clock, randomness or I/O of its own.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Iterator, Sequence
from functools import partial
from types import GeneratorType
from typing import Any, Final

from msgspec import structs

from server.errors import ErrorCode, StepError
from server.records import ACTION_REQUEST
from server.server_memory import RESERVED
from server.workflows.defaults import answer_by_choices, classify_by_table
from server.workflows.outputs import shown, where, wrong_key, wrong_output
from server.workflows.table import (
    OPEN,
    STALE,
    STAY,
    Ask,
    Button,
    Delta,
    Frame,
    Output,
    Progress,
    Remember,
    Result,
    Step,
    Turn,
    Workflow,
)

#: The most outputs of one step: an endless step that never waits would block the event loop until memory runs out.
MOST_OUTPUTS: Final = 100_000


class _Said:
    """The outputs of a step so far."""

    __slots__ = ("_move", "_taken", "_workflow", "frames", "memory")

    def __init__(self, workflow: Workflow, move: Turn) -> None:
        self.frames: list[Frame] = []
        self.memory: dict[str, Any] = {}
        self._workflow = workflow
        self._move = move
        self._taken = 0

    def take(self, output: Output, buttons: Sequence[Button]) -> Progress | Delta | None:
        """Keep a durable output and return None; return a transient one (Progress, Delta), to be shown.

        A step is foreign code, so `output` may be any object. Raises StepError, which names a wrong output and its
        state.
        """
        self._taken += 1
        if self._taken > MOST_OUTPUTS:
            raise StepError(
                ErrorCode.ANSWER_TOO_LARGE, f"{where(self._workflow, self._move)}: more than {MOST_OUTPUTS} outputs"
            )
        match output:
            case Frame("chat_message", {"text": str()}, None):  # nearly every frame
                self.frames.append(output)
                return None
            case Remember(dict(changes)):
                for key in changes:
                    if type(key) is not str or key[:1] == RESERVED:
                        raise self._wrong(wrong_key(key))
                self.memory.update(changes)
                return None
            case Ask(str(prompt)):
                self.frames.append(_action_request(prompt, buttons))
                return None
            case Delta(str()):
                return output
        if (wrong := wrong_output(output)) is not None:
            raise self._wrong(wrong)
        if isinstance(output, Progress):
            return output
        self.frames.append(output)
        return None

    def _wrong(self, what: str) -> StepError:
        return StepError(ErrorCode.STEP_FAILED, f"{where(self._workflow, self._move)}: yielded {what}")


async def step(
    workflow: Workflow, turn: Turn, *, stale: bool = False
) -> AsyncGenerator[Progress | Delta | Result, None]:
    """Answer one line: yields transient outputs to show at once, then the Result. Closing it closes the state's step.

    `turn.intent` is OPEN for the turn that opens the session; for any other turn this function decides the intent.
    `stale`: the line answers an action request that is closed. Raises StepError for a wrong output or intent, and
    passes on exceptions of the step.
    """
    guess = _guess(workflow, turn, stale=stale)
    if not isinstance(guess, str):
        guess = await guess if isinstance(guess, Awaitable) else guess
        if not isinstance(guess, str):
            raise StepError(
                ErrorCode.STEP_FAILED, f"{where(workflow, turn)}: classify gave {shown(guess)}, expected an intent"
            )
    move, run = _move(workflow, turn, guess)
    outputs, buttons, said = run(move), workflow.state(move.state).buttons, _Said(workflow, move)
    if isinstance(outputs, (GeneratorType, Iterator)):
        yield _result_at_once(workflow, move, outputs)
        return
    if not isinstance(outputs, AsyncIterator):
        if isinstance(outputs, Coroutine):
            outputs.close()  # never awaited: avoids Python's warning
        raise StepError(
            ErrorCode.STEP_FAILED, f"{where(workflow, move)}: the step gave {shown(outputs)}, expected a generator"
        )
    try:
        async for output in outputs:
            if (seen := said.take(output, buttons)) is not None:
                yield seen
    finally:
        if isinstance(outputs, AsyncGenerator):
            await outputs.aclose()  # without this its connections stay open until the garbage collector runs
    yield _result(workflow, move, said)


def step_at_once(workflow: Workflow, turn: Turn, *, stale: bool = False) -> Result | None:
    """Like `step`, for a line whose classifier and step do not wait. Returns None for any other: no step has run."""
    guess = _guess(workflow, turn, stale=stale)
    if not isinstance(guess, str):
        if isinstance(guess, Coroutine):
            guess.close()
        return None  # `step` raises for a wrong type
    move, run = _move(workflow, turn, guess)
    outputs = run(move)
    # Nearly always a generator, and that check is faster than the one for Iterator.
    if isinstance(outputs, (GeneratorType, Iterator)):
        return _result_at_once(workflow, move, outputs)
    if isinstance(outputs, Coroutine):
        outputs.close()
    return None


def _result_at_once(workflow: Workflow, move: Turn, outputs: Iterator[Output]) -> Result:
    """Run a step that does not wait. Its transient outputs are dropped: its result is there at the same time."""
    buttons, said = workflow.state(move.state).buttons, _Said(workflow, move)
    for output in outputs:
        said.take(output, buttons)
    return _result(workflow, move, said)


def _result(workflow: Workflow, move: Turn, said: _Said) -> Result:
    """The Result of the step. Raises StepError when the step yielded no frame."""
    if not said.frames:
        said_nothing = f"{move.intent} in {move.came_from} said nothing: yield a chat(…)"
        raise StepError(ErrorCode.STEP_FAILED, said_nothing)
    return Result(move.intent, move.state, tuple(said.frames), said.memory)


def _action_request(prompt: str, buttons: Sequence[Button]) -> Frame:
    actions = [
        {"label": b.label, "value": b.value, "primary": b.primary, "requires_input": b.requires_input} for b in buttons
    ]
    return Frame(ACTION_REQUEST, {"prompt_text": prompt, "actions": actions})


def _guess(workflow: Workflow, turn: Turn, *, stale: bool) -> str | Coroutine[Any, Any, str]:
    """The line's intent, or the coroutine of the classifier that returns it."""
    if turn.intent == OPEN:
        return OPEN
    if stale:
        return STALE
    state = workflow.state(turn.came_from)
    if (intent := workflow.decide(state, turn.line)) is not None:
        return intent
    if workflow.classify is None:
        return classify_by_table(workflow, state)
    return workflow.classify(turn, tuple(workflow.allowed(state)))


def _move(workflow: Workflow, turn: Turn, guess: str) -> tuple[Turn, Step]:
    """The turn with its intent and its new state, and the step to run: `answer` when the state stays the same.

    No other function changes the state of a session (L11).
    """
    if turn.intent == OPEN:
        return turn, workflow.state(turn.state).run
    allowed = workflow.allowed(workflow.state(turn.came_from))
    intent = guess if guess in allowed or guess == STALE else workflow.fallback
    target = STAY if intent == STALE else allowed.get(intent, STAY)
    if target == STAY:
        answer = workflow.answer or partial(answer_by_choices, workflow)
        return structs.replace(turn, intent=intent, state=turn.came_from), answer
    return structs.replace(turn, intent=intent, state=target), workflow.state(target).run
