"""The plan: what will be built, and every assumption behind it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from server.workflows.builder.rules.amounts import MAX_DURATION_MIN, spell_duration
from server.workflows.builder.rules.audience import group_of, speak_of
from server.workflows.builder.rules.brief import (
    MAX_SLIDES,
    MIN_SLIDES,
    Brief,
    Details,
    merge,
    pack,
    read_details,
    unpack,
)
from server.workflows.builder.rules.consent import read_consent
from server.workflows.builder.rules.kinds import find_kind
from server.workflows.builder.rules.questions import choose_questions
from server.workflows.builder.rules.tone import family_of
from server.workflows.builder.rules.topic import read_request, tidy_topic
from server.workflows.builder.rules.wording import (
    count_of,
    has_words,
    listing,
    lower_first,
    plain,
    strip_courtesy,
    tidy,
)

#: How much of a person's own words is kept.
MAX_KEPT_CHARS: Final = 2_000
_DEFAULT_DURATION_MIN: Final = 15
_DEFAULT_AUDIENCE: Final = "a general audience"
_DEFAULT_TONE: Final[dict[str, str]] = {
    "children": "fun", "teenagers": "lively", "students": "clear", "executives": "professional",
    "investors": "persuasive", "customers": "friendly", "experts": "factual", "team": "friendly", "general": "friendly",
}  # fmt: skip
_DEFAULT_PURPOSE: Final[dict[str, str]] = {
    "figure": "tell the stories and what they teach", "person": "show a life and what it left behind",
    "results": "report the results and what follows from them", "pitch": "win people over and agree a next step",
    "product": "show what it does and get people to try it", "proposal": "get a decision",
    "training": "enable people to do it themselves", "lesson": "make it understood and remembered",
    "health": "help people to act on it", "event": "get everybody on board", "place": "make people want to go there",
}  # fmt: skip
#: Minutes that a slide takes: children and boards need time to look and to talk.
_SLIDE_MIN: Final = {"children": 2.0, "executives": 2.0, "team": 2.0, "experts": 1.5, "investors": 1.5}
_SHORTER: Final = re.compile(
    r"\b(?:shorter|too long|fewer slides|less slides|cut (?:it )?down|more concise|condense)\b", re.IGNORECASE
)
_LONGER: Final = re.compile(r"\b(?:longer|too short|more slides|extend|expand it)\b", re.IGNORECASE)
_SPLIT: Final = re.compile(
    r"[;\n]+|,\s*(?:and\s+)?|\.\s+|\s+and\s+(?=(?:make|add|for|with|more|less|change|set|only|\d))", re.IGNORECASE
)
_TOPIC: Final = re.compile(
    r"^(?:please\s+)?(?:make it|change it to|it should be|should be|do it)\s+(?:be\s+)?(?:about|"
    r"on)\s+(?P<topic>\S.{0,200})$"
    r"|^(?:change|switch)\s+(?:the\s+)?(?:topic|subject|title)\s+to\s+(?P<other>\S.{0,200})$",
    re.IGNORECASE,
)
_ADD: Final = re.compile(
    r"^(?:please\s+)?(?:also\s+)?(?:add|include|cover|mention|talk about|focus(?: more)? on|i want|put in|more(?: "
    r"focus)? (?:on|about))"
    r"\s+(?:also\s+)?(?:(?:something|a (?:slide|section|part|bit|point)|slides|more)\s+)?(?:(?:on|about|for|"
    r"with)\s+)?(?P<what>\S.{0,160})$",
    re.IGNORECASE,
)
_DROP: Final = re.compile(
    r"^(?:please\s+)?(?:leave out|skip|drop|remove|without|don(?:'|’)?t (?:include|cover|mention)|"
    r"no)\s+(?:the\s+)?(?P<what>\S.{0,160})$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A plan after a wish. `done` says what changed; it is empty when nothing of the wish was understood."""

    brief: Brief
    done: tuple[str, ...]
    missed: tuple[str, ...] = ()


