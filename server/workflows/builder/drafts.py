"""What a model writes for the builder, as forms that are checked, and what the builder makes of them.

The builder keeps and shows the same things from either writer: a Brief, a plan, a Strawman, as the rules have them.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from server.workflows.builder.rules.brief import MAX_SLIDES, MIN_SLIDES, Brief
from server.workflows.builder.rules.kinds import find_kind
from server.workflows.builder.rules.plan import make_plan
from server.workflows.builder.rules.refine import Refined
from server.workflows.builder.rules.slide import Slide
from server.workflows.builder.rules.slides import Strawman
from server.workflows.builder.rules.wording import tidy

Words = Annotated[str, Meta(min_length=1, max_length=120)]
Sentence = Annotated[str, Meta(min_length=1, max_length=400)]
Kind = Literal[
    "title_slide",
    "agenda",
    "content_heavy",
    "visual_heavy",
    "data_driven",
    "diagram_focused",
    "conclusion_slide",
    "qa_slide",
]


class Questions(Struct, frozen=True):
    """The topic as the person means it, and the questions to ask before planning."""

    topic: Words
    introduction: Annotated[Sentence, Meta(description="One friendly sentence before the questions.")]
    questions: Annotated[list[Sentence], Meta(min_length=2, max_length=5)]


class Plan(Struct, frozen=True):
    """The plan of a presentation, from everything that the person has said."""

    topic: Words
    audience: Words
    duration_min: Annotated[int, Meta(ge=1, le=240, description="Minutes of the whole presentation.")]
    tone: Words
    purpose: Words
    slide_count: Annotated[int, Meta(ge=MIN_SLIDES, le=MAX_SLIDES)]
    focus: Annotated[list[Words], Meta(max_length=6, description="What must be in it, a few words each.")]
    assumptions: Annotated[
        list[Sentence], Meta(min_length=2, max_length=8, description="What the plan takes for granted.")
    ]


class SlideDraft(Struct, frozen=True):
    """One slide. Of chart, picture and diagram, only what this slide needs; else null."""

    slide_type: Kind
    title: Words
    narrative: Annotated[Sentence, Meta(description="What this slide is for, in one sentence.")]
    key_points: Annotated[list[Sentence], Meta(max_length=6)]
    analytics_needed: Annotated[Sentence | None, Meta(description="The chart and its figures.")] = None
    visuals_needed: Annotated[Sentence | None, Meta(description="The picture.")] = None
    diagrams_needed: Annotated[Sentence | None, Meta(description="The diagram.")] = None
    speaker_notes: Annotated[str, Meta(max_length=1_500)] = ""
    slide_id: Annotated[str | None, Meta(description="The id of the slide that this one was; null for a new one.")] = (
        None
    )


class Slides(Struct, frozen=True):
    """A whole presentation."""

    main_title: Words
    overall_theme: Sentence
    design_suggestions: Sentence
    slides: Annotated[list[SlideDraft], Meta(min_length=1, max_length=MAX_SLIDES)]


class Changes(Struct, frozen=True):
    """A presentation after the person's wish: all of its slides, the changed and the others."""

    done: Annotated[list[Sentence], Meta(max_length=12, description="What was changed; empty if nothing could be.")]
    not_done: Annotated[list[Sentence], Meta(max_length=12, description="What could not be done, and why.")]
    slides: Annotated[list[SlideDraft], Meta(min_length=1, max_length=MAX_SLIDES)]


def brief_of(plan: Plan) -> Brief:
    """What the builder remembers of a plan."""
    topic = tidy(plan.topic, 120)
    return Brief(
        topic=topic,
        kind=find_kind(topic),
        audience=plan.audience,
        duration_min=plan.duration_min,
        tone=plan.tone,
        purpose=plan.purpose,
        slide_count=plan.slide_count,
        focus=tuple(plan.focus),
    )


def plan_of(plan: Plan) -> dict[str, Any]:
    """The plan as memory keeps it and the person reads it."""
    return {**make_plan(brief_of(plan)), "key_assumptions": list(plan.assumptions)}


def strawman_of(draft: Slides, brief: Brief) -> Strawman:
    """The presentation as the builder has it, its slides numbered and named."""
    return Strawman(draft.main_title, draft.overall_theme, draft.design_suggestions, _slides(draft.slides, ()), brief)


def refined_of(changes: Changes, before: Strawman) -> Refined:
    """What became of a wish. A slide keeps the id that it had; an id that the model made up is none.

    What the model says it did counts only if a slide differs.
    """
    slides = _slides(changes.slides, before.slides)
    same_places = [slide.slide_id for slide in slides] == [slide.slide_id for slide in before.slides]
    changed = tuple(slide.slide_id for slide in slides if slide not in before.slides)
    done = tuple(changes.done) if slides != before.slides else ()
    after = replace(before, slides=slides) if done else before
    return Refined(after, done, tuple(changes.not_done), (), changed if same_places else None)


def _slides(drafts: Sequence[SlideDraft], before: Sequence[Slide]) -> tuple[Slide, ...]:
    known = {slide.slide_id: slide for slide in before}
    taken = frozenset(known)
    fresh = (name for number in count(1) if (name := f"slide_{number:03}") not in taken)
    slides: list[Slide] = []
    for number, draft in enumerate(drafts, 1):
        was = known.pop(draft.slide_id or "", None)  # a second slide with the same id is a new one
        slide = Slide(
            slide_id=was.slide_id if was else next(fresh),
            slide_number=number,
            slide_type=draft.slide_type,
            title=draft.title,
            narrative=draft.narrative,
            key_points=tuple(draft.key_points),
            analytics_needed=draft.analytics_needed,
            visuals_needed=draft.visuals_needed,
            diagrams_needed=draft.diagrams_needed,
            structure_preference=was.structure_preference if was else None,
            speaker_notes=draft.speaker_notes,
        )
        slides.append(slide)
    return tuple(slides)
