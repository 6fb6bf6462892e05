"""A line's move: its intent, the state that the table gives for it, and what the step there says.

Pure, as the table is: a step that waits is waited for by whoever runs it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

from msgspec import structs

from server.errors import StepError
from server.workflow import (
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
    Turn,
    Workflow,
)


class _Collected:
    """What a step says, until it has come to its end."""

    __slots__ = ("_frames", "_memory", "_move", "_state", "_stays", "_workflow")

    def __init__(self, workflow: Workflow, turn: Turn, guess: str) -> None:
        self._workflow = workflow
        self._move, self._stays = _move(workflow, turn, guess)
        self._state = workflow.state(self._move.state)
        self._frames: list[Frame] = []
        self._memory: dict[str, Any] = {}

    def run(self) -> AsyncIterator[Output] | Iterator[Output]:
        """Begin the step of the move."""
        return self._workflow.answer(self._move) if self._stays else self._state.run(self._move)

    def take(self, output: Frame | Ask | Remember) -> None:
        """Keep what is to be committed."""
        match output:
            case Remember(changes):
                self._memory.update(changes)
            case Ask(prompt):
                self._frames.append(_action_request(prompt, self._state.buttons))
            case frame:
                self._frames.append(frame)

    def take_all(self, outputs: Iterator[Output]) -> Result:
        """A step that does not wait, from its beginning to its end; what it shows on the way is over at once."""
        for output in outputs:
            if not isinstance(output, Progress | Delta):
                self.take(output)
        return self.result()

    def result(self) -> Result:
        """What the step amounts to. Raises StepError when it said nothing."""
        if not self._frames:
            said_nothing = f"{self._workflow.name}: {self._move.intent} in {self._move.came_from} said nothing"
            raise StepError("step_failed", said_nothing)
        return Result(self._move.intent, self._move.state, tuple(self._frames), self._memory)


async def step(
    workflow: Workflow, turn: Turn, *, stale: bool = False
) -> AsyncGenerator[Progress | Delta | Result, None]:
    """Answer one line: yields what may be shown at once, and last the Result. Closing it closes the state's step.

    `turn.intent` is OPEN for the turn that opens the session, else it is decided here; `stale` says that the line
    answers an action request that is closed. Raises StepError for what the step cannot do.
    """
    guess = _guess(workflow, turn, stale=stale)
    collected = _Collected(workflow, turn, guess if isinstance(guess, str) else await guess)
    outputs = collected.run()
    if isinstance(outputs, Iterator):
        yield collected.take_all(outputs)
        return
    try:
        async for output in outputs:
            if isinstance(output, Progress | Delta):
                yield output
            else:
                collected.take(output)
    finally:
        if isinstance(outputs, AsyncGenerator):
            await outputs.aclose()  # one that is merely dropped closes its connections some time later
    yield collected.result()


def step_at_once(workflow: Workflow, turn: Turn, *, stale: bool = False) -> Result | None:
    """As `step`, for a line whose intent and whose step need no wait; None for any other, and nothing has begun."""
    guess = _guess(workflow, turn, stale=stale)
    if not isinstance(guess, str):
        guess.close()
        return None
    collected = _Collected(workflow, turn, guess)
    outputs = collected.run()
    return collected.take_all(outputs) if isinstance(outputs, Iterator) else None


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
    return workflow.decide(state, turn.line) or workflow.classify(turn, tuple(workflow.allowed(state)))


def _move(workflow: Workflow, turn: Turn, guess: str) -> tuple[Turn, bool]:
    """The turn with its intent and its target looked up, and whether it stays where it is: then `answer` speaks.

    The one place that changes a state (L11).
    """
    if turn.intent == OPEN:
        return turn, False
    allowed = workflow.allowed(workflow.state(turn.came_from))
    intent = guess if guess in allowed or guess == STALE else workflow.fallback
    target = STAY if intent == STALE else allowed.get(intent, STAY)
    stays = target == STAY
    return structs.replace(turn, intent=intent, state=turn.came_from if stays else target), stays
