"""Writing slides: from a brief to a strawman, one slide after the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from server.workflows.builder.rules.amounts import spell_duration
from server.workflows.builder.rules.audience import group_of, label_of, speak_of
from server.workflows.builder.rules.brief import MAX_SLIDES, Brief, pack
from server.workflows.builder.rules.kinds import is_clause
from server.workflows.builder.rules.outlines import Outline, outlines_for
from server.workflows.builder.rules.plan import audience_of, duration_of, purpose_of, recall_brief, slide_count_of
from server.workflows.builder.rules.slide import Slide
from server.workflows.builder.rules.style import dress, share_min, suggest_look
from server.workflows.builder.rules.wording import capitalise, tidy

MAX_TITLE_CHARS: Final = 120
_TYPES: Final = {"visual": "visual_heavy", "data": "data_driven", "diagram": "diagram_focused"}
_LAYOUT: Final = {
    "visual_heavy": "Picture on the right, points on the left",
    "data_driven": "Chart in the middle, the message in the title",
    "diagram_focused": "Diagram across the slide, points below",
    "content_heavy": "Points on the left, an example on the right",
    "title_slide": "Large title, one line below it",
    "agenda": "Numbered list",
    "conclusion_slide": "Three points, large",
    "qa_slide": "One line, much space",
}
_TAGLINES: Final = {
    "figure": "stories and what they teach", "person": "a life and what it left behind",
    "science": "the science in plain words",
    "history": "what happened and why it matters", "technology": "uses, limits and chances", "place": "a first visit",
    "health": "what helps", "culture": "a first encounter",
}  # fmt: skip
_CLOSING: Final[dict[str, tuple[str, tuple[str, str, str]]]] = {
    "children": (
        "What do you remember?",
        ("Your favourite moment", "One new word or name", "What you will tell at home"),
    ),
    "executives": ("Decision and next steps", ("What we recommend", "What we need from you", "Who does what by when")),
    "investors": ("Our request, and what follows", ("What we offer", "What we ask for", "The next meeting")),
    "customers": ("How we go on from here", ("What you gain", "The easiest first step", "How to reach us")),
    "experts": (
        "Conclusions and open questions",
        ("What is established", "What is still open", "What to look at next"),
    ),
    "students": ("Summary", ("The main idea", "Two terms to know", "A task to try at home")),
    "team": ("What we take with us", ("What we agreed", "Who takes the first step", "When we look at it again")),
}
_CLOSING_DEFAULT: Final = ("The three things to remember", ("The main idea", "The best example", "The next step"))


@dataclass(frozen=True, slots=True)
class Strawman:
    """A presentation in draft: the slides, what they are called together, and the brief behind them."""

    main_title: str
    overall_theme: str
    design_suggestions: str
    slides: tuple[Slide, ...]
    brief: Brief


def write_slides(brief: Brief) -> Iterator[Slide]:
    """The slides of a brief, one by one, in order; `assemble` makes the presentation of them."""
    count = slide_count_of(brief)
    content = choose_outlines(brief, count - _frame_size(count))
    slides = [_title_slide(brief)]
    if count >= 6:
        slides.append(
            _slide("agenda", "What we will look at", "Shows the way, so that everybody knows what comes.", ())
        )
    slides += [_outline_slide(outline) for outline in content]
    if count >= 3:
        slides.append(_closing_slide(brief))
    if count >= 9:
        slides.append(_questions_slide(brief))
    for number, slide in enumerate(slides, 1):
        yield replace(slide, slide_id=f"slide_{number:03}", slide_number=number)


def assemble(brief: Brief, slides: Sequence[Slide]) -> Strawman:
    """The presentation of a brief's slides."""
    theme, design = suggest_look(brief)
    return arrange(Strawman(_main_title(brief), theme, design, tuple(slides), brief))


def arrange(strawman: Strawman) -> Strawman:
    """Put a presentation in order: numbers, agenda, lines for the audience, notes with the time for each slide."""
    share = share_min(strawman.brief, len(strawman.slides))
    content = [
        slide.title for slide in strawman.slides if slide.slide_type not in ("title_slide", "agenda", "qa_slide")
    ]
    slides = []
    for number, slide in enumerate(strawman.slides, 1):
        points = _sample(content, 5) if slide.slide_type == "agenda" else slide.key_points
        slides.append(dress(replace(slide, slide_number=number, key_points=tuple(points)), strawman.brief, share))
    return replace(strawman, slides=tuple(slides))


