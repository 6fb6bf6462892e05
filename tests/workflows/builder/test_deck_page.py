"""The deck page: complete, escaped, and fit for a strict Content-Security-Policy."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest

from server.workflows.builder.deck_page import SCRIPT, STYLESHEET, render_deck

STATIC: Final = Path(__file__).parents[3] / "server" / "web" / "static"
HOSTILE: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def slide(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "slide_id": f"slide_{number:03}",
        "slide_number": number,
        "slide_type": "visual_heavy",
        "title": f"Title {number}",
        "narrative": f"Narrative {number}",
        "key_points": [f"Point {number}a", f"Point {number}b"],
        "analytics_needed": None,
        "visuals_needed": f"Picture {number}",
        "diagrams_needed": None,
        "structure_preference": "Left",
        "speaker_notes": f"Say {number}",
        **fields,
    }


def payload(*slides: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "operation": "full_update",
        "metadata": {"main_title": "Tea", "target_audience": "Children", "presentation_duration": 10, **metadata},
        "slides": list(slides),
        "affected_slides": None,
    }


def test_every_slide_is_there_with_its_words_and_notes_in_order() -> None:
    html = render_deck(payload(slide(1, slide_type="title_slide"), slide(2), slide(3, slide_type="agenda")))
    page = Page(html)
    assert [attrs["id"] for attrs in page.all("section")] == ["slide-1", "slide-2", "slide-3"]
    text = " ".join(page.words)
    for number in (1, 2, 3):
        for words in (
            f"Title {number}",
            f"Point {number}a",
            f"Point {number}b",
            f"Narrative {number}",
            f"Say {number}",
        ):
            assert words in text
    assert html.index("Title 1") < html.index("Title 2") < html.index("Title 3")
    assert "3 slides · 10 minutes · Children" in text
    assert len(page.all("h1")) == 1
    assert len(page.all("ol")) == 1


def test_a_slide_shows_at_most_twenty_points_and_none_that_is_empty() -> None:
    points = [f"Point {number}." for number in range(1, 30)]
    words = Page(render_deck(payload(slide(1, key_points=["", None, *points])))).words
    assert [word for word in words if word.startswith("Point ")] == points[:18]
    assert len(Page(render_deck(payload(slide(1, key_points=["", " ", "Point", None])))).all("li")) == 1


def test_the_controls_have_names() -> None:
    page = Page(render_deck(payload(slide(1), slide(2))))
    labels = {attrs.get("id"): attrs.get("aria-label") for attrs in page.all("button")}
    assert labels["previous"] == "Previous slide"
    assert labels["next"] == "Next slide"
    assert {"notes", "print", "fullscreen"} <= set(labels)
    assert "1 / 2" in page.words


@pytest.mark.parametrize(
    "field",
    [
        "title",
        "narrative",
        "speaker_notes",
        "visuals_needed",
        "analytics_needed",
        "diagrams_needed",
        "structure_preference",
    ],
)
def test_a_hostile_field_of_a_slide_stays_text(field: str) -> None:
    page = Page(render_deck(payload(slide(1, **{field: HOSTILE}))))
    assert [attrs.get("src") for attrs in page.all("script")] == [SCRIPT]
    assert page.all("img") == []
    assert any(HOSTILE in words for words in page.words)


def test_hostile_points_metadata_and_types_stay_text() -> None:
    hostile = slide(1, key_points=[HOSTILE], slide_type=HOSTILE, slide_id=HOSTILE)
    page = Page(render_deck(payload(hostile, main_title=HOSTILE, target_audience=HOSTILE)))
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert sum(HOSTILE in words for words in page.words) == 4  # title, bar, audience, point


def test_the_page_works_under_a_strict_policy() -> None:
    html = render_deck(payload(slide(1), slide(2, analytics_needed="A chart", diagrams_needed="A diagram")))
    page = Page(html)
    assert page.all("style") == []
    for _, attrs in page.tags:
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
    loaded = [attrs.get("src") or attrs.get("href") for tag, attrs in page.tags if tag in ("script", "link", "img")]
    assert loaded
    assert all(address and address.startswith("/static/") for address in loaded)
    assert re.search(r"<script[^>]*>[^<]", html) is None


@pytest.mark.parametrize("address", [STYLESHEET, SCRIPT])
def test_the_files_of_the_page_exist_and_name_no_other_host(address: str) -> None:
    source = (STATIC / address.removeprefix("/static/")).read_text(encoding="utf-8")
    assert "//" not in re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE).replace("/*", "")
    assert "@import" not in source
    assert "url(" not in source


def test_the_stylesheet_knows_print_dark_phones_and_stillness() -> None:
    css = (STATIC / "deck.css").read_text(encoding="utf-8")
    for condition in ("@media print", "prefers-color-scheme: dark", "max-width", "prefers-reduced-motion"):
        assert condition in css
    assert "break-after: page" in css


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metadata": None, "slides": None},
        {"metadata": [], "slides": "no"},
        {"slides": [None, 3, {}, {"title": None, "key_points": None}, {"key_points": [None, 3, ""]}]},
        {"metadata": {"main_title": 3, "presentation_duration": "ten"}, "slides": []},
    ],
)
def test_a_broken_payload_gives_a_page_all_the_same(broken: dict[str, Any]) -> None:
    page = Page(render_deck(broken))
    assert page.all("title")
    assert len(page.all("section")) == max(1, len(broken["slides"]) if isinstance(broken.get("slides"), list) else 0)


def test_a_page_is_bounded_and_the_same_each_time() -> None:
    many = payload(*(slide(number) for number in range(1, 400)))
    assert len(Page(render_deck(many)).all("section")) == 100
    assert render_deck(many) == render_deck(many)
