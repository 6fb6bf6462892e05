"""Edits: the changes that can be made to a presentation. Each returns the new one and says what it did, or why not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from server.workflows.builder.rules.amounts import spell_duration
from server.workflows.builder.rules.audience import speak_of
from server.workflows.builder.rules.brief import MAX_SLIDES, MIN_SLIDES, merge, read_details
from server.workflows.builder.rules.outlines import outlines_for
from server.workflows.builder.rules.plan import duration_of, slide_count_of
from server.workflows.builder.rules.slide import Slide
from server.workflows.builder.rules.slides import (
    MAX_TITLE_CHARS,
    Strawman,
    choose_outlines,
    focus_outline,
    outline_to_slide,
    retarget,
)
from server.workflows.builder.rules.style import undressed_points
from server.workflows.builder.rules.wording import capitalise, count_of, listing, tidy

MAX_POINTS: Final = 6
_MAX_POINT_CHARS: Final = 160
_FRAME: Final = frozenset({"title_slide", "agenda", "conclusion_slide", "qa_slide"})
_FIGURES: Final = {
    "d": ("diagrams_needed", "a", "diagram"),
    "c": ("analytics_needed", "a", "chart"),
    "g": ("analytics_needed", "a", "chart"),
}
_DETAILS: Final = (
    "An example in more detail",
    "The background to it",
    "What it looks like in practice",
    "A figure or fact that supports it",
)


class Edited(NamedTuple):
    """A presentation after an edit. `note` says what was done, or `problem` why nothing was."""

    strawman: Strawman
    note: str = ""
    problem: str = ""


def name_slide(slide: Slide) -> str:
    """A slide as we speak of it: `slide 3 (“Title”)`."""
    return f"slide {slide.slide_number} (“{tidy(slide.title, 60)}”)"


def name_slides(slides: Sequence[Slide]) -> str:
    """Several slides as we speak of them."""
    return listing([name_slide(slide) for slide in slides])


def set_title(strawman: Strawman, places: Sequence[int], title: str) -> Edited:
    """Give one slide a title; without a place, the whole presentation."""
    new = capitalise(tidy(title, MAX_TITLE_CHARS))
    if not places:
        slides = [replace(s, title=new) if s.title == strawman.main_title else s for s in strawman.slides]
        return Edited(
            replace(strawman, main_title=new, slides=tuple(slides)), f"the presentation is now called “{new}”"
        )
    slide = strawman.slides[places[0]]
    changed = _put(strawman, replace(slide, title=new))
    if slide.slide_type == "title_slide":
        changed = replace(changed, main_title=new)
    return Edited(changed, f"slide {slide.slide_number} is now called “{new}”")


def set_subject(strawman: Strawman, places: Sequence[int], subject: str) -> Edited:
    """Rewrite slides so that they are about something else."""
    for place in places:
        slide = strawman.slides[place]
        outline = focus_outline(strawman.brief, _subject(subject), place)
        fresh = replace(outline_to_slide(outline, slide.slide_id), slide_number=slide.slide_number)
        strawman = _put(strawman, fresh)
    numbers = listing([str(strawman.slides[place].slide_number) for place in places])
    which = f"slide {numbers} is" if len(places) == 1 else f"slides {numbers} are"
    return Edited(strawman, f"{which} now about {_subject(subject)}")


def remove(strawman: Strawman, places: Sequence[int]) -> Edited:
    """Take slides out."""
    gone = [strawman.slides[place] for place in places]
    kept = tuple(slide for slide in strawman.slides if slide not in gone)
    if len(kept) < MIN_SLIDES:
        return Edited(strawman, problem=f"a presentation needs at least {MIN_SLIDES} slides, so I removed none")
    return Edited(replace(strawman, slides=kept), f"removed {name_slides(gone)}")


def add(strawman: Strawman, subject: str, place: int | None) -> Edited:
    """Add a slide about something at a place; without one, before the end."""
    if len(strawman.slides) >= MAX_SLIDES:
        return Edited(strawman, problem=f"{MAX_SLIDES} slides are the most I can make; remove one first")
    at = _end_of_content(strawman.slides) if place is None else min(max(0, place), len(strawman.slides))
    slide = _new_slide(strawman, _subject(subject), at)
    slides = [*strawman.slides[:at], slide, *strawman.slides[at:]]
    return Edited(replace(strawman, slides=tuple(slides)), f"added “{slide.title}” as slide {at + 1}")


def swap(strawman: Strawman, first: int, second: int) -> Edited:
    """Let two slides change places."""
    slides = list(strawman.slides)
    slides[first], slides[second] = slides[second], slides[first]
    pair = f"{name_slide(strawman.slides[first])} and {name_slide(strawman.slides[second])}"
    return Edited(replace(strawman, slides=tuple(slides)), f"swapped {pair}")


def move(strawman: Strawman, place: int, target: int) -> Edited:
    """Move a slide so that it stands at `target`, counted from 0 in the new order."""
    slides = list(strawman.slides)
    slide = slides.pop(place)
    target = min(max(0, target), len(slides))
    if target == place:
        return Edited(strawman, problem=f"{name_slide(slide)} is already there")
    slides.insert(target, slide)
    return Edited(replace(strawman, slides=tuple(slides)), f"moved {name_slide(slide)} to place {target + 1}")


def resize(strawman: Strawman, count: int) -> Edited:
    """Make it this many slides: the least important go, or ideas that are not used yet come in."""
    wanted = min(MAX_SLIDES, max(MIN_SLIDES, count))
    have = len(strawman.slides)
    limit = f"; {'more' if count > wanted else 'fewer'} is not possible" if wanted != count else ""
    if wanted == have:
        return Edited(strawman, problem=f"it has {count_of(have, 'slide')} already{limit}")
    slides = _shrink(strawman, wanted) if wanted < have else _grow(strawman, wanted)
    changed = replace(strawman, slides=tuple(slides))
    if len(slides) == have:
        return Edited(strawman, problem="I have no more ideas for this topic; tell me what to add")
    return Edited(changed, f"it now has {count_of(len(slides), 'slide')} instead of {have}{limit}")


def scale(strawman: Strawman, factor: float) -> Edited:
    """Make it shorter or longer by a factor, in slides and in time."""
    have = len(strawman.slides)
    wanted = min(have - 1, round(have * factor)) if factor < 1 else max(have + 1, round(have * factor))
    edited = resize(strawman, wanted)
    if edited.problem:
        return edited
    minutes = max(1, round(duration_of(strawman.brief) * len(edited.strawman.slides) / have))
    return Edited(retarget(edited.strawman, replace(strawman.brief, duration_min=minutes)), edited.note)


def detail(strawman: Strawman, places: Sequence[int], *, more: bool) -> Edited:
    """Give slides a further key point, or take their last one away."""
    changed: list[Slide] = []
    for place in places:
        slide = strawman.slides[place]
        if slide.slide_type == "agenda":
            continue
        own = undressed_points(slide)
        further = [line for line in _DETAILS if line not in own]
        points = (*own, further[0]) if more and further and len(own) < MAX_POINTS - 1 else own if more else own[:-1]
        if points != own and len(points) >= 1:
            changed.append(slide)
            strawman = _put(strawman, replace(slide, key_points=points))
    if not changed:
        named = name_slides([strawman.slides[place] for place in places[:2]])
        return Edited(strawman, problem=f"there is no room for {'more' if more else 'less'} detail on {named}")
    which = name_slides(changed) if len(changed) <= 2 else f"{len(changed)} slides"
    return Edited(strawman, f"{'more' if more else 'less'} detail on {which}")


def add_point(strawman: Strawman, places: Sequence[int], point: str) -> Edited:
    """Add a key point in the person's own words."""
    text = capitalise(tidy(point, _MAX_POINT_CHARS))
    slide = strawman.slides[places[0]]
    own = undressed_points(slide)
    if slide.slide_type == "agenda":
        return Edited(strawman, problem="the agenda follows from the slides; add a slide instead")
    if text in own:
        return Edited(strawman, problem=f"{name_slide(slide)} says that already")
    if len(own) >= MAX_POINTS - 1:
        return Edited(strawman, problem=f"{name_slide(slide)} is full; take something out first")
    return Edited(
        _put(strawman, replace(slide, key_points=(*own, text))), f"{name_slide(slide)} now also says “{text}”"
    )


