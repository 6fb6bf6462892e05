"""Intents: what move a line of free text means in a state. Buttons never come here, they are decided before."""

import re
from collections.abc import Sequence
from typing import Final

from server.workflows.builder.rules.audience import read_audience
from server.workflows.builder.rules.brief import is_open_choice, read_details
from server.workflows.builder.rules.consent import read_consent
from server.workflows.builder.rules.plan import says_change
from server.workflows.builder.rules.topic import is_button_value, names_request, read_request
from server.workflows.builder.rules.wording import clean, has_words

HELP: Final = "Ask_Help_Or_Question"
CHANGE_TOPIC: Final = "Change_Topic"

_SMALL_TALK: Final = re.compile(
    r"(?:hi|hii+|hello|hey|heya|hallo|hola|bonjour|namaste|salut|ciao|good (?:morning|afternoon|evening|day)|"
    r"greetings|yo|"
    r"sup|thanks?|thank you|thx|many thanks|cheers|bye|goodbye|good night|how are you|what(?:'|’)?s up|test|testing|"
    r"start|begin|"
    r"new|new presentation|help(?: me)?|\?+)(?:[\s,!.]+(?:there|all|everyone|you|so much|a lot|very much|again|"
    r"please|deckster|bot|"
    r"assistant|team|friend|how are you(?: today| doing)?))*[\s!.?:)]*",
    re.IGNORECASE,
)
_OUR_WORK: Final = re.compile(
    r"\b(?:start|begin|use (?:this|it)|work|go on|continue|do this|help|save|download|export|share|cost)\b"
    r"|\bmake (?:a|slides)\b"
    r"|\b(?:print|change|edit|open|see|find|get)\s+(?:it|this|that|my|the (?:slides|presentation|deck|plan))\b",
    re.IGNORECASE,
)
_ABOUT_US: Final = re.compile(
    r"\b(?:what|how|who|where|why|which|can|could|do|does|are|is|will|may)\b.{0,40}?\b(?:you|your|i|this (?:work|"
    r"tool|site|"
    r"service|app|thing|chat)|it work|my (?:presentation|slides|deck|plan|answers|data))\b|^(?:i need |need )?help\b|"
    r"^i(?:'|’)?m (?:lost|confused|stuck)|^what (?:now|next)\b|^how (?:does|do) (?:this|it|that) work",
    re.IGNORECASE,
)
_QUESTION: Final = re.compile(
    r"^(?:and |but |so |ok |well |hey |hi )?(?:what(?! about)|why(?! not)|how(?! about)|who|whom|whose|when|where|"
    r"which|is|are|"
    r"does|do you|did|will|am i|was|were|has|have you|may i|explain)\b",
    re.IGNORECASE,
)
_OFFER: Final = re.compile(r"^(?:can|could|would|will) (?:you|we)\b|^(?:what|how) about\b|^why not\b", re.IGNORECASE)
# "Make the presentation more about love" is a wish; only "a presentation about love" is a new one.
_ANOTHER: Final = re.compile(
    r"\b(?:an?|another|new|different)\s+(?:[\w-]+\s+){0,4}(?:presentation|deck|slide ?show|talk|keynote|lecture|"
    r"speech)\b",
    re.IGNORECASE,
)
_NEW_TOPIC: Final = re.compile(
    r"^(?:(?:please|no|ok|okay|actually|sorry|hmm|well|wait|i want|i(?:'|’)?d like|let(?:'|’)?s|can we|could we|"
    r"to)[\s,]+)*(?:"
    r"(?:a\s+)?(?:new|different|another|other|next)\s+(?:topic|subject|presentation|deck|one(?=\s+(?:about|on)\b))\b"
    r"(?:\s+(?:please|is|would be|about|on|instead)\b)*"
    r"|(?:change|switch)\s+(?:the\s+|my\s+)?(?:topic|subject)\b(?:\s+(?:to|into))?"
    r"|(?:start|begin)\s+(?:over|again|afresh|a new (?:one|presentation|deck))\b(?:\s+(?:with|about|on))?"
    r"|forget (?:it|that|this|about (?:it|that|this))[\s,]+(?:(?:let(?:'|’)?s )?(?:do|make|talk about|try))"
    r")[\s:,.–—-]*(?P<topic>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_INSTEAD: Final = re.compile(
    r"^(?:(?:please|no|ok|okay|actually|sorry|hmm|well|wait)[\s,]+)*(?:(?:let(?:'|’)?s|i(?:'|’)?d (?:rather|prefer "
    r"to|like to)|i want to|"
    r"can we|could we|we could|i would rather)\s+)?(?:do|take|try|present|talk about|make (?:it|one) about|do (?:one|"
    r"it) (?:about|on)|"
    r"speak about|go with|choose)\s+(?P<topic>.{2,300}?)\s+instead[\s.!]*$",
    re.IGNORECASE | re.DOTALL,
)


