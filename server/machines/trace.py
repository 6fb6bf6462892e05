"""What a turn took: the usage of its calls to a model, and one entry in its trace for each call to a model or a tool.

It is stored in the turn's state_update, as `usage` and `trace`, and reaches every client of the session.
"""

from typing import Final

from msgspec import Struct


class ModelUsage(Struct, frozen=True):
    """What the calls of one turn to a model took together.

    `model` is what answered last, as the vendor names it. `cost_micro_usd` is None where a price is not known.
    `first_token_ms` runs from the turn's begin. `measured`: all tokens are the vendor's count, and no estimate.
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
    """One call to a model. It holds no words: `digest` is one of the arguments.

    `attempt` is the turn's. `outcome` is `answered`, `cancelled`, or the code of its error. `messages`, `chars` and
    `tokens` (an estimate) are of its input.
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
    """What a turn took, as far as it took anything: `usage` if it called a model, `trace` if it called anything."""

    usage: ModelUsage | None = None
    trace: Trace = ()


NOTHING_SPENT: Final = Spent()