def retarget(strawman: Strawman, brief: Brief) -> Strawman:
    """The same slides for another brief: theme and frame follow it, unless the user has changed their text."""
    before = {slide.slide_type: slide for slide in _frame(strawman.brief)}
    after = {slide.slide_type: slide for slide in _frame(brief)}

    def follow(slide: Slide) -> Slide:
        old, new = before.get(slide.slide_type), after.get(slide.slide_type)
        if old is None or new is None or slide.key_points != old.key_points:
            return slide
        title = new.title if slide.title == old.title else slide.title
        return replace(slide, title=title, narrative=new.narrative, key_points=new.key_points)

    theme, design = suggest_look(brief)
    slides = tuple(follow(slide) for slide in strawman.slides)
    return replace(strawman, overall_theme=theme, design_suggestions=design, slides=slides, brief=brief)


def choose_outlines(brief: Brief, count: int, taken: Sequence[str] = ()) -> list[Outline]:
    """`count` outlines for a brief, its focus points first, in the order in which they are told.

    Outlines whose titles are `taken` are left out.
    """
    used = {title.casefold() for title in taken}
    focus = [focus_outline(brief, point, turn) for turn, point in enumerate(brief.focus)]
    name = "this" if is_clause(brief.topic) else brief.topic
    fitting = [o for o in (*focus, *outlines_for(brief.kind, name)) if o.title.casefold() not in used]
    chosen = list({outline.title.casefold(): outline for outline in fitting}.values())[: max(0, count)]
    return sorted(chosen, key=lambda outline: outline.place)


def focus_outline(brief: Brief, point: str, turn: int) -> Outline:
    """An outline for a point that the user asked for. `turn` varies the wording."""
    title, subject = capitalise(tidy(point, MAX_TITLE_CHARS)), tidy(point, 60)
    variants = (
        (f"Goes into {subject}, because it was asked "
         "for.", (f"What {subject} is about", f"An example of {subject}", "Why it belongs here")),
        (f"Gives {subject} the room it "
         "needs.", (f"The main thing about {subject}", "How it shows in practice", f"What follows from {subject}")),
        (f"Looks at {subject} from close "
         "up.", (f"Where {subject} begins", "What makes it special", f"What to remember about {subject}")),
        (f"Explains {subject} with one good "
         "example.", (f"{capitalise(subject)} in one sentence", "The example, step by step", "What it shows")),
    )  # fmt: skip
    narrative, points = variants[turn % len(variants)]
    return Outline(2, title, narrative, points, "visual", f"A picture or example of {subject}")


def outline_to_slide(outline: Outline, slide_id: str) -> Slide:
    """A content slide made of an outline."""
    return replace(_outline_slide(outline), slide_id=slide_id)


def pack_strawman(strawman: Strawman, deck_id: str, deck_url: str) -> dict[str, Any]:
    """The presentation as memory keeps it: what the wire shows of it, and the brief."""
    return {
        "type": "PresentationStrawman",
        **_metadata(strawman, deck_id, deck_url),
        "slides": [_slide_payload(slide) for slide in strawman.slides],
        "brief": pack(strawman.brief),
    }


def recall_strawman(memory: Mapping[str, Any]) -> Strawman:
    """The presentation that memory keeps; missing fields, as older sessions have them, are filled in.

    Without one it is written again from the brief.
    """
    brief = recall_brief(memory)
    stored = memory.get("presentation_strawman")
    if not isinstance(stored, Mapping) or not stored.get("slides"):
        return assemble(brief, list(write_slides(brief)))
    theme, design = suggest_look(brief)
    slides = [_recall_slide(slide, number) for number, slide in enumerate(stored["slides"][:MAX_SLIDES], 1)]
    return Strawman(
        main_title=str(stored.get("main_title") or _main_title(brief)),
        overall_theme=str(stored.get("overall_theme") or theme),
        design_suggestions=str(stored.get("design_suggestions") or design),
        slides=tuple(slides),
        brief=brief,
    )


def recall_deck(memory: Mapping[str, Any]) -> tuple[str, str]:
    """The id and the address of the deck that memory keeps; two empty texts if it keeps none."""
    stored = memory.get("presentation_strawman")
    if not isinstance(stored, Mapping) or not (stored.get("preview_presentation_id") and stored.get("preview_url")):
        return "", ""
    return str(stored["preview_presentation_id"]), str(stored["preview_url"])


