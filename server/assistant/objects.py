"""Validated objects from an assistant: one call, one repair if the object does not fit, then a plain answer.

What a model writes is checked, never trusted. That it does not fit is an outcome here (`Unfit`), not an exception.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import msgspec

from server.assistant import Assistant, Message, Prompt, Usage
from server.assistant.errors import TEMPORARY, AssistantError
from server.assistant.prompts import REPAIR
from server.assistant.quotes import fill, quote

T = TypeVar("T")

#: How much of an answer that does not fit is shown to the model again.
_SHOWN_CHARS: Final = 8_000
_PROBLEM_CHARS: Final = 300
_CUT_OFF: Final = "it was cut off at the limit of its length, so it must be shorter"


@dataclass(frozen=True, slots=True)
class Drafted:
    """Progress: the model has written `items` items of the object's lists. The number never falls."""

    items: int


@dataclass(frozen=True, slots=True)
class Fit(Generic[T]):
    """The validated object, of the requested type."""

    value: T
    usage: Usage


@dataclass(frozen=True, slots=True)
class Unfit:
    """The model answered, but not with such an object: what it wrote, and what is wrong with it (for the log)."""

    text: str
    problem: str
    usage: Usage


async def draft(
    assistant: Assistant, prompt: Prompt, form: type[T], *, repairs: int = 1
) -> AsyncGenerator[Drafted | Fit[T] | Unfit, None]:
    """Ask for an object of the type `form` (a Struct): yields Drafted as it grows, and last Fit or Unfit.

    All calls share the prompt's deadline. An object that breaks off in the middle was never shown, so it is asked
    for once more; that counts as a repair. Raises AssistantError when there is no object at all; a repair that fails
    leaves the Unfit that it was to mend. Close it as one closes a stream.
    """
    asked, items = replace(prompt, schema=form), 0
    unfit: Unfit | None = None
    spent: Usage | None = None
    for repairs_left in range(repairs, -1, -1):
        text, usage, written = "", Usage(""), _Items()
        try:
            async with aclosing(assistant.stream(asked)) as stream:
                async for piece in stream:
                    if isinstance(piece, Usage):
                        usage = piece
                        continue
                    text += piece
                    if written.take(piece) > items:
                        items = written.count
                        yield Drafted(items)
        except AssistantError as error:
            spent = error.usage = _sum(spent, error.usage)
            left_ms = prompt.deadline_ms - (spent.took_ms if spent else 0)
            if unfit is not None:
                yield replace(unfit, usage=spent or unfit.usage)
                return
            if not (error.streamed and error.fault in TEMPORARY and repairs_left and left_ms > 0):
                raise
        else:
            spent = usage = usage if spent is None else spent.then(usage)
            outcome, left_ms = _read(text, form, usage), prompt.deadline_ms - usage.took_ms
            if isinstance(outcome, Fit) or not repairs_left or left_ms <= 0:
                yield outcome
                return
            unfit, asked = outcome, replace(asked, window=_with_problem(prompt.window, outcome))
        asked = replace(asked, deadline_ms=left_ms)


async def give(assistant: Assistant, prompt: Prompt, form: type[T], *, repairs: int = 1) -> Fit[T] | Unfit:
    """The same without the progress: Fit or Unfit. Raises AssistantError when the first call fails."""
    async with aclosing(draft(assistant, prompt, form, repairs=repairs)) as outcomes:
        async for outcome in outcomes:
            if not isinstance(outcome, Drafted):
                return outcome
    raise RuntimeError("a draft ended without an outcome")


def _read(text: str, form: type[T], usage: Usage) -> Fit[T] | Unfit:
    """The first JSON object of a text, validated; models like to put words or a fence around it."""
    try:
        start = text.index("{")
        _, end = json.JSONDecoder().raw_decode(text, start)
        return Fit(msgspec.json.decode(text[start:end], type=form), usage)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        problem = str(error) if isinstance(error, msgspec.ValidationError) else "it is not one JSON object"
        return Unfit(text, problem[:_PROBLEM_CHARS] if usage.complete else _CUT_OFF, usage)


def _sum(spent: Usage | None, usage: Usage | None) -> Usage | None:
    return spent.then(usage) if spent and usage else spent or usage


def _with_problem(window: tuple[Message, ...], unfit: Unfit) -> tuple[Message, ...]:
    # The decoder quotes values of the model's answer, so the sentence is quoted in its turn.
    problem = Message("user", fill(REPAIR, problem=quote(unfit.problem)))
    shown = unfit.text[:_SHOWN_CHARS]
    return (*window, Message("assistant", shown), problem) if shown.strip() else (*window, problem)


class _Items:
    """Counts the finished objects in the lists of a JSON object, while its text arrives in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def take(self, piece: str) -> int:
        """Read on; returns the count so far."""
        for character in piece:
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = not self._escaped and character == "\\"
            elif character == '"':
                self._in_string = self._depth > 0
            elif character in "{[":
                self._depth += character == "{" or self._depth > 0
            elif character in "}]" and self._depth:
                self._depth -= 1
                # Back in a list of the object: an item is done.
                self.count += character == "}" and self._depth == 2
        return self.count
