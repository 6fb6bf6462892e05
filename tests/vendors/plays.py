"""What a vendor does with one request."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

#: How an answer ends. `cut`: the connection dies. `short`: the body ends in good order, without the vendor's last word.
#: `garbage`: what is not JSON. `overload`: an error inside the stream. `hang`: nothing more, for ever;
#: `mute`: not even a beginning.
Ending = Literal["finish", "length", "cut", "short", "garbage", "overload", "refusal", "hang", "mute"]
#: An error before the stream, each with the vendor's own status and body.
FaultKind = Literal[
    "rate_limited", "failing", "overloaded", "unauthorised", "no_credit", "too_long", "no_model", "blocked", "html"
]


@dataclass(frozen=True)
class Play:
    """`pieces` are sent at `per_s` a second (0: at once), then the `ending`; or a `fault` instead of all that."""

    pieces: tuple[str, ...] = ()
    per_s: float = 0.0
    ending: Ending = "finish"
    fault: FaultKind | None = None
    retry_after: str | None = None
    #: Say so in words, although the request asks for an object.
    in_words: bool = False
    #: Leave out the token counts, as some compatible servers do.
    uncounted: bool = False


def say(text: str, *, per_s: float = 0.0, ending: Ending = "finish", **more: Any) -> Play:
    """The text, word by word."""
    return Play(tuple(re.findall(r"\S+\s*|\s+", text)), per_s, ending, **more)


def give(value: Any, *, size: int = 12, per_s: float = 0.0, ending: Ending = "finish", **more: Any) -> Play:
    """An object, in pieces of `size` characters; a str is taken as the object's text, right or wrong."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return Play(tuple(text[at : at + size] for at in range(0, len(text), size)), per_s, ending, **more)


def cut(text: str = "", **more: Any) -> Play:
    """The text, then the connection dies."""
    return say(text, ending="cut", **more)


def hang(text: str = "") -> Play:
    """The text, then nothing more."""
    return say(text, ending="hang")


def refuse() -> Play:
    """The model will not answer."""
    return Play(ending="refusal")


def fault(kind: FaultKind, retry_after: str | None = None) -> Play:
    """An error instead of an answer."""
    return Play(fault=kind, retry_after=retry_after)
