"""Counting tokens without the vendor's tokenizer: an estimate, and called one wherever it is shown."""

from collections.abc import Iterable
from typing import Final

from server.assistant import Message

#: English text has about four characters a token. Code, and scripts other than Latin, have fewer: there the estimate
#: is too low, by up to four times. It bounds a window; what is paid is the vendor's own count.
CHARS_PER_TOKEN: Final = 4


def estimate_tokens(chars: int) -> int:
    """Estimate the tokens of a text with `chars` characters: a quarter of them, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def estimate_input(system: str, window: Iterable[Message]) -> int:
    """Estimate the tokens of a call's input."""
    return estimate_tokens(len(system)) + sum(estimate_tokens(len(message.text)) for message in window)
