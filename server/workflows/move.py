"""A line's move: its intent, the state that the table gives for it, and what the step there says.

Pure, as the table is: a step that waits is waited for by whoever runs it.
"""

from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from functools import partial
from types import GeneratorType
from typing import Any

from msgspec import structs

from server.errors import StepError
from server.workflows.defaults import answer_by_choices, classify_by_table
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
    describe_wrong_output,
)


class _Said:
    """What a step has said so far."""

    __slots__ = ("frames", "memory")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.memory: dict[str, Any] = {}

    def take(self, output: Output, buttons: Sequence[Button]) -> Progress | Delta | None:
        """Keep a durable output; return a transient one. Raises StepError for what is no output."""
        match output:
            case Frame():
                self.frames.append(output)
            case Remember(changes):
                self.memory.update(changes)
            case Ask(prompt):
                self.frames.append(_action_request(prompt, buttons))
            case Progress() | Delta():
                return output
            case _:
                raise StepError("step_failed", describe_wrong_output(output))
        return None


async def step(
    workflow: Workflow, turn: Turn, *, stale: bool = False
) -> AsyncGenerator[Progress | Delta | Result, None]:
    """Answer one line: yields what may be shown at once, and last the Result. Closing it closes the state's step.

    `turn.intent` is OPEN for the turn that opens the session, else it is decided here; `stale` says that the line
    answers an action request that is closed. Raises StepError for what the step cannot do.
    """
    guess = _guess(workflow, turn, stale=stale)
    move, run = _move(workflow, turn, guess if isinstance(guess, str) else await guess)
    outputs, buttons, said = run(move), workflow.state(move.state).buttons, _Said()
    if isinstance(outputs, (GeneratorType, Iterator)):
        yield _result_at_once(workflow, move, outputs)
        return
    try:
        async for output in outputs:
            if (shown := said.take(output, buttons)) is not None:
                yield shown
    finally:
        if isinstance(outputs, AsyncGenerator):
            await outputs.aclose()  # one that is merely dropped closes its connections some time later
    yield _result(workflow, move, said)


def step_at_once(workflow: Workflow, turn: Turn, *, stale: bool = False) -> Result | None:
    """As `step`, for a line whose intent and whose step need no wait; None for any other, and nothing has begun."""
    guess = _guess(workflow, turn, stale=stale)
    if not isinstance(guess, str):
        guess.close()
        return None
    move, run = _move(workflow, turn, guess)
    outputs = run(move)
    # Nearly always a generator; to know an iterator by what it can do takes longer.
    return _result_at_once(workflow, move, outputs) if isinstance(outputs, (GeneratorType, Iterator)) else None


def _result_at_once(workflow: Workflow, move: Turn, outputs: Iterator[Output]) -> Result:
    """A step that does not wait, from its beginning to its end; what it shows on the way is over at once."""
    buttons, said = workflow.state(move.state).buttons, _Said()
    for output in outputs:
        said.take(output, buttons)
    return _result(workflow, move, said)


def _result(workflow: Workflow, move: Turn, said: _Said) -> Result:
    """What the step amounts to. Raises StepError when it said nothing."""
    if not said.frames:
        raise StepError("step_failed", f"{move.intent} in {move.came_from} said nothing: yield a chat(…)")
    return Result(move.intent, move.state, tuple(said.frames), said.memory)


def _action_request(prompt: str, buttons: Sequence[Button]) -> Frame:
    actions = [
        {"label": b.label, "value": b.value, "primary": b.primary, "requires_input": b.requires_input} for b in buttons
    ]
    return Frame("action_request", {"prompt_text": prompt, "actions": actions})


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
