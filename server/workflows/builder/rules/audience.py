"""Who a presentation is for: the words for an audience and the groups they belong to."""

import re
from typing import Final

from server.workflows.builder.rules.wording import lower_first, tidy

#: Group → a pattern for the nouns that name it. The first group that fits counts.
_GROUPS: Final[dict[str, str]] = {
    "children": r"child(?:ren)?|kids?|kiddos|toddlers?|preschool\w*|pupils?|primary[ -]school\w*|"
    r"elementary[ -]school\w*|"
    r"kindergart\w*|boys|girls|little ones|youngsters|(?:first|second|third|fourth|fifth) graders?|kinder[n]?|"
    r"niñ[oa]s|enfants|bambini|बच्चे|बच्चों|дет(?:и|ей)|crianças",
    "teenagers": r"teens?|teenagers?|adolescents?|youths?|high[ -]school\w*|secondary[ -]school\w*|young people|"
    r"jugendliche\w?|gen z",
    "investors": r"investors?|vcs?|venture capital\w*|angels|donors?|sponsors?|funders?|shareholders?",
    "executives": r"executives?|execs?|board(?: members?| of directors)?|directors?|c-level|c-suite|leadership|ceos?|"
    r"cfos?|"
    r"ctos?|management|managers?|leaders?|boss(?:es)?|decision[ -]makers?|stakeholders?|head of \w+",
    "customers": r"customers?|clients?|prospects?|buyers?|users|guests?|visitors?|partners?",
    "experts": r"experts?|engineers?|developers?|programmers?|scientists?|researchers?|doctors?|physicians?|"
    r"specialists?|"
    r"academics?|professionals?|nurses?|analysts?|architects?|lawyers?|designers?",
    "students": r"students?|undergraduates?|graduates?|university|college|class(?:es|mates?)?|freshmen|studenten|"
    r"schüler|"
    r"étudiants|estudiantes|learners?",
    "team": r"teams?|colleagues?|co-?workers?|staff|employees?|department|company|office|volunteers?|new hires?|"
    r"newcomers?|"
    r"members?|crew|trainees?|interns?|kolleg\w+",
    "general": r"adults?|public|everyone|everybody|anyone|people|audience|crowd|parents?|famil(?:y|ies)|friends?|"
    r"seniors?|"
    r"elderly|pensioners|beginners?|newbies|community|neighbou?rs?|laypeople|citizens?|tourists?|travell?ers?|"
    r"teachers?|"
    r"patients?|women|men|grandparents?|fans?|club|church|mum|mom|dad|wife|husband|erwachsene|adultos|adultes",
}
GROUPS: Final = tuple(_GROUPS)
_NOUNS: Final = {group: re.compile(rf"\b(?:{nouns})\b", re.IGNORECASE) for group, nouns in _GROUPS.items()}
_AGE: Final = re.compile(
    r"\b(?:aged?|ages)\s*(?:of\s+)?(\d{1,2})|\b(\d{1,2})\s*(?:(?:-|–|to)\s*\d{1,2}\s*)?[- ]?(?:years?|yrs?)[- ]?olds?\b"
    r"|\b(?:grade|class|year)\s+(\d{1,2})\b|\b(\d{1,2})(?:st|nd|rd|th)[ -]grade\w*",
    re.IGNORECASE,
)
_LEAD: Final = re.compile(
    r"^(?:(?:and|so|it(?:'|’)?s|it is|this is|they(?:'|’)?re|they are|i am|i(?:'|’)?m|we are|mostly|mainly|only|just|"
    r"make it|target|presenting|aimed|talking|speaking|present|the|my|our|audience|target group|viewers|listeners|is|"
    r"are|will be|would be|should be|in front of|at|to|for|probably|maybe|i think)\s+)+",
    re.IGNORECASE,
)
_OWN: Final = re.compile(r"\b(?:my|our)\s+(?=\S)", re.IGNORECASE)
_MAX_WORDS: Final = 10


def group_of(audience: str | None) -> str:
    """The group that an audience belongs to; "general" when it names none."""
    text = audience or ""
    age = _AGE.search(text)
    if age and not _NOUNS["general"].search(text):
        years = int(next(number for number in age.groups() if number))
        is_grade = bool(age[3] or age[4])
        return "children" if years + (5 if is_grade else 0) < 13 else "teenagers"
    return next((group for group, nouns in _NOUNS.items() if nouns.search(text)), "general")


def read_audience(phrase: str) -> str | None:
    """The audience that a short phrase names ("it's for my team" → "my team"); None if it names none."""
    named = any(nouns.search(phrase) for nouns in _NOUNS.values()) or _AGE.search(phrase)
    return strip_lead(phrase) if named and len(phrase.split()) <= _MAX_WORDS else None


def strip_lead(phrase: str) -> str:
    """An audience without the words that lead to it; "my" and "our" stay."""
    match = _LEAD.match(phrase)
    if match is None:
        return tidy(phrase, 60)
    own = re.search(r"\b(?:my|our|the)\s+$", match[0], re.IGNORECASE)
    return tidy((own[0].lower() if own else "") + phrase[match.end() :], 60) or tidy(phrase, 60)


def speak_of(audience: str) -> str:
    """The audience as we say it inside a sentence: "your team", "children", "20 executives"."""
    return lower_first(_OWN.sub("your ", audience, count=1))


def label_of(audience: str) -> str:
    """The audience as a label on the slides: "Team", "Children"."""
    words = re.sub(r"^(?:my|our|the)\s+(?=\S)", "", audience, flags=re.IGNORECASE)
    return words[:1].upper() + words[1:]
