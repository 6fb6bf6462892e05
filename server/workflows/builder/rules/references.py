"""Which slides a person means: "slide 3", "the last slide", "slides 2 and 4-6", "the agenda", "the slide about X"."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from server.workflows.builder.rules.amounts import NUMBER, number_of
from server.workflows.builder.rules.slide import Slide

_ORDINALS: Final = {
    word: number
    for number, word in enumerate(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 1
    )
}
_ORDINAL: Final = re.compile(
    rf"\b(?P<which>{'|'.join(_ORDINALS)}|last|final|second[ -]last|\d{{1,3}}(?:st|nd|rd|th))\s+(?:slide|page|one)\b",
    re.IGNORECASE,
)
_NUMBERED: Final = re.compile(
    rf"\b(?:slides?|pages?|no\.|number)\s*#?\s*(?P<list>{NUMBER}(?:\s*(?:,\s*and|,|and|&|\+|to|-|–|"
    rf"with)\s*(?:slides?\s*)?#?{NUMBER})*)\b"
    rf"|(?:^|\s)#(?P<hash>\d{{1,3}})\b|^\s*(?P<bare>\d{{1,3}}(?:\s*(?:,|and|&|-|–|to|with)\s*\d{{1,3}})*)\s*$",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(rf"#?({NUMBER})\s*(?:to|-|–)\s*(?:slides?\s*)?#?({NUMBER})", re.IGNORECASE)
_EDGE: Final = re.compile(rf"\b(?P<edge>first|last)\s+(?P<size>{NUMBER})\s+slides\b", re.IGNORECASE)
_ONE: Final = re.compile(NUMBER, re.IGNORECASE)
#: Names of slides that are known by what they are for.
_NAMED: Final = (
    (re.compile(r"\b(?:agenda|overview|contents|table of contents)\b", re.IGNORECASE), "agenda"),
    (
        re.compile(r"\b(?:title|opening|cover)\s+(?:slide|page)\b|^(?:the\s+)?(?:cover|title)$", re.IGNORECASE),
        "title_slide",
    ),
    (
        re.compile(r"\bq\s?(?:&|and|n|\+)\s?a\b|\bquestions? (?:slide|page)\b|^(?:the\s+)?questions$", re.IGNORECASE),
        "qa_slide",
    ),
    (
        re.compile(
            r"\b(?:closing|conclusion|summary|ending|end)\s*(?:slide|page)\b|^(?:the\s+)?(?:conclusions?|summary|"
            r"closing)$",
            re.IGNORECASE,
        ),
        "conclusion_slide",
    ),
)
_ABOUT: Final = re.compile(
    r"\b(?:slides?|one|part|section)\s+(?:about|on|with|called|titled)\s+(?P<a>.{2,100})$|"
    r"^(?:the\s+)?(?P<b>.{2,100}?)\s+slides?$"
    r"|^(?:the\s+)?(?P<c>.{2,100})$",
    re.IGNORECASE,
)
_SMALL: Final = frozenset(
    ["the", "a", "an", "of", "about", "and", "on", "in", "to", "for", "slide", "slides", "with", "is", "it"]
)


class Reference(NamedTuple):
    """The places of the slides that are meant, counted from 0, and the numbers that do not exist."""

    places: tuple[int, ...]
    beyond: tuple[int, ...] = ()


def find_slides(text: str, slides: Sequence[Slide]) -> Reference:
    """The slides that a phrase names; nothing if it names none."""
    numbers = _numbers(text, len(slides))
    if numbers:
        places = tuple(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= len(slides)))
        return Reference(places, tuple(dict.fromkeys(number for number in numbers if not 1 <= number <= len(slides))))
    for pattern, slide_type in _NAMED:
        if pattern.search(text):
            found = tuple(place for place, slide in enumerate(slides) if slide.slide_type == slide_type)
            if found:
                return Reference(found)
    return Reference(_by_title(text, slides))


def names_slide(text: str) -> bool:
    """Whether a phrase names a slide by its number, its place or its purpose."""
    return bool(_numbers(text, 1)) or any(pattern.search(text) for pattern, _ in _NAMED)


def _numbers(text: str, count: int) -> list[int]:
    edge = _EDGE.search(text)
    if edge:
        size = min(60, int(number_of(edge["size"])))
        return list(
            range(1, size + 1) if edge["edge"].lower() == "first" else range(max(1, count - size + 1), count + 1)
        )
    numbers: list[int] = []
    for ordinal in _ORDINAL.finditer(text):
        which = ordinal["which"].lower()
        if which in ("last", "final"):
            numbers.append(count)
        elif which.startswith("second") and which != "second":
            numbers.append(count - 1)
        else:
            numbers.append(_ORDINALS.get(which) or int(re.sub(r"\D", "", which)))
    for match in _NUMBERED.finditer(text):
        listed = match["list"] or match["hash"] or match["bare"]
        for first, last in _RANGE.findall(listed):
            start, end = int(number_of(first)), int(number_of(last))
            numbers += range(start, min(end, start + 60) + 1)
        numbers += [int(number_of(number)) for number in _ONE.findall(_RANGE.sub(" ", listed))]
    return numbers[:60]


def _by_title(text: str, slides: Sequence[Slide]) -> tuple[int, ...]:
    """The one slide whose title has all the words of the phrase; nothing if several or none have."""
    match = _ABOUT.search(text.strip(" .!?\"'“”"))
    if match is None:
        return ()
    wanted = _words(match["a"] or match["b"] or match["c"])
    found = tuple(place for place, slide in enumerate(slides) if wanted and wanted <= _words(slide.title))
    return found if len(found) == 1 else ()


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in _SMALL}
