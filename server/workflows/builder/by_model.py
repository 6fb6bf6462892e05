"""The builder's steps by a language model. Where its answer is no use, the rules' answer stands, and says so.

The rules keep what is theirs: buttons, lines that can mean only one thing, and what is said around the work.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from server.assistant import Assistant, Usage, classifier
from server.assistant.objects import Drafted, Fit, Unfit
from server.assistant.prompts import CLASSIFIER
from server.workflows.builder import by_rules, writer
from server.workflows.builder.drafts import brief_of, plan_of, refined_of, strawman_of
from server.workflows.builder.rules import plan, replies, slides
from server.workflows.builder.rules.consent import read_consent
from server.workflows.builder.rules.intents import HELP, read_intent, read_plain_intent, read_topic_line
from server.workflows.builder.rules.wording import clean, has_words
from server.workflows.table import STALE, Ask, Delta, Frame, Output, Progress, Remember, Turn, chat

#: A step has its own limit of time, which the assistant keeps; no call needs another one.
_DEADLINE_MS: Final = 3_600_000
_OWN_RULES: Final = "I could not read what the model wrote, so this is by my own rules."
_PLAN_NOW: Final = "This is the plan now:"
_LEFT_SLIDES: Final = "I could not make that change, so I left the slides as they are. Please put it differently."
#: What the classifier is told of the intents.
_MEANINGS: Final = {
    "Submit_Initial_Topic": "names what a presentation should be about",
    "Submit_Clarification_Answers": "answers one or more of the questions that were asked, or leaves them to us",
    "Accept_Plan": "agrees to the plan as it is",
    "Reject_Plan": "does not want the plan, without saying what should be different",
    "Change_Parameter": "says what should be different in the plan",
    "Accept_Strawman": "agrees to the slides as they are",
    "Submit_Refinement_Request": "says what should be different in the slides, or that something should be",
    "Change_Topic": "wants another presentation instead, or to begin anew",
    "Ask_Help_Or_Question": "asks something, greets, thanks, or says something that moves nothing",
}
#: What a line may do that only the rules have read, as the classifier could not be asked: go on, and nothing else.
_GOES_ON: Final = frozenset({"Submit_Initial_Topic", "Submit_Clarification_Answers"})


async def ask_questions(turn: Turn, assistant: Assistant) -> AsyncIterator[Output]:
    """Take a topic, forget what belonged to another one, and ask what the model wants to know."""
    line = clean(read_topic_line(turn.line.words), plan.MAX_KEPT_CHARS).strip()
    yield Remember({"user_initial_request": line or None, **by_rules.FORGET_REST})
    if not has_words(line):
        yield chat(replies.ASK_TOPIC)
        return
    asked = await writer.write_questions(assistant, turn.window(), deadline_ms=_DEADLINE_MS)
    if isinstance(asked, Unfit):
        for output in by_rules.ask_questions(turn):
            yield output
        return
    yield chat(asked.value.introduction, list_items=asked.value.questions)


async def make_plan(turn: Turn, assistant: Assistant) -> AsyncIterator[Output]:
    """Make a plan of everything that was said, or change it as the person wishes."""
    is_first = turn.came_from == "ASK_CLARIFYING_QUESTIONS"
    words = clean(turn.line.words, plan.MAX_KEPT_CHARS).strip()
    if not is_first and (not has_words(words) or read_consent(words) is not None):
        yield chat(replies.CHANGE_PLAN)
        yield Ask(replies.PLAN_PROMPT)
        return
    yield Progress("Making a plan", 10)
    known = {name: turn.memory[name] for name in _KNOWN if turn.memory.get(name)}
    outcome = await writer.write_plan(assistant, turn.window(), deadline_ms=_DEADLINE_MS, known=known)
    if isinstance(outcome, Unfit):
        yield chat(_OWN_RULES)
        for output in by_rules.make_plan(turn):
            yield output
        return
    if is_first:
        yield Remember({"clarifying_answers": {"raw_answers": words, "understood": _understood(outcome)}})
    made, brief = plan_of(outcome.value), brief_of(outcome.value)
    yield Remember({"confirmation_plan": made})
    text = replies.introduce_plan(brief, None) if is_first else _PLAN_NOW
    yield chat(text, sub_title="The plan", list_items=made["key_assumptions"])
    yield Ask(replies.PLAN_PROMPT)


#: What a plan is made of besides the window.
_KNOWN: Final = ("user_initial_request", "clarifying_answers", "confirmation_plan")


async def generate_slides(turn: Turn, assistant: Assistant) -> AsyncIterator[Output]:
    """Write the slides of the plan; each one that is written is progress."""
    brief = plan.recall_brief(turn.memory)
    count = plan.slide_count_of(brief)
    yield Progress("Writing the slides", 0)
    draft: Fit[Any] | Unfit | None = None
    async with aclosing(writer.write_slides(assistant, brief, deadline_ms=_DEADLINE_MS)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Drafted):
                yield _slide_of(outcome, count)
            else:
                draft = outcome
    if not isinstance(draft, Fit):
        yield chat(_OWN_RULES)
        async for output in by_rules.generate_slides(turn):
            yield output
        return
    strawman = strawman_of(draft.value, brief)
    deck_id, deck_url = by_rules.new_deck(turn)
    yield Remember({"presentation_strawman": slides.pack_strawman(strawman, deck_id, deck_url)})
    yield Frame("slide_update", slides.slide_update(strawman, deck_id, deck_url), deck_id)
    yield chat(replies.introduce_slides(strawman, deck_url))
    yield Ask(replies.SLIDES_PROMPT)


async def refine_slides(turn: Turn, assistant: Assistant) -> AsyncIterator[Output]:
    """Change the slides as the person wishes; what cannot be done changes nothing."""
    strawman = slides.recall_strawman(turn.memory)
    wish = clean(turn.line.words, plan.MAX_KEPT_CHARS).strip()
    if not has_words(wish) or read_consent(wish) is not None:
        yield chat(replies.CHANGE_SLIDES)
        yield Ask(replies.SLIDES_PROMPT)
        return
    yield Progress("Reading your wishes", 0)
    draft: Fit[Any] | Unfit | None = None
    async with aclosing(writer.refine_slides(assistant, strawman, wish, deadline_ms=_DEADLINE_MS)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Drafted):
                yield _slide_of(outcome, len(strawman.slides))
            else:
                draft = outcome
    refined = refined_of(draft.value, strawman) if isinstance(draft, Fit) else None
    if refined is None or not refined.done:
        yield chat(_LEFT_SLIDES if refined is None else replies.refuse_refinement(refined))
        yield Ask(replies.SLIDES_PROMPT)
        return
    deck_id, deck_url = by_rules.new_deck(turn)
    yield Remember({"presentation_strawman": slides.pack_strawman(refined.strawman, deck_id, deck_url)})
    yield Frame("slide_update", slides.slide_update(refined.strawman, deck_id, deck_url, refined.affected), deck_id)
    yield chat(replies.describe_refinement(refined, deck_url), list_items=replies.list_changes(refined))
    yield Ask(replies.SLIDES_PROMPT)


async def answer(turn: Turn, assistant: Assistant) -> AsyncIterator[Output]:
    """Answer a line that leaves the state as it is; an open choice is put again, so that its buttons stay near."""
    if turn.intent == STALE:
        for output in by_rules.answer(turn):
            yield output
        return
    system, said = turn.prompting.chat_system, ""
    pieces = writer.answer(assistant, turn.window(system), state=turn.state, deadline_ms=_DEADLINE_MS, system=system)
    async with aclosing(pieces):
        async for piece in pieces:
            if not isinstance(piece, Usage):
                said += piece
                yield Delta(piece)
    yield chat(said if said.strip() else replies.answer_question(turn.state, turn.line.text, turn.memory))
    if turn.state in replies.PROMPTS:
        yield Ask(replies.PROMPTS[turn.state])


async def classify(turn: Turn, assistant: Assistant, allowed: Sequence[str]) -> str:
    """Name the intent of free text: by the rules where it can mean only one thing, else as the model says.

    Without an answer of the model, a line only goes on or is talked about: it never begins anything again.
    """
    plain_intent = read_plain_intent(turn.line.text, allowed)
    if plain_intent is not None:
        return plain_intent
    limit = turn.prompting.classifier_context_limit
    outcome = await classifier.classify(
        assistant,
        turn.line.text,
        turn.messages[-limit:] if limit else (),
        allowed,
        meanings={intent: _MEANINGS[intent] for intent in allowed if intent in _MEANINGS},
        system=turn.prompting.classifier_system or CLASSIFIER,
    )
    if isinstance(outcome, classifier.Classified):
        return outcome.intent if outcome.intent in allowed else HELP
    guess = read_intent(turn.line.text, allowed, has_topic=bool(turn.memory.get("user_initial_request")))
    return guess if guess in _GOES_ON else HELP


def _slide_of(drafted: Drafted, count: int) -> Progress:
    number = min(drafted.items, count)
    return Progress(f"Slide {number} of {count}", 100 * number // (count + 1))


def _understood(outcome: Fit[Any]) -> dict[str, Any]:
    return plan.understood(brief_of(outcome.value))
