"""Clarifying questions: what is worth asking about a topic, and only what was not said yet."""

from typing import Final, NamedTuple

from server.workflows.builder.rules.amounts import spell_duration
from server.workflows.builder.rules.audience import speak_of
from server.workflows.builder.rules.brief import Brief
from server.workflows.builder.rules.kinds import is_clause
from server.workflows.builder.rules.wording import capitalise, plain

MAX_QUESTIONS: Final = 5


class Question(NamedTuple):
    """A question, and the field of the brief that its answer fills."""

    key: str
    text: str


#: Kind → what is worth asking of it. {topic} is the topic as it was written.
_OF_KIND: Final[dict[str, tuple[Question, ...]]] = {
    "figure": (
        Question("focus", "Which side of {topic} matters most: the stories, the teachings, or the festivals and art?"),
        Question("purpose", "Should people come away with a favourite story, or with a lesson for their own life?"),
    ),
    "person": (
        Question("focus", "Which part of the story of {topic} matters most: early years, achievements or legacy?"),
        Question("purpose", "What should people take away from {topic}?"),
    ),
    "results": (
        Question("focus", "Which figures or results must be shown, and which period do they cover?"),
        Question("purpose", "Is it for information, or does a decision have to be taken at the end?"),
    ),
    "pitch": (
        Question("focus", "What makes {topic} different, in one sentence, and do you have figures that prove it?"),
        Question("purpose", "What do you want at the end: an investment, a customer, a partner?"),
    ),
    "product": (
        Question("focus", "Which two or three things about {topic} must nobody forget?"),
        Question("purpose", "What should people do next: try it, buy it, approve it?"),
    ),
    "proposal": (
        Question("focus", "Which problem does {topic} solve, and what would it cost?"),
        Question("purpose", "Which decision do you need at the end?"),
    ),
    "training": (
        Question("focus", "What should people be able to do on their own afterwards?"),
        Question("purpose", "How much do they know about {topic} already, and will they practise during the session?"),
    ),
    "science": (
        Question(
            "focus", "Which questions about {topic} should be answered: how it works, why it matters, what comes next?"
        ),
        Question("purpose", "How deep should it go: everyday examples, or the science behind them?"),
    ),
    "technology": (
        Question("focus", "What about {topic} matters most: how it works, what it is used for, or its risks?"),
        Question("purpose", "Should people understand {topic}, or decide whether to use it?"),
    ),
    "history": (
        Question("focus", "Which period, people or turning points of {topic} must be in it?"),
        Question("purpose", "Should it tell what happened, or also why it still matters today?"),
    ),
    "health": (
        Question("focus", "Which side of {topic} matters most: causes, signs, prevention or treatment?"),
        Question("purpose", "What should people do differently afterwards?"),
    ),
    "place": (
        Question("focus", "What should it show of {topic}: sights, culture, food, or planning a visit?"),
        Question("purpose", "Is it to plan a trip, to share one, or to introduce {topic}?"),
    ),
    "event": (
        Question("focus", "What must be in it: the programme, the people, the budget, the meaning of {topic}?"),
        Question("purpose", "Should people decide something, help with something, or simply look forward to it?"),
    ),
    "lesson": (
        Question("focus", "What should everybody know or be able to do about {topic} afterwards?"),
        Question("purpose", "Which grade or level is it for, and should there be an exercise or a quiz?"),
    ),
    "culture": (
        Question("focus", "What about {topic} should be in it: how it began, great examples, how to enjoy it?"),
        Question("purpose", "Do people know {topic} already, or is this their first encounter?"),
    ),
    "general": (
        Question("focus", "What are the two or three points about {topic} that must be in it?"),
        Question("purpose", "What should people think, feel or do afterwards?"),
    ),
}
_AUDIENCE: Final = Question("audience", "Who will listen to your presentation on {topic}, and about how many people?")
_DURATION: Final = Question("duration_min", "How long do you have (for example 10, 20 or 45 minutes)?")
_TONE: Final = Question("tone", "Which tone would suit: fun, friendly, inspiring, formal or technical?")
_COUNT: Final = Question(
    "slide_count", "Is there a number of slides you would like, or shall I work it out from the time?"
)


def choose_questions(brief: Brief) -> tuple[Question, ...]:
    """Three to five questions about what the brief leaves open, the most important first."""
    focus, purpose = _OF_KIND.get(brief.kind, _OF_KIND["general"])
    open_now = [
        question for question in (_AUDIENCE, _DURATION, focus, _TONE, purpose) if not _is_known(brief, question)
    ]
    if len(open_now) < 3 and brief.slide_count is None:
        open_now.append(_COUNT)
    # Three at least: the way this topic is seen is always worth a question.
    open_now += [question for question in (focus, purpose, _TONE) if question not in open_now][
        : max(0, 3 - len(open_now))
    ]
    topic = "this topic" if is_clause(brief.topic) else plain(brief.topic)
    return tuple(Question(key, text.format(topic=topic)) for key, text in open_now[:MAX_QUESTIONS])


def introduce_questions(brief: Brief) -> str:
    """The sentence before the questions; it says what is known already."""
    known = _say_known(brief)
    topic = plain(capitalise(brief.topic) if is_clause(brief.topic) else brief.topic)
    if known:
        return f"Good, a presentation on **{topic}** {known}. A few questions, so that it fits:"
    return f"A presentation on **{topic}** – good choice. A few questions first, so that it fits:"


def _is_known(brief: Brief, question: Question) -> bool:
    return bool(getattr(brief, question.key))


def _say_known(brief: Brief) -> str:
    known = []
    if brief.audience:
        known.append(f"for {plain(speak_of(brief.audience))}")
    if brief.duration_min:
        known.append(f"in {spell_duration(brief.duration_min)}")
    if brief.slide_count:
        known.append(f"with {brief.slide_count} slides")
    if brief.tone:
        known.append(f"in a {brief.tone} tone")
    return ", ".join(known)