def remove_point(strawman: Strawman, places: Sequence[int], number: int) -> Edited:
    """Take one key point out of a slide; `number` counts from 0, -1 is the last of the slide's own."""
    slide = strawman.slides[places[0]]
    own = undressed_points(slide) if number < 0 else slide.key_points
    if slide.slide_type == "agenda" or len(slide.key_points) < 2 or not own or number >= len(own):
        return Edited(strawman, problem=f"{name_slide(slide)} has no such point that I could take out")
    kept = tuple(point for point in slide.key_points if point != own[number])
    return Edited(
        _put(strawman, replace(slide, key_points=kept)), f"{name_slide(slide)} no longer says “{own[number]}”"
    )


def hide(strawman: Strawman, places: Sequence[int], what: str) -> Edited:
    """Take the picture, chart or diagram off slides."""
    field, _, noun = _figure_of(what)
    slides = [strawman.slides[place] for place in places if getattr(strawman.slides[place], field)]
    if not slides:
        return Edited(strawman, problem=f"there is no {noun} on {name_slide(strawman.slides[places[0]])}")
    for slide in slides:
        strawman = _put(strawman, _set_figure(slide, field, None))
    return Edited(strawman, f"no {noun} on {name_slides(slides)} any more")


def show(strawman: Strawman, places: Sequence[int], what: str) -> Edited:
    """Ask for a picture, a chart or a diagram on slides."""
    field, article, noun = _figure_of(what)
    slides = [strawman.slides[place] for place in places]
    missing = [slide for slide in slides if not getattr(slide, field)]
    if not missing:
        return Edited(strawman, problem=f"{name_slides(slides[:2])} has {article} {noun} already")
    for slide in missing:
        strawman = _put(strawman, _set_figure(slide, field, f"{capitalise(article)} {noun} that shows: {slide.title}"))
    return Edited(
        strawman, f"{article} {noun} for {name_slides(missing) if len(missing) <= 2 else f'{len(missing)} slides'}"
    )


