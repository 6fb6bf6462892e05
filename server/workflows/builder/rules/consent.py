"""Yes and no: whether a line agrees, refuses, or says more than that."""

import re
from typing import Final

from server.workflows.builder.rules.wording import tidy

_YES: Final = re.compile(
    "yes|yeah|yep|yup|yea|sure|ok|okay|okey|k|fine|good|great|perfect|excellent|awesome|nice|lovely|"
    "wonderful|right|correct|approved|approve|accept|accepted|agree|agreed|proceed|continue|go|do|build|"
    "love|like|works|absolutely|definitely|exactly|ready|done|happy|ja|si|sí|oui|da|hai|haan|super|cool|"
    "amazing|brilliant|fantastic|beautiful|wow"
)
_NO: Final = re.compile("no|nope|nah|not|never|don't|doesn't|isn't|nein|non|nicht|bad|wrong|hate|dislike|reject")
# Words that may stand around a yes or a no without changing it.
_AROUND: Final = re.compile(
    "i|i'm|am|we|you|it|it's|its|that|that's|this|is|are|looks|look|sounds|sound|seems|very|really|so|"
    "quite|all|just|please|thanks|thank|let|let's|lets|us|ahead|on|for|me|the|a|an|to|with|as|of|and|well|"
    "then|now|plan|slides|deck|draft|presentation|one|yours|idea|there|here|be|can|will|way|make|create|"
    "start|going|much|at|still|too|think|hmm"
)
_YES_AFTER_ALL: Final = re.compile(
    r"\b(?:not bad|no (?:problem|objections?|changes(?: needed)?)|why not|nothing to change)\b"
)
_THUMBS: Final = {"👍": True, "✅": True, "👌": True, "🎉": True, "❤": True, "💯": True, "👎": False, "❌": False}
_MAX_WORDS: Final = 12


def read_consent(text: str) -> bool | None:
    """True for a plain yes, False for a plain no, None for anything that says more, or asks."""
    line = tidy(text, 200).casefold().replace("’", "'")
    words = re.findall(r"[^\W_]+(?:'[^\W\d_]+)?", _YES_AFTER_ALL.sub("yes", line))
    if not words:
        thumbs = {agrees for mark, agrees in _THUMBS.items() if mark in line}
        return thumbs.pop() if len(thumbs) == 1 else None
    if line.endswith("?") or words[0] in ("is", "are", "will") or len(words) > _MAX_WORDS:
        return None
    if not all(_YES.fullmatch(word) or _NO.fullmatch(word) or _AROUND.fullmatch(word) for word in words):
        return None
    if any(_NO.fullmatch(word) for word in words):
        return False
    return True if any(_YES.fullmatch(word) for word in words) else None