def read_answers(request: Brief, text: str) -> Brief:
    """The brief after the answers to the clarifying questions; other text becomes a focus point."""
    details = read_details(text, [question.key for question in choose_questions(request)], is_answer=True)
    loose = [tidy(rest, 80) for rest in details.rest if len(rest.split()) <= 20]
    details.focus = [*details.focus, *loose][:4]
    return merge(request, details)


def make_plan(brief: Brief) -> dict[str, Any]:
    """The plan of a brief, as memory keeps it and the person reads it."""
    count = slide_count_of(brief)
    audience = brief.audience or _DEFAULT_AUDIENCE
    length = spell_duration(duration_of(brief))
    return {
        "type": "ConfirmationPlan",
        "summary_of_user_request": f"A presentation on {brief.topic} for {speak_of(audience)}: {length}, {count} "
        "slides.",
        "key_assumptions": _list_assumptions(brief, count),
        "proposed_slide_count": count,
        "brief": pack(brief),
    }


def recall_brief(memory: Mapping[str, Any]) -> Brief:
    """The brief of a session: from its slides, its plan, or read again from what the person wrote."""
    for key in ("presentation_strawman", "confirmation_plan"):
        stored = memory.get(key)
        if isinstance(stored, Mapping) and isinstance(stored.get("brief"), Mapping):
            return unpack(stored["brief"])
    request = read_request(str(memory.get("user_initial_request") or ""))
    request = request if request.topic else replace(request, topic="your topic")
    answers = memory.get("clarifying_answers")
    if isinstance(answers, Mapping) and answers.get("raw_answers"):
        return read_answers(request, str(answers["raw_answers"]))
    return request


def change_plan(brief: Brief, words: str) -> PlanChange:
    """The brief after a wish about the plan ("make it 20 minutes", "for adults", "more playful")."""
    done: list[str] = []
    missed: list[str] = []
    for part in _split_wish(words):
        changed = _change_one(brief, part)
        if changed is None:
            missed.append(tidy(part, 80))
            continue
        brief, note = changed
        done.append(note)
    return PlanChange(brief, tuple(dict.fromkeys(done)), tuple(missed))


def understood(brief: Brief) -> dict[str, Any]:
    """What was said, by name; what was not said is left out."""
    return {name: value for name, value in pack(brief).items() if value and name not in ("topic", "kind")}


def duration_of(brief: Brief) -> int:
    """Minutes of the presentation: as said, from the number of slides, or the default."""
    if brief.duration_min:
        return brief.duration_min
    if brief.slide_count:
        return max(2, round(_clamp(brief.slide_count) * _slide_min(brief)))
    return _DEFAULT_DURATION_MIN


def slide_count_of(brief: Brief) -> int:
    """Number of slides, 2–30: as said, or from the minutes."""
    return _clamp(brief.slide_count if brief.slide_count else round(duration_of(brief) / _slide_min(brief) + 0.01))


def tone_of(brief: Brief) -> str:
    """The tone: as said, or what suits the audience."""
    return brief.tone or _DEFAULT_TONE[group_of(brief.audience)]


def purpose_of(brief: Brief) -> str:
    """The goal, as what follows "to": as said, or what suits the kind of topic."""
    return brief.purpose or _DEFAULT_PURPOSE.get(brief.kind, "inform people and keep them interested")


def audience_of(brief: Brief) -> str:
    """The audience: as said, or the default."""
    return brief.audience or _DEFAULT_AUDIENCE


def _slide_min(brief: Brief) -> float:
    return _SLIDE_MIN.get(group_of(brief.audience), 1.75)


def _clamp(count: int) -> int:
    return min(MAX_SLIDES, max(MIN_SLIDES, count))


