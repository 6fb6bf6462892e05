"""Words and sentences: tidying what people write, joining what we say."""

import re
from collections.abc import Sequence
from typing import Final

# Joiners that emoji and several scripts need, though they are "not printable".
_JOINERS: Final = frozenset("\u200c\u200d")
_KEYBOARD_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm")
_FILLERS: Final = frozenset({"blah", "bla", "foo", "bar", "baz", "lorem", "ipsum", "test", "testing", "xxx", "lol"})
_MARKDOWN: Final = re.compile(r"([\\`*\[\]<])")

_POLITE: Final = re.compile(
    r"^(?:(?:please|pls|(?:can|could|would|will) (?:you|we)|i(?:'|’)?d like (?:you )?to|i want (?:you )?to|i would "
    r"like (?:you )?to|"
    r"(?:what|how) about|why not|yes|yeah|no(?=[,.!]|\s+(?:but|make|i)\b)|ok|okay|but|and|then|also|just|maybe|well|"
    r"so|perhaps|let(?:'|’)?s|we "
    r"should|"
    r"you should)(?![\w-])[\s,]*)+",
    re.IGNORECASE,
)
_COURTESY: Final = re.compile(r"[\s,]+(?:please|pls|thanks|thank you)$", re.IGNORECASE)


def clean(text: str, limit: int) -> str:
    """The first `limit` characters of a text without control characters; line breaks stay."""
    kept = (ch if ch.isprintable() or ch in _JOINERS else "\n" if ch in "\r\n" else " " for ch in text[:limit])
    return "".join(kept)


def tidy(text: str, limit: int) -> str:
    """One line of at most `limit` characters, cut at a word."""
    # Anything beyond twice the limit cannot show, so it is not looked at.
    line = " ".join(clean(text, 2 * limit + 200).split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit // 2 else cut).rstrip(" ,;:-–") + "…"


def strip_courtesy(wish: str) -> str:
    """A wish without the polite words around it: "could you make it shorter, please?" → "make it shorter"."""
    bare = _POLITE.sub("", wish.strip(" ,.!?\n"), count=1)
    return _COURTESY.sub("", bare).strip(" ,.!?\n")


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit of any script."""
    return any(ch.isalnum() for ch in text)


def capitalise(text: str) -> str:
    """The text with a capital first letter; the rest as it was written."""
    return text[:1].upper() + text[1:]


def lower_first(text: str) -> str:
    """The text with a small first letter, unless its first word is an acronym or a name with inner capitals."""
    first = text.split(" ", 1)[0]
    return text if any(ch.isupper() for ch in first[1:]) else text[:1].lower() + text[1:]


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def count_of(number: int, noun: str) -> str:
    """`1 slide`, `5 slides`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def bold(text: str) -> str:
    """A person's words in bold Markdown, with what they contain of Markdown shown as it was written."""
    return f"**{plain(text)}**"


def plain(text: str) -> str:
    """A person's words inside Markdown, shown as they were written."""
    return _MARKDOWN.sub(r"\\\1", text)


def is_gibberish(text: str) -> bool:
    """Whether a Latin text is only fingers on a keyboard ("asdf", "qwerty", "sdfgsdfg")."""
    words = re.findall(r"[a-z]+", text.lower())
    return bool(words) and text.isascii() and all(_is_mash(word) for word in words)


def _is_mash(word: str) -> bool:
    if word in _FILLERS:
        return True
    if len(word) < 4:
        return False
    on_a_row = any(word in row or word[::-1] in row for row in _KEYBOARD_ROWS)
    return on_a_row or not re.search(r"[aeiouy]", word) or re.search(r"[^aeiouy]{6}", word) is not None
