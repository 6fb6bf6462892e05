"""A line's move: its intent, the state that the table gives for it, and what the step there says.

Pure, as the table is: the caller waits for a step that waits.
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

#: Outputs of one step: one that yields for ever without waiting would hold the event loop until memory runs out.
MOST_OUTPUTS: Final = 100_000


class _Said:
    """What a step has said so far."""

    __slots__ = ("_move", "_taken", "_workflow", "frames", "memory")

    def __init__(self, workflow: Workflow, move: Turn) -> None:
        self.frames: list[Frame] = []
        self.memory: dict[str, Any] = {}
        self._workflow = workflow
        self._move = move
        self._taken = 0

    def take(self, output: Output, buttons: Sequence[Button]) -> Progress | Delta | None:
        """Keep what is to be committed; the answer is what is not, but may be shown.

        A step is foreign code, so `output` may be anything. Raises StepError that says what it is and where.
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
    """Answer one line: yields what may be shown at once, and last the Result. Closing it closes the state's step.

    `turn.intent` is OPEN for the turn that opens the session, else it is decided here; `stale` says that the line
    answers an action request that is closed. Raises StepError for what the step cannot do.
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
            outputs.close()  # no caller will wait for it
        raise StepError(
            ErrorCode.STEP_FAILED, f"{where(workflow, move)}: the step gave {shown(outputs)}, expected a generator"
        )
    try:
        async for output in outputs:
            if (seen := said.take(output, buttons)) is not None:
                yield seen
    finally:
        if isinstance(outputs, AsyncGenerator):
            await outputs.aclose()  # one that is merely dropped closes its connections some time later
    yield _result(workflow, move, said)


def step_at_once(workflow: Workflow, turn: Turn, *, stale: bool = False) -> Result | None:
    """As `step`, for a line whose intent and whose step need no wait; None for any other, and nothing has begun."""
    guess = _guess(workflow, turn, stale=stale)
    if not isinstance(guess, str):
        if isinstance(guess, Coroutine):
            guess.close()
        return None  # anything else is complained of by `step`
    move, run = _move(workflow, turn, guess)
    outputs = run(move)
    # Nearly always a generator; to know an iterator by what it can do takes longer.
    if isinstance(outputs, (GeneratorType, Iterator)):
        return _result_at_once(workflow, move, outputs)
    if isinstance(outputs, Coroutine):
        outputs.close()
    return None


def _result_at_once(workflow: Workflow, move: Turn, outputs: Iterator[Output]) -> Result:
    """A step that does not wait, from its beginning to its end; what it shows on the way is over at once."""
    buttons, said = workflow.state(move.state).buttons, _Said(workflow, move)
    for output in outputs:
        said.take(output, buttons)
    return _result(workflow, move, said)


def _result(workflow: Workflow, move: Turn, said: _Said) -> Result:
    """What the step amounts to. Raises StepError when it said nothing."""
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
    """The line's intent, or what has to be waited for to know it."""
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
    """The turn with its intent and its target looked up, and the step to run: `answer` where it stays where it is.

    The one place that changes a state (L11).
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