def slide_update(
    strawman: Strawman, deck_id: str, deck_url: str, affected: Sequence[str] | None = None
) -> dict[str, Any]:
    """The payload of a `slide_update`: partial if `affected` names slide ids, else full. It carries all slides."""
    return {
        "operation": "full_update" if affected is None else "partial_update",
        "metadata": _metadata(strawman, deck_id, deck_url),
        "slides": [_slide_payload(slide) for slide in strawman.slides],
        "affected_slides": None if affected is None else list(affected),
        "preview_url": deck_url,
        "preview_presentation_id": deck_id,
    }


def describe_count(strawman: Strawman) -> str:
    """`6 slides for 10 minutes`."""
    return f"{len(strawman.slides)} slides for {spell_duration(duration_of(strawman.brief))}"


def _metadata(strawman: Strawman, deck_id: str, deck_url: str) -> dict[str, Any]:
    return {
        "main_title": strawman.main_title,
        "overall_theme": strawman.overall_theme,
        "design_suggestions": strawman.design_suggestions,
        "target_audience": label_of(strawman.brief.audience or "General audience"),
        "presentation_duration": duration_of(strawman.brief),
        "preview_url": deck_url,
        "preview_presentation_id": deck_id,
    }


def _slide_payload(slide: Slide) -> dict[str, Any]:
    return {**asdict(slide), "key_points": list(slide.key_points)}


def _recall_slide(stored: Mapping[str, Any], number: int) -> Slide:
    def text(name: str, default: str = "") -> str:
        return str(stored.get(name) or default)

    return Slide(
        slide_id=text("slide_id", f"slide_{number:03}"),
        slide_number=number,
        slide_type=text("slide_type", "content_heavy"),
        title=text("title", f"Slide {number}"),
        narrative=text("narrative"),
        key_points=tuple(map(str, stored.get("key_points") or ())),
        analytics_needed=text("analytics_needed") or None,
        visuals_needed=text("visuals_needed") or None,
        diagrams_needed=text("diagrams_needed") or None,
        structure_preference=text("structure_preference") or None,
        speaker_notes=text("speaker_notes"),
    )


def _frame_size(count: int) -> int:
    """How many of `count` slides are title, agenda, end and questions."""
    return 1 + (count >= 3) + (count >= 6) + (count >= 9)


def _sample(items: Sequence[str], size: int) -> list[str]:
    """At most `size` items, evenly spread, first and last among them."""
    if len(items) <= size:
        return list(items)
    return [items[round(i * (len(items) - 1) / (size - 1))] for i in range(size)]


def _slide(slide_type: str, title: str, narrative: str, points: Sequence[str]) -> Slide:
    return Slide("", 0, slide_type, title, narrative, tuple(points), structure_preference=_LAYOUT[slide_type])


def _outline_slide(outline: Outline) -> Slide:
    slide = _slide(_TYPES[outline.shows], outline.title, outline.narrative, outline.points)
    return replace(
        slide,
        visuals_needed=outline.figure if outline.shows == "visual" else None,
        analytics_needed=outline.figure if outline.shows == "data" else None,
        diagrams_needed=outline.figure if outline.shows == "diagram" else None,
    )


def _main_title(brief: Brief) -> str:
    tagline = _TAGLINES.get(brief.kind)
    topic = capitalise(brief.topic)
    if tagline is None or is_clause(brief.topic) or len(topic) > 40 or ":" in topic:
        return topic
    return f"{topic}: {tagline}"


def _frame(brief: Brief) -> tuple[Slide, ...]:
    """The slides that speak of the audience and the time rather than of the topic."""
    return _title_slide(brief), _closing_slide(brief), _questions_slide(brief)


def _title_slide(brief: Brief) -> Slide:
    audience = speak_of(audience_of(brief))
    points = (f"For {audience}", capitalise(spell_duration(duration_of(brief))), capitalise(purpose_of(brief)))
    slide = _slide(
        "title_slide", _main_title(brief), f"Welcomes {audience} and opens the topic with a single picture.", points
    )
    return replace(slide, visuals_needed=f"One strong picture: {brief.topic}")


def _closing_slide(brief: Brief) -> Slide:
    title, points = _CLOSING.get(group_of(brief.audience), _CLOSING_DEFAULT)
    return _slide("conclusion_slide", title, "Gathers what should stay, and ends on one clear sentence.", points)


def _questions_slide(brief: Brief) -> Slide:
    title = "Your questions!" if group_of(brief.audience) == "children" else "Questions and discussion"
    points = ("What was new to you?", "What would you like to know more about?", "What should we talk about next?")
    return _slide("qa_slide", title, "Opens the conversation, and leaves time for it.", points)
