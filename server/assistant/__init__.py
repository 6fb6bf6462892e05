"""Where answers come from: the one contract that a workflow's step speaks to.

`rules` is the offline default: no network, no key, the same answer every time. `model` is a language model. A model
answers prompts, and this contract is about prompts; the rules read no prompt, they read a line and the memory, so they
are not wrapped into it: a sentence that merely looks like a model's answer would not help the user. The two meet one
step higher, where a workflow asks for what it needs (an intent, an object): it asks its assistant if it has one, and
the rules if it has none.

__init__             the contract: Message, Prompt, Usage, Assistant
errors               what can go wrong at a vendor, as one exception with a code
tokens, window       what of a conversation a prompt holds
quotes, prompts      what a prompt says, and how it quotes a person
objects              validated objects from an assistant: repaired once, else a plain answer
classifier, summary  two small questions to an assistant
past                 what of a conversation is in its summary, and when the rest is folded into it
retry, breaker       when to try again; `guarded` does it
prices               what a call cost
vendors, model       language models, through pydantic-ai
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One line of a conversation. What a person wrote reaches a model as a `user` message, and in no other place."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call.

    `schema` is a type that msgspec can validate, with a JSON object for a value (a Struct); with it, the answer is the
    JSON text of such an object. `max_tokens` bounds the answer (with what a model thinks beforehand), `deadline_ms` the
    whole call. `quick` asks for an answer without long thought, where a model lets one choose. `task` names the call in
    the turn's trace.
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
    """What the settings say of prompts; a system prompt of "" means the one that comes with the server.

    `context_limit` and `classifier_context_limit` are messages, `token_budget` bounds a window besides.
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
    """What a call took.

    `model` is what answered, as the vendor names it. Tokens are the vendor's count, or, when it gave none
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
        """This call and a later one as one; what came of it is what the later one says."""
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
    """Something that answers prompts."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """Yield the pieces of the answer (or of the object's JSON) as they come, and the Usage as the last item.

        Closing or cancelling it stops the call, and the connection to the vendor with it; use
        `contextlib.aclosing`, as a generator that is merely dropped is closed some time later. Raises AssistantError.
        """
        ...


class Watch(Protocol):
    """Hears how one call goes."""

    def begins(self) -> None:
        """The call goes out."""
        ...

    def heard(self, text: str) -> None:
        """A piece of the answer came."""
        ...

    def ends(self, outcome: str, usage: Usage | None) -> None:
        """The call ended; only the first end counts. `outcome` is `answered`, `cancelled` or the code of its error."""
        ...


class Watchable(Protocol):
    """An Assistant that lets a caller watch a call, so that no further generator has to pass its pieces on."""

    def stream(self, prompt: Prompt, watch: Watch) -> AsyncGenerator[str | Usage, None]:
        """As in Assistant."""
        ...
