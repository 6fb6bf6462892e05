"""The account of a turn: each call to a model or a tool, its time, tokens and outcome. Pure.

It is stored with the turn and sent to every client. For a call to a model it has a digest of the prompt, and no text;
for a call of a tool it has the first characters of the input and the output.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import msgspec

from server.assistant import Assistant, Prompt, Usage, Watchable
from server.assistant.prices import Price, cost_micro_usd
from server.assistant.tokens import estimate_input, estimate_tokens
from server.machines.trace import NOTHING_SPENT, ModelCall, ModelUsage, Spent, ToolCall, Trace, TraceEntry
from server.records import SessionKey

#: At most so many calls of one turn to a model are in its trace; later ones count in the usage only. (Calls of tools
#: are bounded by TOOL_CALLS_MAX.)
TRACE_LIMIT: Final = 50
#: Tasks of calls that run beside the answer: the user does not wait for them.
BESIDE: Final = frozenset({"summarise"})
ANSWERED: Final = "answered"
#: The outcome of a call that was abandoned; also the outcome while the call still runs.
CANCELLED: Final = "cancelled"
_DIGEST_CHARS: Final = 16
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Call:
    """One call to a model. `began_ms` and `first_ms` (its first text) count from the turn's begin.

    `took_ms` and `usage` are None until the call has ended. `outcome` is `answered`, `cancelled`, or the code of its
    error. `attempt` is the number of the turn's attempt.
    """

    prompt: Prompt
    digest: str
    attempt: int
    began_ms: int
    took_ms: int | None = None
    first_ms: int | None = None
    said_chars: int = 0
    outcome: str = CANCELLED
    usage: Usage | None = None

    def used(self) -> Usage:
        """The call's usage; an estimate from its texts when the model reported none."""
        if self.usage is not None:
            return self.usage
        given = self.tokens() if self.said_chars else 0
        return Usage("", given, estimate_tokens(self.said_chars), measured=self.outcome != CANCELLED)

    def tokens(self) -> int:
        """Estimate how many tokens the call's input has."""
        return estimate_input(self.prompt.system, self.prompt.window)

    def chars(self) -> int:
        """The characters of the call's input."""
        return len(self.prompt.system) + sum(len(message.text) for message in self.prompt.window)


@dataclass(slots=True)
class Use:
    """One call of a tool. `given` and `gave` are shortened JSON texts; `took_ms` is None until the call has ended."""

    tool: str
    given: str
    attempt: int
    began_ms: int
    gave: str = ""
    took_ms: int | None = None
    outcome: str = CANCELLED


