"""The workflow `chat`: free conversation with a language model, in one state."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from server.assistant import Prompt, Usage
from server.assistant.prompts import CHAT as CHAT_PROMPT
from server.workflows.table import STAY, Delta, Output, State, Turn, Workflow, chat

_GREETING: Final = "Hello! What would you like to talk about?"
_NO_MODEL: Final = "There is no language model here to talk to: this server's ASSISTANT is its own rules."
_NOTHING: Final = "I have nothing to say to that."
#: Long enough never to apply: the time limit of a step ends the call before.
_DEADLINE_MS: Final = 3_600_000


def greet(turn: Turn) -> Iterator[Output]:
    """Greet the person when the session opens."""
    yield chat(_GREETING)


async def answer(turn: Turn) -> AsyncIterator[Output]:
    """Stream the model's answer, then yield it as one chat message."""
    if turn.assistant is None:
        yield chat(_NO_MODEL)
        return
    system, said = turn.prompting.chat_system or CHAT_PROMPT, ""
    async with aclosing(turn.assistant.stream(Prompt(system, turn.window(system), deadline_ms=_DEADLINE_MS))) as pieces:
        async for piece in pieces:
            if not isinstance(piece, Usage):
                said += piece
                yield Delta(piece)
    yield chat(said if said.strip() else _NOTHING)


def classify(turn: Turn, allowed: Sequence[str]) -> str:
    """There is only one intent."""
    return "Say"


CHAT = Workflow(
    "chat",
    start="CHAT",
    states=[State("CHAT", greet, final=True)],
    always={"Say": STAY},
    fallback="Say",
    classify=classify,
    answer=answer,
)
