"""Calling an assistant and looking at what came."""

from contextlib import aclosing
from dataclasses import dataclass, field

from server.assistant import Assistant, Message, Prompt, Usage
from server.assistant.errors import AssistantError


@dataclass
class Answer:
    pieces: list[str] = field(default_factory=list)
    usage: Usage | None = None
    error: AssistantError | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


async def call(assistant: Assistant, prompt: Prompt | str) -> Answer:
    """The whole answer, with the error that it ended in."""
    answer = Answer()
    try:
        async with aclosing(assistant.stream(ask(prompt) if isinstance(prompt, str) else prompt)) as stream:
            async for piece in stream:
                assert answer.usage is None, "the usage is the last item"
                if isinstance(piece, Usage):
                    answer.usage = piece
                else:
                    answer.pieces.append(piece)
    except AssistantError as error:
        answer.error = error
    assert (answer.usage is None) == (answer.error is not None)
    return answer


def ask(line: str, *earlier: Message, system: str = "Be brief.", deadline_ms: int = 20_000) -> Prompt:
    return Prompt(system, (*earlier, Message("user", line)), deadline_ms=deadline_ms)


def person(text: str) -> Message:
    return Message("user", text)


def assistant_said(text: str) -> Message:
    return Message("assistant", text)
