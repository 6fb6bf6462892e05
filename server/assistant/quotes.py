"""Quoting a user's text inside a prompt, so that it cannot pass for the prompt.

What a person writes travels as a `user` message. Where a prompt must show it all the same (which intent has this line?)
it is quoted here: a JSON string without a line break, a quote, a tag or anything invisible in it.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from server.assistant import Message

#: Besides these, whatever cannot be seen is escaped: line and paragraph separators, direction marks, zero widths.
_MARKUP: Final = frozenset('"\\<>&`')
#: In the text of a JSON value these stand in strings only, so they can be escaped where they are.
_TAGS: Final = frozenset("<>&`")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")


def quote(text: str) -> str:
    """The text as one JSON string, quotes included. Reading it as JSON gives the text back.

    No character of it can end the string, the line or a tag around it, nor be taken for a special token of a model.
    """
    return f'"{"".join(c if c.isprintable() and c not in _MARKUP else _escape(c) for c in text)}"'


def quote_lines(messages: Iterable[Message]) -> str:
    """A conversation as one JSON object a line, oldest first."""
    return "\n".join(f'{{"role":"{message.role}","text":{quote(message.text)}}}' for message in messages)


def quote_value(value: object) -> str:
    """A JSON value on one line, quoted in the same way. Raises TypeError when it is not JSON."""
    text = msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() and c not in _TAGS else _escape(c) for c in text)


def fill(template: str, **values: str) -> str:
    """The template with `{{name}}` replaced, in one pass: a value that looks like a place stays as it is.

    Raises KeyError when a place has no value, and ValueError when a value has no place.
    """
    unused = values.keys() - set(_PLACE.findall(template))
    if unused:
        raise ValueError(f"no place for {', '.join(sorted(unused))}")
    return _PLACE.sub(lambda match: values[match[1]], template)


def _escape(character: str) -> str:
    """As JSON escapes it; a character beyond U+FFFF as two surrogates."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
