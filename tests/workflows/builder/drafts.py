"""A deck to refine: slides about one topic."""

from typing import Any

from server.workflows.builder.rules.brief import Brief
from server.workflows.builder.rules.slides import Strawman, assemble, write_slides


def draft(count: int | None = None, **brief: Any) -> Strawman:
    wish = Brief(
        **{
            "topic": "Krishna",
            "kind": "figure",
            "audience": "adults",
            "duration_min": 15,
            "slide_count": count,
            **brief,
        }
    )
    return assemble(wish, list(write_slides(wish)))