def restyle(strawman: Strawman, words: str) -> Edited:
    """Take over audience, tone, length or number of slides from a wish that names no slide."""
    details = read_details(words)
    said = details.said()
    details.focus = []
    brief = merge(strawman.brief, details)
    notes, problem = [], ""
    if "audience" in said and brief.audience:
        notes.append(f"it is now for {speak_of(brief.audience)}")
    if "tone" in said:
        notes.append(f"the tone is now {brief.tone}")
    if "purpose" in said:
        notes.append(f"the goal is now to {brief.purpose}")
    restyled = retarget(strawman, brief)
    count = details.slide_count
    if details.duration_min is not None:
        notes.append(f"it is planned for {spell_duration(details.duration_min)}")
        count = count or slide_count_of(replace(brief, slide_count=None))
    if count:
        edited = resize(restyled, count)
        restyled = edited.strawman
        notes += [edited.note] if edited.note else []
        problem = "" if notes else edited.problem
    if notes and details.rest:
        problem = f"I did not know what to do with “{tidy(details.rest[0], 60)}”"
    return Edited(restyled, listing(notes), problem)


def content_places(strawman: Strawman) -> tuple[int, ...]:
    """The places of the slides that carry content."""
    return tuple(place for place, slide in enumerate(strawman.slides) if slide.slide_type not in _FRAME)


def _put(strawman: Strawman, changed: Slide) -> Strawman:
    slides = tuple(changed if slide.slide_id == changed.slide_id else slide for slide in strawman.slides)
    return replace(strawman, slides=slides)


def _set_figure(slide: Slide, field: str, text: str | None) -> Slide:
    match field:
        case "diagrams_needed":
            return replace(slide, diagrams_needed=text)
        case "analytics_needed":
            return replace(slide, analytics_needed=text)
    return replace(slide, visuals_needed=text)


def _figure_of(what: str) -> tuple[str, str, str]:
    """The field, the article and the noun for a word like "graphs"."""
    return _FIGURES.get(what[:1].lower(), ("visuals_needed", "a", "picture"))


def _subject(text: str) -> str:
    return tidy(text.strip(" .!?\"'“”‘’"), MAX_TITLE_CHARS)


def _next_id(slides: Sequence[Slide]) -> str:
    numbers = [int("".join(filter(str.isdigit, slide.slide_id))[-6:] or 0) for slide in slides]
    return f"slide_{max(numbers, default=0) + 1:03}"


def _end_of_content(slides: Sequence[Slide]) -> int:
    """The place behind the last slide that is neither the end nor the questions."""
    last = max(
        (place for place, slide in enumerate(slides) if slide.slide_type not in ("conclusion_slide", "qa_slide")),
        default=-1,
    )
    return last + 1


def _new_slide(strawman: Strawman, subject: str, at: int) -> Slide:
    slide = outline_to_slide(focus_outline(strawman.brief, subject, at), _next_id(strawman.slides))
    lower = subject.casefold()
    if lower in ("agenda", "overview"):
        return replace(slide, slide_type="agenda", title="What we will look at", visuals_needed=None)
    if lower.replace(" ", "") in ("q&a", "qanda", "questions"):
        return replace(slide, slide_type="qa_slide", title="Questions and discussion", visuals_needed=None)
    return replace(slide, slide_type="content_heavy")


def _shrink(strawman: Strawman, wanted: int) -> list[Slide]:
    """Leave out the least important: common ideas first, then those of the kind, the frame last."""
    brief = strawman.brief
    rank = {outline.title: number for number, outline in enumerate(outlines_for(brief.kind, brief.topic))}
    # Agenda and questions go when there is hardly anything left to frame.
    frame = {"title_slide": 0, "conclusion_slide": 1} | dict.fromkeys(("agenda", "qa_slide"), 2 if wanted > 5 else 9)

    def importance(place: int) -> tuple[int, int]:
        slide = strawman.slides[place]
        own_or_known = 3 if slide.title not in rank else 4
        return frame.get(slide.slide_type, own_or_known), rank.get(slide.title, place)

    kept = sorted(sorted(range(len(strawman.slides)), key=importance)[:wanted])
    return [strawman.slides[place] for place in kept]


def _grow(strawman: Strawman, wanted: int) -> list[Slide]:
    slides = list(strawman.slides)
    taken = [slide.title for slide in slides]
    for outline in choose_outlines(replace(strawman.brief, focus=()), wanted - len(slides), taken):
        slides.insert(_end_of_content(slides), outline_to_slide(outline, _next_id(slides)))
    return slides
