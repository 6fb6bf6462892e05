"""The builder: from a topic to a presentation, in six states. Its steps are here twice: by a model, and by rules."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from server.assistant import Assistant
from server.workflows.builder import by_model, by_rules
from server.workflows.builder.frames import DECK, FRAMES
from server.workflows.table import STAY, Button, Output, State, Step, Turn, Workflow


def either(rules: Step, model: Callable[[Turn, Assistant], AsyncIterator[Output]]) -> Step:
    """The step that answers with the model where there is one, else by the rules."""
    return lambda turn: rules(turn) if turn.assistant is None else model(turn, turn.assistant)


def classify(turn: Turn, allowed: Sequence[str]) -> Coroutine[Any, Any, str] | str:
    """Name the intent of free text."""
    if turn.assistant is None:
        return by_rules.classify(turn, allowed)
    return by_model.classify(turn, turn.assistant, allowed)


_ask_questions = either(by_rules.ask_questions, by_model.ask_questions)
_make_plan = either(by_rules.make_plan, by_model.make_plan)
_generate_slides = either(by_rules.generate_slides, by_model.generate_slides)
_refine_slides = either(by_rules.refine_slides, by_model.refine_slides)
_answer = either(by_rules.answer, by_model.answer)


def summary(memory: Mapping[str, Any]) -> dict[str, Any]:
    """What a client is told of a session's deck when it connects; the address only once the deck is final."""
    strawman, url = memory.get("presentation_strawman"), memory.get("presentation_url")
    if not isinstance(strawman, Mapping) or not strawman:
        return {"has_strawman": False}
    slides = strawman.get("slides")
    final = {"presentation_url": url, "presentation_id": strawman.get("preview_presentation_id")} if url else {}
    return {"has_strawman": True, **final, "slide_count": len(slides) if isinstance(slides, list) else 0}


def legacy_state(state: str, memory: Mapping[str, Any]) -> str:
    """The state for the existing frontend, which repaints a finished deck only in one of a name of its own."""
    return "CONTENT_GENERATED" if "presentation_url" in summary(memory) else state


_PLAN_BUTTONS = (
    Button("accept_plan", "Yes, let's build it!", "Accept_Plan", primary=True),
    Button("reject_plan", "I'd like to make changes", "Reject_Plan", requires_input=True),
)
_SLIDES_BUTTONS = (
    Button("accept_strawman", "Looks perfect!", "Accept_Strawman", primary=True),
    Button("request_refinement", "Make some changes", "Submit_Refinement_Request", requires_input=True),
)
_TO_PLAN = {"Reject_Plan": "CREATE_CONFIRMATION_PLAN", "Change_Parameter": "CREATE_CONFIRMATION_PLAN"}
_FROM_SLIDES = {"Accept_Strawman": "CONTENT_GENERATION", "Submit_Refinement_Request": "REFINE_STRAWMAN"}

BUILDER = Workflow(
    "builder",
    start="PROVIDE_GREETING",
    states=[
        State("PROVIDE_GREETING", by_rules.greet, on={"Submit_Initial_Topic": "ASK_CLARIFYING_QUESTIONS"}),
        State(
            "ASK_CLARIFYING_QUESTIONS",
            _ask_questions,
            on={"Submit_Clarification_Answers": "CREATE_CONFIRMATION_PLAN"},
        ),
        State(
            "CREATE_CONFIRMATION_PLAN",
            _make_plan,
            on={"Accept_Plan": "GENERATE_STRAWMAN", **_TO_PLAN},
            buttons=_PLAN_BUTTONS,
        ),
        State(
            "GENERATE_STRAWMAN",
            _generate_slides,
            on=_FROM_SLIDES,
            buttons=_SLIDES_BUTTONS,
        ),
        State(
            "REFINE_STRAWMAN",
            _refine_slides,
            on=_FROM_SLIDES,
            buttons=_SLIDES_BUTTONS,
        ),
        State("CONTENT_GENERATION", by_rules.finish, final=True),
    ],
    always={"Change_Topic": "ASK_CLARIFYING_QUESTIONS", "Ask_Help_Or_Question": STAY},
    fallback="Ask_Help_Or_Question",
    classify=classify,
    answer=_answer,
    summary=summary,
    legacy_state=legacy_state,
    frames=FRAMES,
    page=DECK,
)
