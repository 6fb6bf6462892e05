"""Reading a first line: the topic, and what it says about the presentation besides."""

import re
from typing import Final

from server.workflows.builder.rules.amounts import find_duration, find_slide_count
from server.workflows.builder.rules.audience import group_of, read_audience
from server.workflows.builder.rules.brief import MAX_READ_CHARS, Brief, Details, merge, read_details
from server.workflows.builder.rules.kinds import NAME_KINDS, find_kind
from server.workflows.builder.rules.tone import find_tone
from server.workflows.builder.rules.wording import capitalise, clean, has_words, tidy

MAX_TOPIC_CHARS: Final = 80

_NOUN: Final = (
    r"(?:power\s?point\s+presentation|presentation|slide\s?decks?|slide\s?show|pitch\s+deck|pitch|deck|slides?|talk|"
    r"keynote|"
    r"power\s?point|ppt|lecture|speech|lesson|workshop|webinar|training|session|report|präsentation|présentation|"
    r"presentación|apresentação|presentazione|प्रेजेंटेशन)"
)
_ABOUT: Final = (
    r"(?:about|on|regarding|concerning|covering|explaining|introducing|around|called|titled|entitled|describing|"
    r"that\s+(?:explains|covers|introduces|describes|shows)|with\s+the\s+(?:topic|title)|über|sur|sobre|su|के बारे "
    r"में|:)"
)
# "I'd like a short presentation for my board about X": what stands before X is about the presentation, not the topic.
_HEAD: Final = re.compile(rf"^(?P<lead>.{{0,160}}?)\b(?P<noun>{_NOUN})\b(?P<mid>.{{0,80}}?)(?:\b|\s|"
                          rf"(?<=\W)){_ABOUT}(?!\w)\s*(?P<topic>\S.*)$", re.IGNORECASE)  # fmt: skip
_NOUN_ONLY: Final = re.compile(rf"^(?P<lead>.{{0,160}}?)\b{_NOUN}\b(?P<tail>.{{0,160}})$", re.IGNORECASE)
_REQUEST: Final = re.compile(
    r"^(?:\W*\b(?:hi|hello|hey|there|please|pls|ok|okay|so|well|good (?:morning|afternoon|evening)|can you|could you|"
    r"would "
    r"you|will you|you|i(?:'|’)?d|i would|i|we|want|wants|need|like|love|have|must|to|help|me|us|my|our|with|make|"
    r"makes|create|build|"
    r"prepare|write|generate|design|give|do|put together|come up with|get|a|an|the|some|short|quick|brief|new|nice|"
    r"good|"
    r"great|small|little|simple|let(?:'|’)?s|talk|speak|tell|present|something|topic|subject|is|will be|should be|"
    r"it(?:'|’)?s|its|une?|eine?|una|uma|ich|möchte|bitte|je|voudrais|quiero|about|on|another|different|different "
    r"one|am|giving|holding|planning|thinking|of|for)\b[\s,:!.–-]*)+",
    re.IGNORECASE,
)
# Of a line without a noun for the thing only these lead-ins go: "the history of tea" must keep all its words.
_LEAD_IN: Final = re.compile(
    r"^(?:(?:hi|hello|hey)(?:\s+there)?[\s,!.]+)?(?:(?:please|ok|okay|so|well|actually|no)[\s,]+)*"
    r"(?:(?:can|could|would) you (?:please )?(?:tell|teach|explain|present)(?: (?:me|us|them))?(?: something)?(?: "
    r"(?:about|on))?\s+|"
    r"(?:i(?:'|’)?d like|i would like|i want|i need|i have|we need|we want|let(?:'|’)?s|i(?:'|’)?m going|i "
    r"plan)\s+(?:to\s+)?(?:"
    r"(?:talk|speak|present|do|make|create|have|explain|teach|learn)\s+)?(?:something\s+)?(?:about\s+|on\s+)?|"
    r"(?:make|create|do|build|prepare|something|anything|tell \w+(?: \w+)?)\s+(?:one\s+)?(?:something\s+)?(?:about|"
    r"on)\s+|"
    r"(?:talk|teach me|explain)\s+(?:about\s+)?|(?:on|regarding)\s+|"
    r"(?:the|my|our)?\s*(?:topic|subject|theme)\s*(?:is|would be|will be|should be|:|=)\s*|about\s+|"
    r"(?:who|what)(?:\s+(?:is|are|was|were)|(?:'|’)s)\s+)?",
    re.IGNORECASE,
)
_FOR_TAIL: Final = re.compile(r"\s+(?:for|to|aimed at|in front of)\s+(?P<who>[^,;.]{2,60})$", re.IGNORECASE)
_STYLE_TAIL: Final = re.compile(
    r"\s+(?:(?:in|with|using)\s+)(?:an?\s+)?[\w\s-]{2,40}\s(?:tone|style|way|manner|voice)$|\s+as a story$",
    re.IGNORECASE,
)
_AMOUNT_WORDS: Final = r"(?:lasting|taking|in|for|with|of|about|around|under|at most|max|maximum|up to|,|-|–|\(|and)"
_COURTESY: Final = re.compile(
    r"[\s,.!]+(?:please|pls|thanks|thank you|thx|instead)(?:\s+(?:instead|please))?[\s.!]*$", re.IGNORECASE
)
_BUTTON_VALUE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+")
_ASKING: Final = re.compile(r"(?:why|how|do|does|is|are|can|should|when|where|which|will)\b", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"(?<=[^\s.A-Z][.!?])\s+|\n+|;\s+")


