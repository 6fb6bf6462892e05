"""Language models: the contract `Assistant`, through which a workflow's step calls one.

With ASSISTANT=rules, the offline default, the server has no Assistant: rules read a line and the memory, not a prompt,
and always give the same answer. A workflow asks its assistant for an intent or an object if it has one, and its own
rules if it has none.

__init__             the contract: Message, Prompt, Usage, Assistant
errors               the failures of a vendor's call, as one exception with a code
tokens, window       which messages of a conversation a prompt holds
quotes, prompts      the texts of prompts, and how they quote a user's text
objects              validated objects from an assistant: repaired once, else an outcome Unfit
classifier, summary  two small calls of an assistant
past                 which messages the summary covers, and when further ones are added to it
retry, breaker       when to try a call again; `guarded` does it
prices               the cost of a call
vendors, model       language models, through pydantic-ai
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. A user's text reaches a model as a `user` message only, or quoted inside one."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of one call of a model.

    `schema` is a Struct type, or another type that msgspec encodes as a JSON object; with it the answer is the JSON
    text of such an object. `max_tokens` bounds the answer, including the model's thinking; `deadline_ms` bounds the
    whole call. `quick` asks for little thinking, if the model has such a setting. `task` names the call in the turn's
    trace.
    """

    system: str
    window: tuple[Message, ...]
    schema: Any | None = None
    max_tokens: int = 4_000
    deadline_ms: int = 60_000
    quick: bool = False
    task: str = "answer"


@dataclass(frozen=True, slots=True)
class Prompting:
    """The settings for prompts; a system prompt of "" means the server's own one.

    `context_limit` and `classifier_context_limit` are numbers of messages; `token_budget` bounds a window, too.
    """

    chat_system: str = ""
    classifier_system: str = ""
    context_limit: int = 20
    classifier_context_limit: int = 6
    token_budget: int = 16_000


#: The defaults.
OUR_PROMPTS: Final = Prompting()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens, times and outcome of a call.

    `model` is the vendor's name of the model that answered. Tokens are the vendor's count, or, when it gave none
    (`measured` is false), an estimate. `first_token_ms` and `took_ms` run from the start of the call; the former is
    None when nothing came. `attempts` counts calls to the vendor. `complete` is false when `max_tokens` ended the text.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    first_token_ms: int | None = None
    took_ms: int = 0
    attempts: int = 1
    measured: bool = True
    complete: bool = True

    def then(self, later: "Usage") -> "Usage":
        """The sum of this call and a later one; the outcome is that of the later one."""
        first_ms = self.first_token_ms
        if first_ms is None and later.first_token_ms is not None:
            first_ms = self.took_ms + later.first_token_ms
        return Usage(
            later.model,
            self.input_tokens + later.input_tokens,
            self.output_tokens + later.output_tokens,
            first_ms,
            self.took_ms + later.took_ms,
            self.attempts + later.attempts,
            self.measured and later.measured,
            later.complete,
        )


class Assistant(Protocol):
    """Answers prompts: a language model."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """Yield the pieces of the answer (or of the object's JSON) as they come, and the Usage as the last item.

        Closing or cancelling it stops the call, and the connection to the vendor with it; use
        `contextlib.aclosing`, as a generator that is merely dropped is closed some time later. Raises AssistantError.
        """
        ...


class Watch(Protocol):
    """Is called when one call begins, receives text and ends."""

    def begins(self) -> None:
        """The call begins."""
        ...

    def heard(self, text: str) -> None:
        """A piece of the answer arrived."""
        ...

    def ends(self, outcome: str, usage: Usage | None) -> None:
        """The call ended; further ends are ignored. `outcome` is `answered`, `cancelled` or the code of its error."""
        ...


class Watchable(Protocol):
    """An Assistant whose calls a Watch can observe, which saves a wrapping generator for each observer."""

    def stream(self, prompt: Prompt, watch: Watch) -> AsyncGenerator[str | Usage, None]:
        """As in Assistant."""
        ...
