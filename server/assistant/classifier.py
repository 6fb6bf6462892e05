"""The classifier: asks a model which of the allowed intents a line has.

It makes one call, without a repair and without retries of its own: every answer waits for it, and the workflow has a
fallback for a line without an intent. Failures are values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from server.assistant import Assistant, Message, Prompt, Usage
from server.assistant.errors import AssistantError
from server.assistant.objects import Fit, give
from server.assistant.prompts import CLASSIFIER
from server.assistant.quotes import quote, quote_lines

#: The intent of a line that has none of the allowed intents.
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Classified:
    """The intent: one that is allowed, or UNKNOWN."""

    intent: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Unclassified:
    """The classifier could not answer; `code` is that of the AssistantError."""

    code: str
    usage: Usage | None


async def classify(
    assistant: Assistant,
    line: str,
    window: Sequence[Message],
    allowed: Sequence[str],
    *,
    meanings: Mapping[str, str] | None = None,
    system: str = CLASSIFIER,
    max_tokens: int = 1_000,
    deadline_ms: int = 10_000,
) -> Classified | Unclassified:
    """Name the intent of `line`, among `allowed`; `window` is what was said before it, oldest first.

    `meanings` says in a sentence what an intent is, where its name does not. The line and the window reach the model
    quoted, so that they cannot pass for instructions; its answer is checked against `allowed` all the same.
    """
    text = f"<conversation>\n{quote_lines(window)}\n</conversation>\n<line>\n{quote(line)}\n</line>"
    prompt = Prompt(
        f"{system}\n\nThe intents:\n{_list(allowed, meanings or {})}",
        (Message("user", text),),
        max_tokens=max_tokens,
        deadline_ms=deadline_ms,
        quick=True,
        task="classify",
    )
    try:
        outcome = await give(assistant, prompt, _form(allowed), repairs=0)
    except AssistantError as error:
        return Unclassified(error.code, error.usage)
    # The form holds the answer to what is allowed: whatever else a model says does not fit, and is unknown.
    return Classified(outcome.value.intent if isinstance(outcome, Fit) else UNKNOWN, outcome.usage)


def _form(allowed: Sequence[str]) -> type[Any]:
    one_of: Any = Literal[(*allowed, UNKNOWN)]
    return msgspec.defstruct("Intent", [("intent", one_of)], frozen=True, forbid_unknown_fields=True)


def _list(allowed: Sequence[str], meanings: Mapping[str, str]) -> str:
    said = {**meanings, UNKNOWN: "none of these"}
    return "\n".join(
        f"- {intent}: {said[intent]}" if intent in said else f"- {intent}" for intent in (*allowed, UNKNOWN)
    )
