"""One slide, as the rules and the writer make it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide. `slide_id` stays with it when it moves; `slide_number` is its place."""

    slide_id: str
    slide_number: int
    slide_type: str
    title: str
    narrative: str
    key_points: tuple[str, ...]
    analytics_needed: str | None = None
    visuals_needed: str | None = None
    diagrams_needed: str | None = None
    structure_preference: str | None = None
    speaker_notes: str = ""
