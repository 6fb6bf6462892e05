"""Summaries of the messages that a window leaves out. They are stored, so the cost of a turn does not keep growing."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from server.assistant import Assistant, Message, Prompt, Usage
from server.assistant.errors import AssistantError
from server.assistant.past import MOST_CHARS
from server.assistant.prompts import SUMMARY
from server.assistant.quotes import quote, quote_lines
from server.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Summarised:
    """The new summary, which replaces the old one and the given messages."""

    text: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Unsummarised:
    """No new summary was made; the old one stays. `code` is that of the AssistantError, or `assistant_malformed`."""

    code: str
    usage: Usage | None


async def summarise(
    assistant: Assistant,
    earlier: str,
    messages: Sequence[Message],
    *,
    most_chars: int = MOST_CHARS,
    max_tokens: int = 2_000,
    deadline_ms: int = 30_000,
) -> Summarised | Unsummarised:
    """A summary of `messages` (oldest first) and of the `earlier` summary ("" at first). A failure is a value.

    At most `most_chars` of it are kept, as text that can be stored: half a character (a lone surrogate) becomes `?`.
    """
    text = f"<summary>\n{quote(earlier)}\n</summary>\n<conversation>\n{quote_lines(messages)}\n</conversation>"
    window = (Message("user", text),)
    prompt = Prompt(SUMMARY, window, max_tokens=max_tokens, deadline_ms=deadline_ms, quick=True, task="summarise")
    pieces: list[str] = []
    usage: Usage | None = None
    try:
        async with aclosing(assistant.stream(prompt)) as stream:
            async for piece in stream:
                if isinstance(piece, Usage):
                    usage = piece
                else:
                    pieces.append(piece)
    except AssistantError as error:
        return Unsummarised(error.code, error.usage)
    summary = "".join(pieces).strip()[:most_chars].encode(errors="replace").decode()
    return Summarised(summary, usage) if summary and usage else Unsummarised(ErrorCode.ASSISTANT_MALFORMED, usage)
