"""What becomes of slides when a person wants them otherwise."""

import pytest

from server.workflows.builder.rules.refine import Refined, refine, split_wishes
from tests.workflows.builder.drafts import draft


def titles(refined: Refined) -> list[str]:
    return [slide.title for slide in refined.strawman.slides]


def test_a_slide_gets_another_subject_or_title() -> None:
    before = draft()
    about = refine(before, "make slide 3 about the Bhagavad Gita")
    assert titles(about)[2] == "The Bhagavad Gita"
    assert about.affected == ("slide_002", "slide_003")  # the agenda names the new title too
    renamed = refine(before, "Change the title of slide 4 to Hello, World and more")
    assert titles(renamed)[3] == "Hello, World and more"
    assert renamed.strawman.slides[3].key_points == before.slides[3].key_points
    quoted = refine(before, 'rename slide 3 to "Swap slides 1 and 2; haha"')
    assert titles(quoted)[2] == "Swap slides 1 and 2; haha"
    assert len(quoted.done) == 1


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("remove slide 4", [1, 2, 3, 5, 6, 7, 8, 9]),
        ("drop the agenda", [1, 3, 4, 5, 6, 7, 8, 9]),
        ("no agenda, please", [1, 3, 4, 5, 6, 7, 8, 9]),
        ("remove slides 2, 3 and 5", [1, 4, 6, 7, 8, 9]),
        ("delete slides 3-5", [1, 2, 6, 7, 8, 9]),
        ("remove the last slide", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("remove the slide about friends", [1, 2, 3, 4, 5, 7, 8, 9]),
        ("swap slides 2 and 3", [1, 3, 2, 4, 5, 6, 7, 8, 9]),
        ("swap the agenda and slide 4", [1, 4, 3, 2, 5, 6, 7, 8, 9]),
        ("move slide 5 to the front", [5, 1, 2, 3, 4, 6, 7, 8, 9]),
        ("move slide 2 after slide 4", [1, 3, 4, 2, 5, 6, 7, 8, 9]),
        ("move slide 6 before slide 3", [1, 2, 6, 3, 4, 5, 7, 8, 9]),
        ("move the third slide to the end", [1, 2, 4, 5, 6, 7, 8, 9, 3]),
        ("put slide 7 as slide 3", [1, 2, 7, 3, 4, 5, 6, 8, 9]),
    ],
)
def test_slides_go_and_move(words: str, order: list[int]) -> None:
    refined = refine(draft(), words)
    assert [int(slide.slide_id[-3:]) for slide in refined.strawman.slides] == order
    assert [slide.slide_number for slide in refined.strawman.slides] == list(range(1, len(order) + 1))
    assert refined.affected is None
    assert refined.done


@pytest.mark.parametrize(
    ("words", "place", "title"),
    [
        ("add a slide on a Japanese tea ceremony after slide 2", 3, "Japanese tea ceremony"),
        ("add a slide on risk after slide 2", 3, "Risk"),
        ("add a slide about music at the end", 10, "Music"),
        ("please add another slide about cows before slide 4", 4, "Cows"),
        ("after slide 2 add a slide about cows", 3, "Cows"),
        ("add a quiz", 8, "Quiz"),
        ("include something about the flute", 8, "The flute"),
    ],
)
def test_slides_come_where_they_should(words: str, place: int, title: str) -> None:
    refined = refine(draft(), words)
    assert titles(refined)[place - 1] == title
    assert len(titles(refined)) == 10
    assert len({slide.slide_id for slide in refined.strawman.slides}) == 10


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("make it 5 slides", 5), ("shorter", 6), ("fewer slides", 6), ("longer", 13), ("more slides", 13),
        ("cut it down to 6 slides", 6), ("add two more slides", 11), ("remove 2 slides", 7), ("make it 20 minutes", 11),
        ("make it 50 slides", 30), ("make it 1 slide", 2), ("a bit shorter please", 7),
    ],
)  # fmt: skip
def test_the_deck_gets_shorter_and_longer(words: str, count: int) -> None:
    refined = refine(draft(), words)
    assert len(titles(refined)) == count
    assert len(set(titles(refined))) == count
    assert titles(refined)[0] == titles(Refined(draft(), (), (), (), None))[0]
    assert refined.done


def test_tone_and_audience_change_the_whole_deck_and_keep_what_was_edited() -> None:
    edited = refine(draft(), "add a point about flutes to slide 3").strawman
    refined = refine(edited, "more fun and for executives instead")
    assert refined.strawman.brief.tone == "fun"
    assert refined.strawman.brief.audience == "executives"
    assert "Flutes" in refined.strawman.slides[2].key_points
    assert refined.strawman.overall_theme != edited.overall_theme
    assert refined.affected == tuple(slide.slide_id for slide in edited.slides)
    # Lines for the old audience are replaced, not piled up.
    assert [len(slide.key_points) for slide in refined.strawman.slides] == [len(s.key_points) for s in edited.slides]


def test_the_frame_follows_a_new_audience_unless_somebody_changed_its_words() -> None:
    before = refine(draft(), "add a point about flutes to slide 8").strawman
    after = refine(before, "for kids, 20 minutes").strawman
    assert after.slides[0].key_points[:2] == ("For kids", "20 minutes")
    assert after.slides[0].title == before.slides[0].title
    assert after.slides[-1].title == "Your questions!"
    assert "Flutes" in after.slides[-2].key_points


def test_one_slide_gets_more_less_and_pictures() -> None:
    before = draft()
    more = refine(before, "more detail on slide 3").strawman.slides[2]
    assert len(more.key_points) == len(before.slides[2].key_points) + 1
    less = refine(before, "make slide 3 shorter").strawman.slides[2]
    assert len(less.key_points) == len(before.slides[2].key_points) - 1
    assert refine(before, "add a chart to slide 4").strawman.slides[3].analytics_needed
    assert refine(before, "remove the picture from slide 3").strawman.slides[2].visuals_needed is None
    gone = before.slides[2].key_points[1]
    assert gone not in refine(before, "remove the second point from slide 3").strawman.slides[2].key_points


def test_several_wishes_in_one_line_count_slides_as_the_person_sees_them() -> None:
    refined = refine(
        draft(), "remove slide 3, change the title of slide 4 to Start and add a slide on cows after slide 5"
    )
    assert len(refined.done) == 3
    assert titles(refined)[2] == "Start"
    assert titles(refined)[4] == "Cows"
    assert split_wishes("make it shorter; and more formal. Then drop slide 2!") == [
        "make it shorter",
        "more formal",
        "drop slide 2",
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("remove slide 99", "there is no slide 99"),
        ("swap slides 2 and 40", "there is no slide 40"),
        ("make slide 0 about tea", "there is no slide 0"),
        ("make slide 3 more formal", "all slides together"),
        ("remove the slide about unicorns", "could not find"),
        ("make it 9 slides", "9 slides already"),
        ("move slide 3 to position 3", "already there"),
        ("remove slides 1-9", "at least 2 slides"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(words: str, problem: str) -> None:
    before = draft()
    refined = refine(before, words)
    assert refined.strawman == before
    assert refined.done == ()
    assert problem in refined.problems[0]


@pytest.mark.parametrize("words", ["banana", "I like slide 3", "make the slides bigger", "slide 3"])
def test_what_is_not_understood_is_quoted_and_nothing_changes(words: str) -> None:
    refined = refine(draft(), words)
    assert (refined.strawman, refined.done, refined.missed) == (draft(), (), (words,))