def read_new_topic(text: str) -> str | None:
    """The topic that a line changes to; "" if it only asks for another one; None if it does not ask for that."""
    line = clean(text, 2_000).strip()
    match = _NEW_TOPIC.match(line)
    if match:
        return match["topic"].strip()
    match = _INSTEAD.match(line)
    if match is None:
        return None
    topic = re.sub(r"^(?:(?:one|it|something)\s+)?(?:about|on)\s+", "", match["topic"], flags=re.IGNORECASE)
    # "let's do 20 minutes instead" and "… slide 3 instead" are wishes about what there is.
    is_wish = (
        bool(read_details(topic).said()) or read_audience(topic) or re.search(r"\bslides?\b", topic, re.IGNORECASE)
    )
    return None if is_wish else topic


def read_topic_line(text: str) -> str:
    """The part of a line that holds the topic: all of it, or what it changes to."""
    changed = read_new_topic(text)
    return text if changed is None else changed


def read_intent(text: str, allowed: Sequence[str], *, has_topic: bool) -> str:
    """The intent of free text, one of the `allowed`. `has_topic` says whether the conversation has a topic."""
    line = clean(text, 2_000).strip()
    if "Submit_Initial_Topic" in allowed:
        return _read_first_line(line)
    if read_new_topic(line) is not None:
        return CHANGE_TOPIC
    if "Submit_Clarification_Answers" in allowed:
        return _read_answer(line, has_topic=has_topic)
    if _ANOTHER.search(line[:200]) and names_request(line) and read_request(line).topic:
        return CHANGE_TOPIC
    for accept, reject, change in _CHOICES:
        if accept in allowed and reject in allowed:
            return _read_choice(line, accept, reject, change)
    return HELP


def read_plain_intent(text: str, allowed: Sequence[str]) -> str | None:
    """The intent of a line that can mean only one thing (a greeting, another topic, yes, no), else None."""
    line = clean(text, 2_000).strip()
    if not has_words(line) and read_consent(line) is None:
        return HELP
    if _SMALL_TALK.fullmatch(line[:200]) or is_button_value(line):
        return HELP
    if "Submit_Initial_Topic" in allowed:
        return None
    if read_new_topic(line) is not None:
        return CHANGE_TOPIC
    for accept, reject, _ in _CHOICES:
        if accept in allowed and reject in allowed and (choice := read_consent(line)) is not None:
            return accept if choice else reject
    return None


#: Accept, reject and change, for the states that ask for a choice.
_CHOICES: Final = (
    ("Accept_Plan", "Reject_Plan", "Change_Parameter"),
    ("Accept_Strawman", "Submit_Refinement_Request", "Submit_Refinement_Request"),
)


def _read_first_line(line: str) -> str:
    """In the greeting: a topic, or a question or mere "hello"."""
    if not has_words(line) or _SMALL_TALK.fullmatch(line[:200]) or is_button_value(line):
        return HELP
    if read_consent(line) is not None or is_open_choice(line):
        return HELP
    topic_line = read_topic_line(line)
    if not read_request(topic_line).topic:
        return HELP
    if not names_request(line) and _ABOUT_US.search(line[:200]) and not re.match(r"i\b|let", line, re.IGNORECASE):
        return HELP if len(line.split()) <= 25 and not _asks_how_to(line) else "Submit_Initial_Topic"
    return "Submit_Initial_Topic"


def _asks_how_to(line: str) -> bool:
    """ "How do I bake bread?" is a topic, "how do I start?" is not."""
    start = re.match(r"how (?:do|can|should|would) (?:i|we|you)\s+(?P<what>.+)$", line, re.IGNORECASE)
    return start is not None and _OUR_WORK.search(start["what"]) is None


def _read_answer(line: str, *, has_topic: bool) -> str:
    """While questions are open: answers, or a question about them. Without a topic, the line is the topic."""
    if not has_topic:
        return CHANGE_TOPIC if _read_first_line(line) == "Submit_Initial_Topic" else HELP
    if not has_words(line) or _SMALL_TALK.fullmatch(line[:200]) or is_button_value(line):
        return HELP
    if is_open_choice(line):
        return "Submit_Clarification_Answers"
    if _ANOTHER.search(line[:200]) and names_request(line) and read_request(line).topic:
        return CHANGE_TOPIC
    if read_consent(line) is not None or _is_question(line):
        return HELP
    return "Submit_Clarification_Answers"


def _read_choice(line: str, accept: str, reject: str, change: str) -> str:
    """Where a choice is open: yes, no, a change, or a question."""
    choice = read_consent(line)
    if choice is not None:
        return accept if choice else reject
    if not has_words(line) or _SMALL_TALK.fullmatch(line[:200]) or is_button_value(line):
        return HELP
    if _is_question(line) or (_OFFER.match(line) and change == "Change_Parameter" and not says_change(line)):
        return HELP
    return change


def _is_question(line: str) -> bool:
    if _OFFER.match(line):
        return False
    return _QUESTION.match(line) is not None or (
        line.endswith("?") and len(line.split()) <= 4 and not read_details(line).said()
    )
