"""Outlines of slides for every kind of topic, written as plain text so that anybody can improve them.

A slide is: a line with its place (1 opening, 2 middle, 3 end) and its title; a line that says what it does; its key
points, each after "- "; and what it should show, after "visual:", "data:" or "diagram:". Slides stand in the order of
their importance: a short presentation takes the first ones. {topic} is the topic, {Topic} the same with a capital.
"""

from dataclasses import dataclass
from typing import Final

from server.workflows.builder.rules.outlines.common import COMMON
from server.workflows.builder.rules.outlines.people import PEOPLE
from server.workflows.builder.rules.outlines.work import WORK
from server.workflows.builder.rules.outlines.world import WORLD
from server.workflows.builder.rules.wording import capitalise

_SHOWN: Final = ("visual", "data", "diagram")


@dataclass(frozen=True, slots=True)
class Outline:
    """What a slide is to say. `shows` is "visual", "data" or "diagram", and `figure` describes it."""

    place: int
    title: str
    narrative: str
    points: tuple[str, ...]
    shows: str
    figure: str


def outlines_for(kind: str, topic: str) -> tuple[Outline, ...]:
    """All outlines that fit a topic, the most important first; no two with the same title."""
    outlines = [_fill(outline, topic) for outline in (*_OUTLINES.get(kind, ()), *_COMMON)]
    return tuple({outline.title.casefold(): outline for outline in reversed(outlines)}.values())[::-1]


def _read(text: str) -> tuple[Outline, ...]:
    """Read outlines from their plain text."""
    outlines: list[Outline] = []
    lines = [line.strip() for line in text.strip().splitlines()]
    starts = [number for number, line in enumerate(lines) if line[:2] in ("1 ", "2 ", "3 ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        heading, narrative, *points, shown = lines[start:end]
        shows, _, figure = shown.partition(": ")
        if shows not in _SHOWN or not all(point.startswith("- ") for point in points):
            raise ValueError(f"outline {heading!r} does not have the expected form")
        outlines.append(
            Outline(int(heading[0]), heading[2:], narrative, tuple(point[2:] for point in points), shows, figure)
        )
    return tuple(outlines)


def _fill(outline: Outline, topic: str) -> Outline:
    def put(text: str) -> str:
        return capitalise(text.replace("{Topic}", capitalise(topic)).replace("{topic}", topic))

    return Outline(
        outline.place,
        put(outline.title),
        put(outline.narrative),
        tuple(put(point) for point in outline.points),
        outline.shows,
        put(outline.figure),
    )


_COMMON: Final = _read(COMMON)
_OUTLINES: Final = {kind: _read(text) for kind, text in {**PEOPLE, **WORK, **WORLD}.items()}
