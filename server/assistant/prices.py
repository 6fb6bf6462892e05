"""The cost of a call, in whole micro-USD, so that sums are exact."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from server.assistant import Usage

_MILLION: Final = 1_000_000
_ENTRY: Final = re.compile(r"(?P<model>[^\s=,]+)=(?P<input>\d{1,6}(?:\.\d{1,6})?)/(?P<output>\d{1,6}(?:\.\d{1,6})?)")
#: Vendors answer with a dated name: `gpt-5-mini-2025-08-07`, `claude-haiku-4-5-20251001`, `gemini-2.5-pro-001`.
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3}|latest)$")


class Price(NamedTuple):
    """The price of a million tokens, in micro-USD."""

    input: int
    output: int


def parse_prices(text: str) -> dict[str, Price]:
    """Prices as an operator writes them: `gpt-5-mini=0.25/2,claude-haiku-4-5=1/5`, in USD a million tokens, in/out.

    Raises ValueError for anything else.
    """
    entries = [_ENTRY.fullmatch(entry.strip()) for entry in text.split(",")] if text.strip() else []
    if not all(entries):
        raise ValueError("expected model=input/output in USD a million tokens, with commas between them")
    return {match["model"]: Price(_micro(match["input"]), _micro(match["output"])) for match in entries if match}


def cost_micro_usd(usage: Usage, prices: Mapping[str, Price]) -> int | None:
    """The cost of a usage, rounded to the nearest micro-USD; None when the model has no price here.

    An upper estimate: what a vendor takes off for input that it had cached is not known here.
    """
    price = prices.get(usage.model) or prices.get(_DATED.sub("", usage.model))
    if price is None:
        return None
    return (usage.input_tokens * price.input + usage.output_tokens * price.output + _MILLION // 2) // _MILLION


def _micro(dollars: str) -> int:
    whole, _, fraction = dollars.partition(".")
    return int(whole) * _MILLION + int(fraction.ljust(6, "0") or 0)


#: The vendors' list prices of common models, for short prompts. They change: settings go before this table.
PRICES: Final = parse_prices(
    "gpt-4o=2.5/10,gpt-4o-mini=0.15/0.6,gpt-4.1=2/8,gpt-4.1-mini=0.4/1.6,gpt-4.1-nano=0.1/0.4,"
    "gpt-5=1.25/10,gpt-5-mini=0.25/2,gpt-5-nano=0.05/0.4,"
    "claude-haiku-4-5=1/5,claude-sonnet-4-5=3/15,claude-opus-4-5=5/25,"
    "gemini-2.5-flash-lite=0.1/0.4,gemini-2.5-flash=0.3/2.5,gemini-2.5-pro=1.25/10"
)
