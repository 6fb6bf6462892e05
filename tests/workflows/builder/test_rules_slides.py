"""The slides that the assistant of rules writes."""

import json

import pytest

from server.workflows.builder.rules.kinds import KINDS
from server.workflows.builder.rules.outlines import outlines_for
from server.workflows.builder.rules.refine import refine
from server.workflows.builder.rules.slides import pack_strawman, recall_strawman
from tests.workflows.builder.drafts import draft


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_thirty_slides_without_two_alike(kind: str) -> None:
    slides = draft(30, kind=kind, topic="Zed").slides
    assert len(slides) == 30
    assert len({slide.title.casefold() for slide in slides}) == 30
    assert len({slide.key_points for slide in slides}) == 30
    assert len({slide.narrative.split(".")[0] for slide in slides}) == 30
    for slide in slides:
        assert 3 <= len(slide.key_points) <= 5
        assert "{" not in json.dumps([slide.title, slide.narrative, slide.key_points])
        assert slide.speaker_notes


@pytest.mark.parametrize("count", range(2, 31))
def test_a_deck_has_the_planned_number_of_slides_in_a_sensible_frame(count: int) -> None:
    slides = draft(count).slides
    kinds = [slide.slide_type for slide in slides]
    assert len(slides) == count
    assert kinds[0] == "title_slide"
    assert ("agenda" in kinds) == (count >= 6)
    assert ("conclusion_slide" in kinds) == (count >= 3)
    assert [slide.slide_id for slide in slides] == [f"slide_{number:03}" for number in range(1, count + 1)]


def test_slides_fit_audience_tone_and_focus() -> None:
    children, board = draft(8, audience="children"), draft(8, audience="my board")
    assert children.slides[2].key_points != board.slides[2].key_points
    assert children.overall_theme != board.overall_theme
    assert "for your board" in board.slides[0].speaker_notes
    assert any(slide.title == "The flute" for slide in draft(6, focus=("the flute",)).slides)
    agenda = draft(8).slides[1]
    assert set(agenda.key_points) <= {slide.title for slide in draft(8).slides}


def test_a_question_as_topic_reads_well_in_titles() -> None:
    titles = [slide.title for slide in draft(20, topic="why do cats purr?", kind="science").slides]
    assert titles[0] == "Why do cats purr?"
    assert "Reasons to care about this" in titles


def test_a_deck_survives_memory() -> None:
    deck = refine(draft(), "add a slide on cows").strawman
    stored = json.loads(json.dumps(pack_strawman(deck, "id", "https://x/decks/id")))
    assert recall_strawman({"presentation_strawman": stored}) == deck


def test_outlines_are_complete_for_every_kind() -> None:
    for kind in KINDS:
        for outline in outlines_for(kind, "Zed"):
            assert outline.place in (1, 2, 3)
            assert len(outline.points) >= 3
            assert outline.figure
