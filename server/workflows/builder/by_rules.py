"""The builder's steps by rules, without a model. What they say and think is in `rules`."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from server.workflows.builder.frames import DECK
from server.workflows.builder.rules import plan, questions, replies, slides
from server.workflows.builder.rules.intents import read_intent, read_topic_line
from server.workflows.builder.rules.refine import refine
from server.workflows.builder.rules.slide import Slide
from server.workflows.builder.rules.topic import read_request
from server.workflows.builder.rules.wording import clean
from server.workflows.table import STALE, Ask, Frame, Output, Progress, Remember, Turn, chat

#: What belongs to a topic, and goes with it.
FORGET_REST: Final[dict[str, None]] = dict.fromkeys(
    ("clarifying_answers", "confirmation_plan", "presentation_strawman", "presentation_url")
)


def greet(turn: Turn) -> Iterator[Output]:
    """Say hello, once in the life of a session."""
    yield chat(replies.GREETING)


def ask_questions(turn: Turn) -> Iterator[Output]:
    """Take a topic, forget what belonged to another one, and ask what is not known yet."""
    line = clean(read_topic_line(turn.line.words), plan.MAX_KEPT_CHARS).strip()
    request = read_request(line)
    yield Remember({"user_initial_request": line if request.topic else None, **FORGET_REST})
    if not request.topic:
        yield chat(replies.ASK_TOPIC)
        return
    asked = questions.choose_questions(request)
    yield chat(questions.introduce_questions(request), list_items=[question.text for question in asked])


def make_plan(turn: Turn) -> Iterator[Output]:
    """Make a plan of the answers, or change it as the person wishes."""
    brief, change = plan.recall_brief(turn.memory), None
    if turn.came_from == "ASK_CLARIFYING_QUESTIONS":
        brief = plan.read_answers(brief, turn.line.words)
        raw = clean(turn.line.words, plan.MAX_KEPT_CHARS)
        yield Remember({"clarifying_answers": {"raw_answers": raw, "understood": plan.understood(brief)}})
    else:
        change = plan.change_plan(brief, turn.line.words)
        if not change.done:
            yield chat(replies.refuse_plan_change(turn.line.words, change.missed))
            yield Ask(replies.PLAN_PROMPT)
            return
        brief = change.brief
    made = plan.make_plan(brief)
    yield Remember({"confirmation_plan": made})
    yield chat(replies.introduce_plan(brief, change), sub_title="The plan", list_items=made["key_assumptions"])
    yield Ask(replies.PLAN_PROMPT)


async def generate_slides(turn: Turn) -> AsyncIterator[Output]:
    """Write the slides of the plan, one by one."""
    brief = plan.recall_brief(turn.memory)
    count, written = plan.slide_count_of(brief), list[Slide]()
    for slide in slides.write_slides(brief):
        written.append(slide)
        yield Progress(f"Slide {len(written)} of {count}: {slide.title}", 100 * len(written) // (count + 1))
    strawman = slides.assemble(brief, written)
    deck_id, deck_url = new_deck(turn)
    yield Remember({"presentation_strawman": slides.pack_strawman(strawman, deck_id, deck_url)})
    yield Frame("slide_update", slides.slide_update(strawman, deck_id, deck_url), deck_id)
    yield chat(replies.introduce_slides(strawman, deck_url))
    yield Ask(replies.SLIDES_PROMPT)


async def refine_slides(turn: Turn) -> AsyncIterator[Output]:
    """Change the slides as the person wishes; what is not understood changes nothing."""
    yield Progress("Reading your wishes", 10)
    refined = refine(slides.recall_strawman(turn.memory), turn.line.words)
    if not refined.done:
        yield chat(replies.refuse_refinement(refined))
        yield Ask(replies.SLIDES_PROMPT)
        return
    yield Progress("Putting the slides in order", 80)
    deck_id, deck_url = new_deck(turn)
    yield Remember({"presentation_strawman": slides.pack_strawman(refined.strawman, deck_id, deck_url)})
    yield Frame("slide_update", slides.slide_update(refined.strawman, deck_id, deck_url, refined.affected), deck_id)
    yield chat(replies.describe_refinement(refined, deck_url), list_items=replies.list_changes(refined))
    yield Ask(replies.SLIDES_PROMPT)


async def finish(turn: Turn) -> AsyncIterator[Output]:
    """Give the presentation its final address."""
    yield Progress("Putting the presentation online", 60)
    strawman, deck_id, deck_url = slides.recall_strawman(turn.memory), *slides.recall_deck(turn.memory)
    if not deck_id:  # a session from before this server: its deck is not one that we can show yet
        deck_id, deck_url = new_deck(turn)
        yield Frame("slide_update", slides.slide_update(strawman, deck_id, deck_url), deck_id)
        yield Remember({"presentation_strawman": slides.pack_strawman(strawman, deck_id, deck_url)})
    message, text = replies.announce_deck(strawman, deck_url)
    yield Remember({"presentation_url": deck_url})
    count = len(strawman.slides)
    yield Frame(
        "presentation_url", {"url": deck_url, "presentation_id": deck_id, "slide_count": count, "message": message}
    )
    yield chat(text)


def answer(turn: Turn) -> Iterator[Output]:
    """Answer a line that leaves the state as it is; an open choice is put again, so that its buttons stay near."""
    if turn.intent == STALE:
        yield chat(replies.answer_stale(turn.state, turn.memory))
    else:
        yield chat(replies.answer_question(turn.state, turn.line.text, turn.memory))
    if turn.state in replies.PROMPTS:
        yield Ask(replies.PROMPTS[turn.state])


def classify(turn: Turn, allowed: Sequence[str]) -> str:
    """Name the intent of free text."""
    return read_intent(turn.line.text, allowed, has_topic=bool(turn.memory.get("user_initial_request")))


def new_deck(turn: Turn) -> tuple[str, str]:
    """The id of a new deck, which is the id of the frame that carries its slides, and its address."""
    deck_id = turn.new_id()
    return deck_id, DECK.address(turn.public_url, deck_id)