def _list_assumptions(brief: Brief, count: int) -> list[str]:
    def mark(said: object) -> str:
        return "" if said else " (my assumption)"

    duration = spell_duration(duration_of(brief))
    lines = [
        f"Audience: {plain(speak_of(audience_of(brief)))}{mark(brief.audience)}",
        f"Length: {duration}{mark(brief.duration_min)}",
        f"Slides: {count}, {_explain_count(brief, count)}",
        f"Tone: {tone_of(brief)}{mark(brief.tone)}",
        f"Goal: {plain(lower_first(purpose_of(brief)))}{mark(brief.purpose)}",
    ]
    if brief.focus:
        lines.append(f"Must be in it: {plain(listing(brief.focus))}")
    return lines


def _explain_count(brief: Brief, count: int) -> str:
    if brief.slide_count and brief.slide_count != count:
        return (
            f"as {MAX_SLIDES} is the most I can make" if brief.slide_count > count else f"as {MIN_SLIDES} is the least"
        )
    if brief.slide_count:
        return "as you asked"
    seconds = round(duration_of(brief) * 60 / count / 15) * 15
    return f"about {seconds / 60:g} {'minute' if seconds == 60 else 'minutes'} a slide"


def _split_wish(words: str) -> list[str]:
    parts = [strip_courtesy(part) for part in _SPLIT.split(tidy(words, MAX_KEPT_CHARS))]
    return [part for part in parts if has_words(part) and read_consent(part) is None][:12]


def _change_one(brief: Brief, part: str) -> tuple[Brief, str] | None:
    topic = _TOPIC.match(part)
    if topic:
        name = tidy_topic(topic["topic"] or topic["other"])
        return (replace(brief, topic=name, kind=find_kind(name)), f"the topic is now {name}") if name else None
    details = read_details(part)
    if details.said():
        return _take(brief, details)
    if _SHORTER.search(part):
        return _scale(brief, 2 / 3)
    if _LONGER.search(part):
        return _scale(brief, 1.5)
    drop = _DROP.match(part)
    if drop:
        return _drop_focus(brief, drop["what"].strip(" ."))
    add = _ADD.match(part)
    focus = details.focus or ([tidy(add["what"].strip(" ."), 80)] if add else [])
    if not focus:
        return None
    return merge(brief, Details(focus=focus)), f"{listing(focus)} will be in it"


def _take(brief: Brief, details: Details) -> tuple[Brief, str]:
    """Take over what a wish says. A new length also gives a new number of slides, unless that was asked for too."""
    said = details.said()
    changed = merge(brief, details)
    if "duration_min" in said and "slide_count" not in said:
        changed = replace(changed, slide_count=None)
    notes = []
    if "duration_min" in said:
        notes.append(f"{spell_duration(duration_of(changed))} and so {count_of(slide_count_of(changed), 'slide')}")
    if "slide_count" in said:
        notes.append(count_of(slide_count_of(changed), "slide"))
    if "audience" in said:
        notes.append(f"for {speak_of(audience_of(changed))}")
    if "tone" in said:
        notes.append(f"a {family_of(changed.tone) if changed.tone is None else changed.tone} tone")
    if "purpose" in said:
        notes.append(f"the goal is to {changed.purpose}")
    return changed, listing(notes)


def _scale(brief: Brief, factor: float) -> tuple[Brief, str]:
    count = slide_count_of(brief)
    wanted = _clamp(min(count - 1, round(count * factor)) if factor < 1 else max(count + 1, round(count * factor)))
    minutes = min(MAX_DURATION_MIN, max(1, round(duration_of(brief) * wanted / count)))
    changed = replace(brief, slide_count=wanted, duration_min=minutes)
    return changed, f"{count_of(wanted, 'slide')} in {spell_duration(minutes)}"


def _drop_focus(brief: Brief, what: str) -> tuple[Brief, str] | None:
    kept = tuple(point for point in brief.focus if what.casefold() not in point.casefold())
    return (replace(brief, focus=kept), f"{what} is left out") if kept != brief.focus else None


def says_change(words: str) -> bool:
    """Whether a wish names something about a plan that can be changed."""
    return bool(change_plan(Brief(topic="", kind="general"), words).done)
