"""Counting tokens without the vendor's tokenizer: an estimate, and called one wherever it is shown."""

from collections.abc import Iterable
from typing import Final

from server.assistant import Message

#: English text has about four characters a token. Code, and scripts other than Latin, have fewer: there the estimate
#: is too low, by up to four times. It bounds a window; what is paid is the vendor's own count.
CHARS_PER_TOKEN: Final = 4


def estimate_tokens(chars: int) -> int:
    """About how many tokens a text of so many characters has: characters / 4, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def estimate_input(system: str, window: Iterable[Message]) -> int:
    """About how many tokens the input of a call has."""
    return estimate_tokens(len(system)) + sum(estimate_tokens(len(message.text)) for message in window)
