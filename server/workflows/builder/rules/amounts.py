"""Amounts in a text: minutes and numbers of slides, in digits and in words."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

MAX_DURATION_MIN: Final = 480

_WORDS: Final = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
} | {"twenty-five": 25, "thirty": 30, "forty": 40, "forty-five": 45, "fifty": 50, "sixty": 60, "ninety": 90}

#: A number in digits or words, as a piece of a pattern.
NUMBER: Final = (
    r"(?:\d{1,6}(?:[.,]\d{1,2})?|\.5|" + "|".join(sorted((re.escape(word) for word in _WORDS), key=len)[::-1]) + ")"
)
_MIN: Final = r"(?:min(?:s|ute[ns]?|utos?|uti)?\b\.?|минут\w{0,2}|मिनट|分钟|分鐘|分)"
_HOUR: Final = r"(?:h(?:ou)?rs?\b|h\b|stunden?\b|std\b\.?|heures?\b|horas?\b)"
_TO: Final = r"\s*(?:-|–|—|to|or|bis)\s*"


class Amount(NamedTuple):
    """A number that a text says, and where: `text[start:end]`."""

    value: int
    start: int
    end: int


def number_of(text: str) -> float:
    """The value of what `NUMBER` matched; "a" and "an" are one."""
    word = text.strip().lower()
    if word in ("a", "an"):
        return 1
    return _WORDS[word] if word in _WORDS else float(word.replace(",", "."))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


# Longest forms first: "an hour and a half" also contains "an hour".
_DURATIONS: Final[list[tuple[re.Pattern[str], Callable[[re.Match[str]], float]]]] = [
    (
        _pattern(rf"\b({NUMBER}|an?)[\s-]*{_HOUR}\s+(?:and\s+)?(?:(a\s+half)|a\s+quarter)\b"),
        lambda m: 60 * number_of(m[1]) + (30 if m[2] else 15),
    ),
    (_pattern(rf"\b({NUMBER})\s+and\s+a\s+half\s+{_HOUR}"), lambda m: 60 * number_of(m[1]) + 30),
    (_pattern(r"\bthree[\s-]quarters\s+of\s+an\s+hour\b"), lambda m: 45),
    (_pattern(r"\b(?:a\s+)?quarter[\s-](?:of\s+an?\s+)?hour\b"), lambda m: 15),
    (_pattern(r"\b(?:a\s+)?half[\s-](?:an?\s+)?hour\b|\bhalbe stunde\b|\bdemi-heure\b|\bmedia hora\b"), lambda m: 30),
    (
        _pattern(rf"\b({NUMBER}|an?)\s*{_HOUR}\s*(?:and\s+|,\s*)?({NUMBER})\s*(?:{_MIN}|m\b)"),
        lambda m: 60 * number_of(m[1]) + number_of(m[2]),
    ),
    (_pattern(r"\b(\d{1,2})\s*h\s*([0-5]\d)\b"), lambda m: 60 * int(m[1]) + int(m[2])),
    # A range is planned for its middle: it neither runs over nor leaves a gap.
    (
        _pattern(rf"({NUMBER}){_TO}({NUMBER})[\s-]*(?:{_MIN}|m\b)"),
        lambda m: (number_of(m[1]) + number_of(m[2]) + 0.5) / 2,
    ),
    (_pattern(rf"({NUMBER}){_TO}({NUMBER})[\s-]*{_HOUR}"), lambda m: 30 * (number_of(m[1]) + number_of(m[2]))),
    (_pattern(rf"(?<![\w.])({NUMBER}|an?)[\s-]*{_HOUR}"), lambda m: 60 * number_of(m[1])),
    (_pattern(rf"(?<![\w.])({NUMBER}|an?)[\s-]*{_MIN}"), lambda m: number_of(m[1])),
    (_pattern(r"\ba\s+(?:couple|few)\s+(?:of\s+)?min(?:ute)?s\b"), lambda m: 5),
    (_pattern(rf"(?<![\w.])({NUMBER})[\s-]*(?:sec(?:ond)?s?\b)"), lambda m: max(1, number_of(m[1]) / 60)),
    # "45m" alone is minutes; "$45m" and "45m users" are not.
    (_pattern(r"(?<![\w.$€£¥])(\d{1,3})\s?m(?=$|\s*[,;.!)\n]|\s+(?:and|for|max|long)\b)"), lambda m: int(m[1])),
    (_pattern(r"\b(?:a|one|the\s+)?(?:whole|full)[\s-]day\b"), lambda m: 360),
]
_COUNT: Final = _pattern(
    rf"(?<![\w.#])({NUMBER})(?:{_TO}({NUMBER}))?[\s-]*(?:(?:short|simple|content|main|good|nice|brief)\s+)?"
    r"(?:slides?|pages?|folien|diapositivas?)\b(?!\s+(?:more|fewer|less|longer|shorter|on|about|for|with|per|each)\b)"
)
_COUNT_AFTER: Final = _pattern(rf"\b(?:slides|number of slides|slide count)\s*(?:[:=]|of|to|is)\s*({NUMBER})\b")


def find_duration(text: str) -> Amount | None:
    """The first length of time in a text, in whole minutes from 1 to 480."""
    for pattern, minutes in _DURATIONS:
        match = pattern.search(text)
        if match and minutes(match) > 0:
            value = min(MAX_DURATION_MIN, max(1, int(minutes(match) + 0.5)))
            return Amount(value, match.start(), match.end())
    return None


def find_slide_count(text: str) -> Amount | None:
    """The number of slides that a text asks for, as it stands there ("8-10 slides" is 10)."""
    match = _COUNT.search(text)
    if match:
        return Amount(int(number_of(match[2] or match[1])), match.start(), match.end())
    match = _COUNT_AFTER.search(text)
    return Amount(int(number_of(match[1])), match.start(), match.end()) if match else None


def spell_duration(duration_min: int) -> str:
    """`10 minutes`, `1 hour`, `1 hour 30 minutes`."""
    hours, minutes = divmod(duration_min, 60)
    parts = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((hours, "hour"), (minutes, "minute")) if n]
    return " ".join(parts)
