"""Replies: what we say around the work, and the answers to questions about it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.workflows.builder.rules.brief import Brief
from server.workflows.builder.rules.plan import PlanChange, slide_count_of
from server.workflows.builder.rules.refine import Refined
from server.workflows.builder.rules.slides import Strawman, describe_count
from server.workflows.builder.rules.wording import bold, capitalise, count_of, listing, plain

GREETING: Final = (
    "Hello! Tell me what you would like to present, and I will plan it with you: a few questions, then an outline, "
    "then "
    "the slides.\n\nA word or two is enough, such as *renewable energy*. If you know more already, say it too: "
    "*the history of tea, for my class, 15 minutes*."
)
ASK_TOPIC: Final = "Of course. What should the new presentation be about?"
PLAN_PROMPT: Final = "Shall I build the slides like this?"
SLIDES_PROMPT: Final = "How do the slides look to you?"
#: What is asked along with the buttons of a state.
PROMPTS: Final = {
    "CREATE_CONFIRMATION_PLAN": PLAN_PROMPT,
    "GENERATE_STRAWMAN": SLIDES_PROMPT,
    "REFINE_STRAWMAN": SLIDES_PROMPT,
}
CHANGE_PLAN: Final = (
    "Gladly: what should be different? For example *make it 20 minutes*, *for adults*, *12 slides* or *more playful*."
)
CHANGE_SLIDES: Final = (
    "Gladly: what should I change? For example *make slide 3 about rivers*, *remove slide 4*, *swap slides 2 and 3*, "
    "*add a slide on costs* or *more formal*."
)
_TOPICS_ONLY: Final = (
    "Just tell me the topic: for example *Krishna*, *how to bake bread* or *our results in the third quarter*."
)
_WHERE: Final = {
    "PROVIDE_GREETING": _TOPICS_ONLY,
    "ASK_CLARIFYING_QUESTIONS": "Answer as many of my questions as you like, in one message: for example *children, "
    "10 minutes, "
    "fun*. Or say *you decide*, and I will choose.",
    "CREATE_CONFIRMATION_PLAN": "The plan above is waiting for you: accept it, or tell me what should be different.",
    "GENERATE_STRAWMAN": "The slides are ready for you: accept them, or tell me what to change.",
    "REFINE_STRAWMAN": "The slides are ready for you: accept them, or tell me what to change.",
}
_NO_TOPIC_YET: Final = "I am waiting for the new topic: just tell me what it should be about."

#: What people ask, and what we say to it. The first that fits counts.
_ANSWERS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), answer)
    for pattern, answer in (
        (r"^\W*(?:thanks?|thank you|thx|many thanks|cheers)\b", "You are welcome!"),
        (r"^\W*(?:bye|goodbye|good night)\b", "Goodbye! Everything stays as it is; come back whenever you like."),
        (r"\bhow are you\b", "Very well, thank you."),
        (
            r"^\W*(?:hi+|hello|hey\w*|hallo|hola|bonjour|namaste|ciao|good (?:morning|afternoon|evening|day))\b",
            "Hello!",
        ),
        (
            r"\b(?:pdf|print|export|download|power\s?point|pptx|keynote file)\b",
            "The finished presentation opens in the browser, at an address of its own; from there you can print it or "
            "save it as a PDF, one slide a page. I do not make PowerPoint files.",
        ),
        (
            r"\b(?:save[ds]?|lose|lost|refresh|reload|close (?:the|this)|come back|later|another device)\b",
            "Everything you write and everything I answer is saved at once. You can close this page and come back "
            "later; "
            "we go on exactly where we were.",
        ),
        (
            r"\b(?:who|what) are you\b|\bare you (?:an? )?(?:ai|bot|human|robot|real)\b|\byour name\b",
            "I am the assistant of this service: a set of rules that plans presentations, no language model. I do not "
            "look facts up; I give you a structure, and you know your topic.",
        ),
        (
            r"\bhow many slides\b|\bnumber of slides\b|\bhow long\b",
            "I work the number of slides out from your time: one for every one and a half to two minutes, 30 at "
            "most. Say "
            "*12 slides* or *20 minutes* to set it.",
        ),
        (
            r"\b(?:share|send|link|url|address)\b",
            "The finished presentation gets an address of its own that you can share.",
        ),
        (
            r"\b(?:undo|go back|revert|previous version)\b",
            "I cannot take a change back by itself; tell me what it should be, and I will change it again.",
        ),
        (
            r"\b(?:languages?|german|french|spanish|hindi|translate)\b",
            "I write in English. Your own words, in whatever language, stay as you wrote them.",
        ),
        (
            r"\b(?:change|edit|different|modify)\b",
            "You can change everything: the plan before I build, and then each slide. To start something else, say "
            "*new topic* and what it is about.",
        ),
        (
            r"\bwhat (?:can|do) you do\b|\bhow (?:does|do) (?:this|it|that|you) work\b|\bhelp\b|\bwhat (?:now|next)\b|"
            r"\b(?:lost|confused|stuck)\b|\bhow (?:do|can|should) i (?:start|begin|use)\b|\bwhat (?:can|should|do) i\b",
            "I turn a topic into a presentation in four steps: I ask a few questions, suggest a plan, write the "
            "slides, and "
            "change them until you like them.",
        ),
    )
)


def introduce_plan(brief: Brief, change: PlanChange | None) -> str:
    """The sentence above a plan: what it is, or what changed in it."""
    if change is None:
        slides = count_of(slide_count_of(brief), "slide")
        return f"This is how I would build your presentation on {bold(brief.topic)}, in {slides}:"
    return f"Changed: {plain(listing(change.done))}. This is the plan now.{_say_missed(change.missed)}"


def refuse_plan_change(words: str, missed: Sequence[str]) -> str:
    """What to say when nothing of a wish about the plan was understood."""
    return f"{_say_missed(missed).strip()} {CHANGE_PLAN}".strip() if words.strip() and missed else CHANGE_PLAN


def introduce_slides(strawman: Strawman, deck_url: str) -> str:
    """What to say under new slides."""
    return (
        f"Your draft is ready: {describe_count(strawman)}, {plain(strawman.overall_theme).lower()}. "
        f"[Open it]({deck_url}) to leaf through it with the arrow keys."
    )


def describe_refinement(refined: Refined, deck_url: str) -> str:
    """What changed in the slides, what could not be done and what was not understood."""
    done = plain(capitalise(refined.done[0])) if len(refined.done) == 1 else "Done"
    text = f"{done}. [Open the new draft]({deck_url})."
    return text + _say_problems(refined) + _say_missed(refined.missed)


def list_changes(refined: Refined) -> list[str] | None:
    """The changes as a list, when there are several."""
    return [plain(capitalise(note)) for note in refined.done] if len(refined.done) > 1 else None


def refuse_refinement(refined: Refined) -> str:
    """What to say when nothing was changed."""
    reasons = f"{_say_problems(refined)}{_say_missed(refined.missed)}".strip()
    return f"{reasons} I left the slides as they are.\n\n{CHANGE_SLIDES}" if reasons else CHANGE_SLIDES


def announce_deck(strawman: Strawman, deck_url: str) -> tuple[str, str]:
    """The message of a `presentation_url`, and the text below it."""
    message = f"Your presentation is ready: {len(strawman.slides)} slides."
    text = (
        f"All done: [{plain(strawman.main_title)}]({deck_url}). The arrow keys turn the slides, *N* shows the notes, "
        "and "
        "printing gives one slide a page. To start another one, say *new topic* and what it is about."
    )
    return message, text


def answer_question(state: str, text: str, memory: Mapping[str, Any]) -> str:
    """A short answer to a line that changes nothing, and where we are."""
    known = next((answer for pattern, answer in _ANSWERS if pattern.search(text[:300])), None)
    where = describe_place(state, memory)
    if known:
        return f"{known} {where}"
    is_question = "?" in text[:300] and state != "PROVIDE_GREETING"
    opening = "That is more than I can answer: I plan presentations and do not look things up. " if is_question else ""
    return f"{opening}{where}"


def answer_stale(state: str, memory: Mapping[str, Any]) -> str:
    """What to say to a button that is no longer open."""
    return f"That choice is no longer open, so nothing has changed. {describe_place(state, memory)}"


def describe_place(state: str, memory: Mapping[str, Any]) -> str:
    """Where the conversation stands, and what can be said now."""
    if state == "CONTENT_GENERATION":
        url = memory.get("presentation_url")
        link = f"Your presentation is [finished]({url}), so it stays as it is. " if url else ""
        return f"{link}To start another one, say *new topic* and what it is about."
    if state == "ASK_CLARIFYING_QUESTIONS" and not memory.get("user_initial_request"):
        return _NO_TOPIC_YET
    return _WHERE.get(state, _TOPICS_ONLY)


def _say_missed(missed: Sequence[str]) -> str:
    quoted = [f"“{plain(part)}”" for part in missed[:3]]
    return f" I did not understand {listing(quoted)}." if quoted else ""


def _say_problems(refined: Refined) -> str:
    return "".join(f" {plain(capitalise(problem))}." for problem in refined.problems[:3])
