"""The account of a turn: every call to its assistant, what it took, and how it ended.

It is stored with the turn and reaches every client, so it holds no words: a call's arguments are a digest.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

from server.assistant import Assistant, Prompt, Usage
from server.assistant.errors import AssistantError
from server.assistant.prices import Price, cost_micro_usd
from server.assistant.tokens import estimate_input, estimate_tokens

#: Calls of one turn in its trace; of later ones only the usage is kept.
TRACE_LIMIT: Final = 50
#: Calls beside the answer, by their task: the person does not wait for their first word.
BESIDE: Final = frozenset({"summarise"})
#: How a call ends that nobody waited for; while it runs, it may still come to that.
_CANCELLED: Final = "cancelled"
_DIGEST_CHARS: Final = 16


@dataclass(slots=True)
class Call:
    """One call: `took_ms` and `usage` once it has ended, `first_ms` (from the turn's begin) once it has said something.

    `outcome` is `answered`, `cancelled`, or the code of its error.
    """

    prompt: Prompt
    digest: str
    began_ms: int
    took_ms: int | None = None
    first_ms: int | None = None
    said_chars: int = 0
    outcome: str = _CANCELLED
    usage: Usage | None = None

    def used(self) -> Usage:
        """What the call took, as far as it is known; an estimate for one that was cut."""
        if self.usage is not None:
            return self.usage
        given = self.tokens() if self.said_chars else 0
        return Usage("", given, estimate_tokens(self.said_chars), measured=self.outcome != _CANCELLED)

    def tokens(self) -> int:
        """About how many tokens the call's input has."""
        return estimate_input(self.prompt.system, self.prompt.window)

    def chars(self) -> int:
        """The characters of the call's input."""
        return len(self.prompt.system) + sum(len(message.text) for message in self.prompt.window)


class Account:
    """What the calls of one turn took. `now_ms` is any clock that only goes forward; `prices` are those of `prices`."""

    def __init__(self, session_id: str, now_ms: Callable[[], int], prices: Mapping[str, Price]) -> None:
        self.calls: list[Call] = []
        self._session_id = session_id
        self._now_ms = now_ms
        self._prices = prices
        self._began_ms = now_ms()

    def elapsed_ms(self) -> int:
        """The time since the turn began."""
        return self._now_ms() - self._began_ms

    def begin(self, prompt: Prompt) -> Call:
        """A call goes out."""
        self.calls.append(Call(prompt, _digest(prompt), self.elapsed_ms()))
        return self.calls[-1]

    def heard(self, call: Call, text: str) -> None:
        """The call said something."""
        call.said_chars += len(text)
        if call.first_ms is None:
            call.first_ms = self.elapsed_ms()

    def end(self, call: Call, outcome: str, usage: Usage | None) -> None:
        """The call has ended; the first word on that counts."""
        if call.took_ms is None:
            call.outcome, call.usage, call.took_ms = outcome, usage, self.elapsed_ms() - call.began_ms

    def spent(self) -> dict[str, Any]:
        """`usage` and `trace` as they are stored with the turn; nothing for a turn without a call."""
        if not self.calls:
            return {}
        return {"usage": self._usage(), "trace": [self._entry(call) for call in self.calls[:TRACE_LIMIT]]}

    def _usage(self) -> dict[str, Any]:
        used = [call.used() for call in self.calls]
        total = reduce(Usage.then, used)
        heard_ms = [call.first_ms for call in self.calls if call.prompt.task not in BESIDE]
        costs = [cost_micro_usd(usage, self._prices) for usage in used if usage.input_tokens or usage.output_tokens]
        return {
            "model": next((usage.model for usage in reversed(used) if usage.model), None),
            "input_tokens": total.input_tokens,
            "output_tokens": total.output_tokens,
            # A sum that leaves a call out would look like a cost.
            "cost_micro_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
            "calls": len(used),
            "attempts": total.attempts,
            "first_token_ms": next((ms for ms in reversed(heard_ms) if ms is not None), None),
            "measured": total.measured,
        }

    def _entry(self, call: Call) -> dict[str, Any]:
        return {
            "session_id": self._session_id,
            "name": call.prompt.task,
            "digest": call.digest,
            "ms": self.elapsed_ms() - call.began_ms if call.took_ms is None else call.took_ms,
            "outcome": call.outcome,
            "messages": len(call.prompt.window),
            "chars": call.chars(),
            "tokens": call.tokens(),
        }


class Accounted:
    """An assistant whose calls are on a turn's account, and within the turn's bounds (tokens an answer, ms in all)."""

    def __init__(self, assistant: Assistant, account: Account, *, max_tokens: int, turn_ms: int) -> None:
        self._assistant = assistant
        self._account = account
        self._max_tokens = max_tokens
        self._turn_ms = turn_ms

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """As the contract says."""
        account, left_ms = self._account, max(1, self._turn_ms - self._account.elapsed_ms())
        asked = replace(
            prompt,
            max_tokens=min(prompt.max_tokens, self._max_tokens),
            deadline_ms=min(prompt.deadline_ms, left_ms),
        )
        call = account.begin(asked)
        try:
            async with aclosing(self._assistant.stream(asked)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Usage):
                        account.end(call, "answered", piece)
                    else:
                        account.heard(call, piece)
                    yield piece
        except AssistantError as error:
            account.end(call, error.code, error.usage)
            raise
        finally:
            account.end(call, _CANCELLED, None)


def _digest(prompt: Prompt) -> str:
    form = getattr(prompt.schema, "__name__", "")
    said = [part for message in prompt.window for part in (message.role, message.text)]
    arguments = "\0".join([prompt.system, form, str(prompt.max_tokens), *said])
    return hashlib.sha256(arguments.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
