"""What is understood of a wish: the brief, and how it is read from people's words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from server.workflows.builder.rules.amounts import Amount, find_duration, find_slide_count
from server.workflows.builder.rules.audience import read_audience, strip_lead
from server.workflows.builder.rules.tone import find_tone
from server.workflows.builder.rules.wording import clean, has_words, is_gibberish, tidy

MIN_SLIDES: Final = 2
MAX_SLIDES: Final = 30
#: How much of a text is read; more says nothing new about a presentation.
MAX_READ_CHARS: Final = 4_000
_MAX_FOCUS: Final = 6
_MAX_CLAUSES: Final = 40


@dataclass(frozen=True, slots=True)
class Brief:
    """A presentation as it is understood so far; None where nothing was said."""

    topic: str
    kind: str
    audience: str | None = None
    duration_min: int | None = None
    tone: str | None = None
    purpose: str | None = None
    slide_count: int | None = None
    focus: tuple[str, ...] = ()


@dataclass(slots=True)
class Details:
    """What a text says about a presentation, apart from its topic. `rest` is what was not understood."""

    audience: str | None = None
    duration_min: int | None = None
    tone: str | None = None
    purpose: str | None = None
    slide_count: int | None = None
    focus: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def said(self) -> dict[str, Any]:
        """The fields that the text gave a value to."""
        values = {name: getattr(self, name) for name in ("audience", "duration_min", "tone", "purpose", "slide_count")}
        return {name: value for name, value in values.items() if value is not None}


_SPLIT: Final = re.compile(r"[;\n•|]+|,(?!\d{3}\b)|(?<=[^\d\s][.!?])\s+|(?<=\d[.!?])\s+(?=[^\d\s])")
_MARKER: Final = re.compile(r"(?:^|(?<=\s))\(?(\d{1,2})[.)](?=\s|[A-Za-z])\s*")
_BULLET: Final = re.compile(r"^\s*(?:[-*–—•]|\(?\d{1,2}[.)](?=\s|$)|[a-e]\))\s*")
_LABEL: Final = re.compile(
    r"^(audience|for whom|who|duration|length|time|tone|style|purpose|goal|aim|focus|slides)\s*(?::|=|\s[-–]\s)\s*",
    re.IGNORECASE,
)
_LABEL_KEYS: Final = {
    "audience": "audience",
    "for whom": "audience",
    "who": "audience",
    "focus": "focus",
} | dict.fromkeys(("purpose", "goal", "aim"), "purpose")
_OPEN_CHOICE: Final = re.compile(
    r"\b(?:(?:you|u)\s+(?:can\s+)?(?:decide|choose|pick)|up to you|your (?:choice|call)|surprise me|don(?:'|’)?t "
    r"(?:know|care|"
    r"mind)|dunno|idk|no idea|not sure|whatever|anything|any(?: is fine)?$|no preferences?|skip|doesn(?:'|’)?t matter|"
    r"what (?:do |would )?you (?:think|suggest|recommend|like)|as you (?:like|wish)|default|n/?a$|none$|nothing "
    r"special)\b",
    re.IGNORECASE,
)
_PURPOSE: Final = re.compile(
    r"^(?:(?:(?:the|my|our)\s+)?(?:goal|aim|purpose|idea|point)\s+(?:is|would be)\s+(?:to\s+)?(?P<goal>\S.*)"
    r"|(?:i(?:'d| would)?\s+(?:want|like)\s+|in order\s+)?to\s+(?P<verb>(?!my\b|our\b|the\b|a\b|an\b|"
    r"\d)[a-z]{3,}\s+\S.*)"
    r"|(?P<bare>(?:inform|persuade|convince|teach|explain|inspire|motivate|entertain|educate|raise|encourage)\b.*))",
    re.IGNORECASE,
)
_FOCUS: Final = re.compile(
    r"^(?:please\s+)?(?:also\s+)?(?:it\s+(?:should|must)\s+|i(?:'d| "
    r"would)\s+like\s+(?:it\s+)?to\s+)?(?:(?:the\s+)?(?:main\s+)?"
    r"focus(?:ing)?(?:\s+(?:on|is|should be))?|cover(?:ing)?|includ(?:e|ing)|mention(?:ing)?|talk(?:ing)? about|"
    r"especially|"
    r"mainly|emphasi[sz]e|highlight(?:ing)?|must (?:have|cover|include|mention)|about)\s+(?:on\s+)?(?:a\s+(?:section|"
    r"part|slide)\s+(?:on|"
    r"about)\s+)?",
    re.IGNORECASE,
)
_EDGE: Final = (
    r"(?:and|with|in|of|about|around|approximately|approx\.?|roughly|circa|ca\.?|max(?:imum)?|at most|up to|no more "
    r"than|"
    r"under|less than|lasting|lasts?|long|total|duration|length|time|tone|style|keep it|make it|make|keep|it(?:'|"
    r"’)?s|it|be|"
    r"is|should|will|would|please|maybe|probably|something|for|a|an|the|so|but|or|i have|we have|i(?:'|’)?d like|i "
    r"think|"
    r"exactly|only|just|say|also|now|instead|use|to|want|i|we|presentation|deck|talk|more|very|thanks?|thank you|yes|"
    r"ok|"
    r"okay|sure|no|add|hi|hello|let(?:'|’)?s|change|set|slides?)"
)
_EDGE_START: Final = re.compile(rf"^(?:[\s\W]*\b{_EDGE}\b(?:\s+|[\W]*$))+", re.IGNORECASE)
_EDGE_END: Final = re.compile(rf"(?:\s+{_EDGE})+[\s\W]*$", re.IGNORECASE)


def is_open_choice(text: str) -> bool:
    """Whether the user leaves the choice to us ("you decide", "I don't know")."""
    return len(text.split()) <= 9 and _OPEN_CHOICE.search(text) is not None


def read_details(text: str, keys: Sequence[str] = (), *, is_answer: bool = False) -> Details:
    """Read audience, length, tone, purpose, number of slides and focus from a text.

    `keys` are what the questions asked for, in order: a list of answers is matched with them one by one. Only of an
    answer a first unknown clause is taken for the audience.
    """
    details = Details()
    parts, ordered = _split(clean(text, MAX_READ_CHARS).replace("½", ".5"))
    unclear: list[tuple[int, str]] = []
    for position, part in enumerate(parts):
        key = keys[position] if ordered and position < len(keys) else ""
        left = _read_part(details, part, key)
        if left:
            unclear.append((position, left))
    if is_answer:
        _take_audience(details, unclear)
    details.rest = [text for _, text in unclear]
    details.focus = list(dict.fromkeys(details.focus))[:_MAX_FOCUS]
    return details


def merge(brief: Brief, details: Details) -> Brief:
    """The brief with what was said now; focus points are added up."""
    focus = tuple(dict.fromkeys([*brief.focus, *details.focus]))[:_MAX_FOCUS]
    return replace(brief, **details.said(), focus=focus)


def pack(brief: Brief) -> dict[str, Any]:
    """The brief as JSON keeps it."""
    return {**asdict(brief), "focus": list(brief.focus)}


def unpack(stored: Mapping[str, Any]) -> Brief:
    """The brief that `pack` made; unknown fields are left out."""
    known = {item.name for item in fields(Brief)}
    values = {name: value for name, value in stored.items() if name in known}
    return Brief(**{**values, "focus": tuple(values.get("focus") or ())})


def _split(text: str) -> tuple[list[str], bool]:
    """The clauses of a text, and whether they are a list that answers question by question."""
    markers = list(_MARKER.finditer(text))
    if len(markers) > 1 and not text[: markers[0].start()].strip() and markers[0][1] == "1":
        ends = [*(marker.start() for marker in markers[1:]), len(text)]
        parts = [text[marker.end() : end].strip(" ,;\n") for marker, end in zip(markers, ends, strict=True)]
        return parts[:_MAX_CLAUSES], True
    lines = [line for line in (_BULLET.sub("", line).strip() for line in text.splitlines()) if line]
    if len(lines) > 1:
        return lines[:_MAX_CLAUSES], True
    parts = [part.strip() for part in _SPLIT.split(_BULLET.sub("", text)) if part and part.strip()]
    return parts[:_MAX_CLAUSES], False


def _read_part(details: Details, part: str, key: str) -> str:
    """Read one clause into the details; returns what is left of it that nothing could be made of."""
    if is_open_choice(part):
        return ""
    label = _LABEL.match(part)
    if label:
        key, part = _LABEL_KEYS.get(label[1].lower(), key), part[label.end() :]
    focus = _FOCUS.match(part)
    if focus and focus.end() < len(part) and not (find_duration(part) or find_slide_count(part)):
        details.focus += _focus_points(part[focus.end() :])
        return ""
    part = _cut_amounts(details, part)
    purpose = _PURPOSE.match(part)
    if purpose and len(part.split()) <= 25 and not _is_for(part):
        details.purpose = details.purpose or tidy(next(filter(None, purpose.groups())).strip(" .!"), 100)
        return ""
    tone = find_tone(part) if details.tone is None and len(part.split()) <= 12 else None
    if tone:
        left = f"{part[: tone.start]} {part[tone.end :]}"
        # An answer about the content may contain such a word ("the fun stories") without asking for a tone.
        if key not in ("focus", "purpose") or not has_words(_trim(left)):
            details.tone, part = tone.word, left
    return _read_rest(details, part, key)


def _read_rest(details: Details, part: str, key: str) -> str:
    named = read_audience(part.strip(" .!?:"))
    bare = _trim(part)
    if not has_words(bare) or is_gibberish(bare):
        return ""
    if bare.isdigit() and details.duration_min is None and 2 <= int(bare[:5]) <= 240:
        details.duration_min = int(bare)
        return ""
    if details.audience is None and key in ("", "audience"):
        if named:
            details.audience = read_audience(_with_article(part, bare)) or named
            return ""
        if key == "audience" or _is_for(part):
            details.audience = strip_lead(_with_article(part, bare))
            return ""
    if key == "purpose" and details.purpose is None:
        details.purpose = tidy(bare, 100)
        return ""
    if key and key not in ("audience", "duration_min", "tone"):
        details.focus += _focus_points(bare)
        return ""
    return bare


def _cut_amounts(details: Details, part: str) -> str:
    for name, find in (("slide_count", find_slide_count), ("duration_min", find_duration)):
        amount: Amount | None = find(part)
        if amount:
            if getattr(details, name) is None:
                setattr(details, name, amount.value)
            part = f"{part[: amount.start]} {part[amount.end :]}"
    return part


def _take_audience(details: Details, unclear: list[tuple[int, str]]) -> None:
    """A first short clause next to something understood is the audience: "Plumbers, 10 min"."""
    if not unclear or unclear[0][0] or details.audience is not None or not details.said():
        return
    if len(unclear[0][1].split()) <= 5:
        details.audience = tidy(unclear.pop(0)[1], 60)


def _is_for(part: str) -> bool:
    return re.match(r"\s*for\s+\S", part, re.IGNORECASE) is not None and 1 < len(part.split()) <= 7


def _focus_points(text: str) -> list[str]:
    """ "history, music and food" as three points; a long sentence stays one."""
    parts = [part.strip(' .!?"“”') for part in re.split(r",|\s+and\s+|/", text)]
    if any(len(part.split()) > 5 for part in parts):
        parts = [text.strip(" .!?")]
    return [tidy(part, 80) for part in parts if has_words(part) and not is_gibberish(part)]


def _with_article(part: str, bare: str) -> str:
    """ "the board" keeps its article, which the trimming took."""
    return f"the {bare}" if re.search(rf"\bthe\s+{re.escape(bare)}", part, re.IGNORECASE) else bare


def _trim(part: str) -> str:
    """A clause without the small words at its edges."""
    bare = _EDGE_START.sub("", part.strip())
    return _EDGE_END.sub("", bare).strip(" \t.,;:!?-–—()\"'“”")
