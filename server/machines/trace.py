"""The usage of a turn's calls to a model, and its trace: one entry for each call to a model or a tool.

Both are stored in the turn's state_update, as `usage` and `trace`, and sent to every client of the session.
"""

from typing import Final

from msgspec import Struct


class ModelUsage(Struct, frozen=True):
    """The sums over the calls of one turn to a model.

    `model` is the vendor's name of the model that answered last. `cost_micro_usd` is None if a price is not known.
    `first_token_ms` counts from the turn's begin. `measured`: the vendor counted all tokens; none is an estimate.
    """

    model: str | None
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    calls: int
    attempts: int
    first_token_ms: int | None
    measured: bool


class ModelCall(Struct, frozen=True, tag_field="kind", tag="model"):
    """One call to a model. It has no text; `digest` is a hash of the call's arguments.

    `attempt` is the number of the turn's attempt. `outcome` is `answered`, `cancelled`, or the code of its error.
    `messages`, `chars` and `tokens` (an estimate) are sizes of its input.
    """

    session_id: str
    attempt: int
    name: str
    digest: str
    ms: int
    outcome: str
    messages: int
    chars: int
    tokens: int


class ToolCall(Struct, frozen=True, tag_field="kind", tag="tool"):
    """One call of a tool. `input` and `output` are JSON texts, cut to TRACE_ENTRY_CHARS characters each.

    `outcome` is `answered`, `cancelled`, or the code of its ToolFailed.
    """

    session_id: str
    attempt: int
    tool: str
    input: str
    output: str
    ms: int
    outcome: str


TraceEntry = ModelCall | ToolCall
#: The entries in the order in which the calls began.
Trace = tuple[TraceEntry, ...]


class Spent(Struct, frozen=True, omit_defaults=True):
    """The usage of a turn (None if it called no model) and its trace (empty if it called no model and no tool)."""

    usage: ModelUsage | None = None
    trace: Trace = ()


NOTHING_SPENT: Final = Spent()
