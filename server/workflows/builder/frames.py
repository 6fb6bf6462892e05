"""The frames that only the builder has: slides, and the address of the finished deck. Slides are a published page."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.workflows.builder.deck_page import render_deck
from server.workflows.page import Page


def describe_slides(payload: Mapping[str, Any]) -> str:
    """A `slide_update` in one line."""
    metadata, slides = payload.get("metadata"), payload.get("slides")
    title = metadata.get("main_title") if isinstance(metadata, Mapping) else None
    return f"{payload.get('operation')}: {title}, {len(slides) if isinstance(slides, list) else 0} slides"


def describe_address(payload: Mapping[str, Any]) -> str:
    """A `presentation_url` in one line."""
    return str(payload.get("url"))


FRAMES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "slide_update": describe_slides,
    "presentation_url": describe_address,
}
#: Every version of a deck has an address of its own: that of the slides it is made of.
DECK: Final = Page("decks", "slide_update", render_deck)
