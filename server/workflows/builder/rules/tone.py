"""The tone of a presentation: the words for it and the families they belong to."""

import re
from typing import Final, NamedTuple

#: Family → the words people use for it.
TONES: Final[dict[str, tuple[str, ...]]] = {
    "playful": ("playful", "fun", "funny", "humorous", "humourous", "silly", "light-hearted", "lighthearted", "lively",
                "entertaining", "witty", "colourful", "colorful", "cheerful", "energetic", "humour", "humor",
                "jokes", "lustig"),
    "formal": ("formal", "professional", "corporate", "businesslike", "business-like", "official", "academic",
               "polished", "elegant", "formell"),
    "inspiring": ("inspiring", "inspirational", "motivating", "motivational", "uplifting", "moving", "emotional",
                  "visionary", "reverent", "devotional", "spiritual", "heartfelt"),
    "technical": ("technical", "scientific", "detailed", "in-depth", "analytical", "data-driven", "factual"),
    "friendly": ("friendly", "casual", "informal", "warm", "relaxed", "conversational", "personal", "light", "calm"),
    "persuasive": ("persuasive", "convincing", "compelling", "bold", "punchy", "salesy"),
    "simple": ("simple", "simpler", "plain", "clear", "easy", "basic", "minimal", "minimalist"),
    "serious": ("serious", "sober", "solemn", "respectful", "grave"),
    "narrative": ("narrative", "storytelling", "story-like", "dramatic", "like a story", "as a story"),
}  # fmt: skip
_OPPOSITE: Final = {
    "playful": "serious", "formal": "friendly", "inspiring": "plain", "technical": "simple", "friendly": "formal",
    "persuasive": "factual", "simple": "detailed", "serious": "playful", "narrative": "factual",
}  # fmt: skip
#: What we say for a word that cannot stand before "tone".
_PLAIN_WORD: Final = {"simpler": "simple", "humour": "humorous", "humor": "humorous", "jokes": "humorous"}
_FAMILY: Final = {word: family for family, words in TONES.items() for word in words}
_WORD: Final = "|".join(sorted(map(re.escape, _FAMILY), key=len, reverse=True))
_TONE: Final = re.compile(
    r"(?:\b(?P<less>less|not|not too|not so|too|nothing|isn't)\s+)?(?:\b(?:more|very|quite|rather|really|super|and|"
    r"a bit"
    rf"|much)\s+)*\b(?P<word>{_WORD})\b(?!')(?:\s+(?:tone|style|way|manner|voice|language))?",
    re.IGNORECASE,
)


class Tone(NamedTuple):
    """A word for a tone, and where it stands: `text[start:end]`."""

    word: str
    start: int
    end: int


def find_tone(text: str) -> Tone | None:
    """The first tone that a text asks for; "less formal" asks for the opposite."""
    match = _TONE.search(text)
    if match is None:
        return None
    word = match["word"].lower()
    word = _PLAIN_WORD.get(word, word)
    if match["less"]:
        word = _OPPOSITE[_FAMILY[word]]
    return Tone(word, match.start(), match.end())


def family_of(word: str | None) -> str:
    """The family of a word for a tone; "friendly" for none or an unknown one."""
    return _FAMILY.get((word or "").lower(), "friendly")
