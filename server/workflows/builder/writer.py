"""The builder's work by a model: questions, a plan, slides, changes to slides; and answers to what is asked besides.

One prompt a task, in a file of its own. What the person wrote travels as the conversation's own messages; what the
builder remembers (a plan, slides: made of the person's words) travels in a `user` message of its own, quoted.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from server.assistant import Assistant, Message, Prompt, Usage
from server.assistant.objects import Drafted, Fit, Unfit, draft, give
from server.assistant.quotes import quote_value
from server.workflows.builder.drafts import Changes, Plan, Questions, Slides
from server.workflows.builder.prompts import ANSWER, PLAN, QUESTIONS, REFINE, SLIDES
from server.workflows.builder.rules.brief import Brief, pack
from server.workflows.builder.rules.slides import Strawman, pack_strawman

#: A slide takes 150 to 250 tokens; thirty of them, and what a model thinks beforehand.
_SLIDES_MAX_TOKENS: Final = 16_000
_SHORT_MAX_TOKENS: Final = 4_000
_ASK_WISH: Final = "What should I change?"


async def write_questions(
    assistant: Assistant, window: Sequence[Message], *, deadline_ms: int
) -> Fit[Questions] | Unfit:
    """What to ask about the topic that the window ends with. Raises AssistantError."""
    return await give(
        assistant, Prompt(QUESTIONS, tuple(window), None, _SHORT_MAX_TOKENS, deadline_ms, task="questions"), Questions
    )


async def write_plan(
    assistant: Assistant, window: Sequence[Message], *, deadline_ms: int, known: dict[str, Any] | None = None
) -> Fit[Plan] | Unfit:
    """A plan from the topic, the answers and the wishes in the window. Raises AssistantError.

    `known` is what the builder remembers of them, for a window that does not reach so far back.
    """
    said = (_remembered("known", known), *window) if known else tuple(window)
    return await give(assistant, Prompt(PLAN, said, None, _SHORT_MAX_TOKENS, deadline_ms, task="plan"), Plan)


def write_slides(
    assistant: Assistant, brief: Brief, *, deadline_ms: int
) -> AsyncGenerator[Drafted | Fit[Slides] | Unfit, None]:
    """The slides of a plan: yields Drafted for each that is written, and last Fit or Unfit. Raises AssistantError."""
    window = (_remembered("plan", pack(brief)),)
    return draft(assistant, Prompt(SLIDES, window, None, _SLIDES_MAX_TOKENS, deadline_ms, task="slides"), Slides)


def refine_slides(
    assistant: Assistant, strawman: Strawman, wish: str, *, deadline_ms: int
) -> AsyncGenerator[Drafted | Fit[Changes] | Unfit, None]:
    """The slides after the person's `wish`: as write_slides."""
    slides = _remembered("presentation", pack_strawman(strawman, "", ""))
    # With our own words between them, the slides and the wish stay two messages.
    window = (slides, Message("assistant", _ASK_WISH), Message("user", wish))
    return draft(assistant, Prompt(REFINE, window, None, _SLIDES_MAX_TOKENS, deadline_ms, task="refine"), Changes)


def answer(
    assistant: Assistant, window: Sequence[Message], *, state: str, deadline_ms: int, system: str = ""
) -> AsyncGenerator[str | Usage, None]:
    """The answer to a line that changes nothing, streamed. `state` is the builder's. Raises AssistantError.

    `system` is what the operator wants to be said before the builder's own prompt.
    """
    system = "\n\n".join(part for part in (system, ANSWER, f"The conversation is in the state {state}.") if part)
    return assistant.stream(Prompt(system, tuple(window), None, _SHORT_MAX_TOKENS, deadline_ms))


def _remembered(name: str, value: dict[str, Any]) -> Message:
    return Message("user", f"<{name}>\n{quote_value(value)}\n</{name}>")
