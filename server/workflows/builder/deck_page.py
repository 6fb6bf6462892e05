"""A deck as a web page: the slides of a `slide_update`, to read, to present and to print.

The page is complete without its script: then all slides stand one below the other. It loads nothing but two files of
this server and contains no inline script or style, so it works under a strict Content-Security-Policy. Every word in
it may come from a user and is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

STYLESHEET: Final = "/static/deck.css"
SCRIPT: Final = "/static/deck.js"
#: Slides that a page shows at most; a stored deck has no more, from either writer.
MAX_SLIDES: Final = 100
_ACCENTS: Final = 6

#: Slide type → layout of the page. Unknown types are shown as points.
_LAYOUTS: Final = {
    "title_slide": "title",
    "agenda": "agenda",
    "conclusion_slide": "closing",
    "qa_slide": "questions",
    "section_divider": "title",
}
#: Field of a slide → its label and a drawing for it, as SVG shapes.
_FIGURES: Final = (
    (
        "visuals_needed",
        "Picture",
        '<circle cx="34" cy="36" r="9"/><path d="M8 84 40 48l20 22 16-18 36 32z"/>',
    ),
    (
        "analytics_needed",
        "Chart",
        '<path d="M12 88h96"/><path d="M24 88V60M46 88V42M68 88V52M90 88V24" class="thick"/>',
    ),
    (
        "diagrams_needed",
        "Diagram",
        '<rect x="8" y="38" width="30" height="24" rx="6"/><rect x="82" y="12" width="30" height="24" rx="6"/>'
        '<rect x="82" y="64" width="30" height="24" rx="6"/><path d="M38 50h22V24h22M60 50v26h22"/>',
    ),
)


def render_deck(event_payload: dict[str, Any]) -> str:
    """The HTML page of a deck, from the payload of a `slide_update` event. Missing fields are left out."""
    metadata = _mapping(event_payload.get("metadata"))
    slides = [_mapping(slide) for slide in _sequence(event_payload.get("slides"))[:MAX_SLIDES]]
    title = _text(metadata.get("main_title")) or "Presentation"
    sections = "\n".join(_render_slide(slide, number, len(slides)) for number, slide in enumerate(slides, 1))
    return f"""<!doctype html>
<html lang="en" data-accent="{_choose_accent(title)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{STYLESHEET}">
<script src="{SCRIPT}" defer></script>
</head>
<body>
<header class="bar">
<p class="name">{escape(title)}</p>
<p class="facts">{escape(_describe(metadata, len(slides)))}</p>
</header>
<main id="slides" tabindex="-1" aria-label="Slides">
{sections or '<section class="slide layout-empty"><h1>No slides yet</h1></section>'}
</main>
<nav class="controls" aria-label="Slides" hidden>
<button type="button" id="previous" aria-label="Previous slide"><svg viewBox="0 0 24 24" aria-hidden="true">\
<path d="M15 5l-7 7 7 7"/></svg></button>
<p id="counter" role="status">1 / {max(1, len(slides))}</p>
<button type="button" id="next" aria-label="Next slide"><svg viewBox="0 0 24 24" aria-hidden="true">\
<path d="M9 5l7 7-7 7"/></svg></button>
<progress id="progress" max="{max(1, len(slides))}" value="1" aria-hidden="true"></progress>
<button type="button" id="notes" class="wide" aria-pressed="false" aria-keyshortcuts="n">Notes</button>
<button type="button" id="fullscreen" class="wide" aria-keyshortcuts="f">Full screen</button>
<button type="button" id="print" class="wide">Print</button>
</nav>
</body>
</html>
"""


def _render_slide(slide: Mapping[str, Any], number: int, count: int) -> str:
    layout = _LAYOUTS.get(_text(slide.get("slide_type")), "points")
    title = _text(slide.get("title")) or f"Slide {number}"
    points = [text for text in map(_text, _sequence(slide.get("key_points"))[:20]) if text]
    heading = "h1" if number == 1 else "h2"
    figures = _render_figures(slide) if layout in ("points", "title") else ""
    kind = "ol" if layout == "agenda" else "ul"
    items = "".join(f"<li>{escape(point)}</li>" for point in points)
    return f"""<section class="slide layout-{layout}{" with-figure" if figures else ""}" id="slide-{number}" \
aria-roledescription="slide" aria-label="{number} of {count}">
<div class="content">
<{heading}>{escape(title)}</{heading}>
{f"<{kind}>{items}</{kind}>" if items else ""}
</div>
{figures}
{_render_notes(slide)}
<p class="number" aria-hidden="true">{number}</p>
</section>"""


def _render_figures(slide: Mapping[str, Any]) -> str:
    """What the slide is to show, as drawings with captions: the pictures themselves are still to be chosen."""
    figures = [
        f'<figure><svg viewBox="0 0 120 100" aria-hidden="true">{drawing}</svg>'
        f"<figcaption><strong>{label}</strong> {escape(text)}</figcaption></figure>"
        for field, label, drawing in _FIGURES
        if (text := _text(slide.get(field)))
    ]
    return f'<div class="figures">{"".join(figures)}</div>' if figures else ""


def _render_notes(slide: Mapping[str, Any]) -> str:
    labelled = (
        ("What this slide does", "narrative"),
        ("Speaker notes", "speaker_notes"),
        ("Layout", "structure_preference"),
    )
    rows = [
        f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, field in labelled if (text := _text(slide.get(field)))
    ]
    return f'<details class="notes"><summary>Notes</summary><dl>{"".join(rows)}</dl></details>' if rows else ""


def _describe(metadata: Mapping[str, Any], count: int) -> str:
    """`6 slides · 10 minutes · Children`."""
    duration = metadata.get("presentation_duration")
    minutes = duration if isinstance(duration, int) and duration > 0 else None
    facts = [
        f"{count} slide{'' if count == 1 else 's'}",
        f"{minutes} minute{'' if minutes == 1 else 's'}" if minutes else "",
        _text(metadata.get("target_audience")),
    ]
    return " · ".join(fact for fact in facts if fact)


def _choose_accent(title: str) -> int:
    """A colour for the deck, the same each time it is shown."""
    return sum(map(ord, title)) % _ACCENTS


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