class Account:
    """The calls of one turn. `now_ms` is a monotonic clock; `prices` maps names of models to prices.

    `attempt` is the number of the turn's present attempt; the code that runs the turn sets it.
    """

    def __init__(self, key: SessionKey, now_ms: Callable[[], int], prices: Mapping[str, Price]) -> None:
        self.calls: list[Call] = []
        self.attempt = 1
        self._traced: list[Call | Use] = []
        self._session_id = key.session_id
        self._now_ms = now_ms
        self._prices = prices
        self._began_ms = now_ms()

    def elapsed_ms(self) -> int:
        """The time since the turn began, in ms."""
        return self._now_ms() - self._began_ms

    def begin(self, prompt: Prompt) -> Call:
        """Enter a call to a model that begins now."""
        call = Call(prompt, _digest(prompt), self.attempt, self.elapsed_ms())
        self.calls.append(call)
        if len(self.calls) <= TRACE_LIMIT:
            self._traced.append(call)
        return call

    def heard(self, call: Call, text: str) -> None:
        """Count a piece of text that the call returned."""
        call.said_chars += len(text)
        if call.first_ms is None:
            call.first_ms = self.elapsed_ms()

    def end(self, call: Call, outcome: str, usage: Usage | None) -> None:
        """Record how the call ended. Later ends are ignored."""
        if call.took_ms is None:
            call.outcome, call.usage, call.took_ms = outcome, usage, self.elapsed_ms() - call.began_ms

    def begin_use(self, tool: str, given: str) -> Use:
        """Enter a call of a tool that begins now. `given` is its shortened input."""
        use = Use(tool, given, self.attempt, self.elapsed_ms())
        self._traced.append(use)
        return use

    def end_use(self, use: Use, outcome: str, gave: str = "") -> None:
        """Record how a call of a tool ended. `gave` is its shortened output."""
        use.outcome, use.gave, use.took_ms = outcome, gave, self.elapsed_ms() - use.began_ms

    def spent(self, most_bytes: int) -> Spent:
        """The turn's usage and trace until now. Entries beyond `most_bytes` of JSON are left out of the trace."""
        if not self._traced:
            return NOTHING_SPENT
        return Spent(self._usage() if self.calls else None, self._trace(most_bytes))

    def _usage(self) -> ModelUsage:
        used = [call.used() for call in self.calls]
        total = reduce(Usage.then, used)
        heard_ms = [call.first_ms for call in self.calls if call.prompt.task not in BESIDE]
        costs = [cost_micro_usd(usage, self._prices) for usage in used if usage.input_tokens or usage.output_tokens]
        return ModelUsage(
            model=next((usage.model for usage in reversed(used) if usage.model), None),
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            # None if the price of one call is unknown: the sum of the others would look like the whole cost.
            cost_micro_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            calls=len(used),
            attempts=total.attempts,
            first_token_ms=next((ms for ms in reversed(heard_ms) if ms is not None), None),
            measured=total.measured,
        )

    def _trace(self, most_bytes: int) -> Trace:
        entries: list[TraceEntry] = []
        left_bytes = most_bytes
        for traced in self._traced:
            entry = self._entry(traced)
            left_bytes -= len(_encode(entry))
            if left_bytes < 0:
                break
            entries.append(entry)
        return tuple(entries)

    def _entry(self, traced: Call | Use) -> TraceEntry:
        took_ms = self.elapsed_ms() - traced.began_ms if traced.took_ms is None else traced.took_ms
        if isinstance(traced, Use):
            return ToolCall(
                session_id=self._session_id,
                attempt=traced.attempt,
                tool=traced.tool,
                input=traced.given,
                output=traced.gave,
                ms=took_ms,
                outcome=traced.outcome,
            )
        return ModelCall(
            session_id=self._session_id,
            attempt=traced.attempt,
            name=traced.prompt.task,
            digest=traced.digest,
            ms=took_ms,
            outcome=traced.outcome,
            messages=len(traced.prompt.window),
            chars=traced.chars(),
            tokens=traced.tokens(),
        )


class _Watch:
    """Enters one call to a model into the account, which holds no reference back: a cycle would keep prompts alive."""

    def __init__(self, account: Account, prompt: Prompt) -> None:
        self._account = account
        self._prompt = prompt
        self._call: Call

    def begins(self) -> None:
        self._call = self._account.begin(self._prompt)

    def heard(self, text: str) -> None:
        self._account.heard(self._call, text)

    def ends(self, outcome: str, usage: Usage | None) -> None:
        self._account.end(self._call, outcome, usage)


class Accounted:
    """The assistant of one turn: enters its calls into the account, and bounds them.

    `max_tokens` bounds each answer. All calls end `turn_ms` after the turn began. `on_call` is called before each call,
    with this assistant and the system prompt.
    """

    def __init__(
        self,
        assistant: Watchable,
        account: Account,
        *,
        max_tokens: int,
        turn_ms: int,
        on_call: Callable[[Assistant, str], None] = lambda _assistant, _system: None,
    ) -> None:
        self._assistant = assistant
        self._account = account
        self._max_tokens = max_tokens
        self._turn_ms = turn_ms
        self._on_call = on_call

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """See `Assistant.stream`. The deadline and the length of the answer are cut to the turn's bounds."""
        # It returns the inner generator: a generator here would cost one more call for each piece of an answer.
        asked = replace(
            prompt,
            max_tokens=min(prompt.max_tokens, self._max_tokens),
            deadline_ms=min(prompt.deadline_ms, max(1, self._turn_ms - self._account.elapsed_ms())),
        )
        self._on_call(self, asked.system)
        return self._assistant.stream(asked, _Watch(self._account, asked))


def _digest(prompt: Prompt) -> str:
    form = getattr(prompt.schema, "__name__", "")
    said = [part for message in prompt.window for part in (message.role, message.text)]
    arguments = "\0".join([prompt.system, form, str(prompt.max_tokens), *said])
    return hashlib.sha256(arguments.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