def read_request(line: str) -> Brief:
    """The brief of a person's first line. Its topic is "" when the line names none."""
    text = clean(line, MAX_READ_CHARS).strip()
    if is_button_value(text):
        return Brief(topic="", kind="general")
    topic, context = _find_topic(text)
    topic, tail = _cut_tail(topic)
    brief = Brief(topic="", kind="general")
    for piece in (context, *tail):
        details = read_details(piece)
        # Words of a request that mean nothing ("quick", "powerpoint") are no focus and no audience.
        details.focus = details.focus if piece is not context else []
        brief = merge(brief, details)
    topic = tidy_topic(topic)
    if "?" in text and _ASKING.match(topic):
        topic += "?"
    kind = "pitch" if topic and re.search(r"\bpitch\b", text[:200], re.IGNORECASE) else find_kind(topic)
    if kind in NAME_KINDS and topic.islower():
        topic = " ".join(
            word if word in ("of", "the", "and", "de", "da") else capitalise(word) for word in topic.split()
        )
    values = {
        name: getattr(brief, name) for name in ("audience", "duration_min", "tone", "purpose", "slide_count", "focus")
    }
    return Brief(topic=topic, kind=kind, **values)


def tidy_topic(text: str) -> str:
    """A topic as it may stand in a title: one line, no quotes around it, no full stop, at most 80 characters."""
    topic = _COURTESY.sub("", tidy(text, 4 * MAX_TOPIC_CHARS)).strip(" \t.,;:!?-–—\"'“”‘’«»()[]*_`#")
    if not has_words(topic):
        return ""
    if topic.isupper() and len(topic.split()) > 1:
        topic = topic.lower()
    return tidy(topic, MAX_TOPIC_CHARS)


def is_button_value(text: str) -> bool:
    """Whether a text looks like the value of a button ("accept_plan"): old clients send it as a line."""
    return _BUTTON_VALUE.fullmatch(text) is not None


def names_request(text: str) -> bool:
    """Whether a line asks for a presentation about something ("make me a deck on whales")."""
    head = _match_head(text[:MAX_READ_CHARS].strip())
    return head is not None and has_words(head["topic"])


def _match_head(text: str) -> re.Match[str] | None:
    """A request that names the thing, if all before its noun is the language of requests."""
    match = _HEAD.match(text.replace("\n", " "))
    if match is None:
        return None
    lead = _REQUEST.sub("", match["lead"].strip() + " ", count=1).strip()
    return match if not lead or _is_modifier(lead) else None


def _find_topic(text: str) -> tuple[str, str]:
    """The topic with what follows it, and the words about the presentation that stood before."""
    head = _match_head(text)
    if head is not None:
        lead = _REQUEST.sub("", head["lead"].strip() + " ", count=1)
        return text[head.start("topic") :], f"{lead.strip()}, {head['mid'].strip()}"
    only = _NOUN_ONLY.match(text.replace("\n", " "))
    if only is not None and not _REQUEST.sub("", only["lead"].strip() + " ", count=1).strip():
        return _find_topic_of_bare_request(only["tail"])
    amount = find_duration(text[:60])
    if amount and not has_words(text[: amount.start]):
        rest = re.sub(r"^\W*(?:about|on|for)\s+", "", text[amount.end :], flags=re.IGNORECASE)
        return rest, text[: amount.end]
    return _LEAD_IN.sub("", text, count=1), ""


def _find_topic_of_bare_request(tail: str) -> tuple[str, str]:
    """ "a presentation for my board" has no topic; "a pitch deck for Acme" has."""
    who = re.match(r"\s*(?:for|of)\s+(?P<who>.+)$", tail, re.IGNORECASE)
    if who and (read_audience(who["who"].split(",")[0]) is None and find_duration(who["who"]) is None):
        return who["who"], ""
    return "", tail


def _cut_tail(text: str) -> tuple[str, list[str]]:
    """Cut what is said about the presentation off the end of a topic: (topic, pieces)."""
    first, *sentences = _SENTENCE_END.split(text, maxsplit=6)
    head, *clauses = re.split(r",(?!\d{3}\b)\s*|\s+[–—-]\s+", first)
    pieces = [sentence for sentence in sentences if sentence]
    kept = [head]
    for position, clause in enumerate(clauses):
        if _is_modifier(clause):
            # From the first modifier on, nothing belongs to the topic any more.
            pieces = [", ".join(clauses[position:]), *pieces]
            break
        kept.append(clause)
    topic = ", ".join(kept)
    for _ in range(4):
        topic, piece = _cut_one(topic)
        if not piece:
            break
        pieces.append(piece)
    return topic, pieces


def _cut_one(topic: str) -> tuple[str, str]:
    topic = topic.strip(" .!?,")
    style = _STYLE_TAIL.search(topic)
    if style and find_tone(style[0]):
        return topic[: style.start()], style[0]
    amount = find_duration(topic) or find_slide_count(topic)
    if amount and not has_words(topic[amount.end :]):
        before = re.sub(rf"(?:\s+{_AMOUNT_WORDS})+\s*$", "", " " + topic[: amount.start], flags=re.IGNORECASE)
        return before.strip(), topic[amount.start :]
    audience = _FOR_TAIL.search(topic)
    if audience and read_audience(audience["who"]) and _is_audience_tail(audience[0], audience["who"]):
        return topic[: audience.start()], f"for {audience['who']}"
    return topic, ""


def _is_audience_tail(tail: str, who: str) -> bool:
    """ "an introduction to people management" is a topic; "to my team" is not."""
    if tail.strip().lower().startswith("to "):
        return re.match(r"(?:my|our|the|a group of|\d)", who, re.IGNORECASE) is not None
    return group_of(who) != "general" or len(who.split()) <= 3


def _is_modifier(clause: str) -> bool:
    """Whether a clause is about the presentation and not about the topic."""
    details: Details = read_details(clause)
    if details.focus:
        return True
    is_short = len(clause.split()) <= 8
    return is_short and bool(details.said()) and not details.rest
