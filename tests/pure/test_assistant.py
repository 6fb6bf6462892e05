"""The assistant of rules: what it understands of topics, answers, plans and refinements, and the slides it writes."""

import json
import time
from typing import Any

import pytest

from server.assistant.rules.amounts import find_duration, find_slide_count, spell_duration
from server.assistant.rules.audience import group_of, label_of, speak_of
from server.assistant.rules.brief import Brief, pack, read_details, unpack
from server.assistant.rules.consent import read_consent
from server.assistant.rules.intents import read_intent, read_new_topic
from server.assistant.rules.kinds import KINDS, find_kind
from server.assistant.rules.outlines import outlines_for
from server.assistant.rules.plan import change_plan, make_plan, read_answers, slide_count_of, understood
from server.assistant.rules.questions import choose_questions
from server.assistant.rules.refine import Refined, refine, split_wishes
from server.assistant.rules.slides import Strawman, assemble, pack_strawman, recall_strawman, write_slides
from server.assistant.rules.tone import family_of, find_tone
from server.assistant.rules.topic import MAX_TOPIC_CHARS, read_request
from server.assistant.rules.wording import clean, is_gibberish, listing, plain, tidy

PLAN = ("Change_Topic", "Ask_Help_Or_Question", "Accept_Plan", "Reject_Plan", "Change_Parameter")
SLIDES = ("Change_Topic", "Ask_Help_Or_Question", "Accept_Strawman", "Submit_Refinement_Request")
FIRST = ("Change_Topic", "Ask_Help_Or_Question", "Submit_Initial_Topic")
ANSWERS = ("Change_Topic", "Ask_Help_Or_Question", "Submit_Clarification_Answers")


@pytest.mark.parametrize(
    ("line", "topic", "said"),
    [
        ("Krishna", "Krishna", {}),
        ("krishna", "Krishna", {}),
        ("Who is Krishna?", "Krishna", {}),
        (
            "I'd like a presentation about renewable energy for my board, 20 minutes",
            "renewable energy",
            {"audience": "my board", "duration_min": 20},
        ),
        (
            "make me a 20-minute formal deck for executives on Q3 results",
            "Q3 results",
            {"audience": "executives", "duration_min": 20, "tone": "formal"},
        ),
        ("Pitch deck for Acme", "Acme", {}),
        ("yoga for beginners in a fun style, 12 slides", "yoga",
         {"audience": "beginners", "tone": "fun", "slide_count": 12}),
        ("I want to talk about black holes to my class for 15 minutes", "black holes",
         {"audience": "my class", "duration_min": 15}),
        ("The 5-minute workout", "The 5-minute workout", {}),
        ("History, culture and food of Japan", "History, culture and food of Japan", {}),
        ("Photosynthesis - 10 minutes, for kids", "Photosynthesis", {"audience": "kids", "duration_min": 10}),
        ("introduction to people management", "introduction to people management", {}),
        ("Why do cats purr? for my kids", "Why do cats purr?", {"audience": "my kids"}),
        ("30 minutes about leadership for new managers", "leadership",
         {"audience": "new managers", "duration_min": 30}),
        ("A short talk on AI, please", "AI", {}),
        ("solar power. It should be 30 minutes and funny. Include a quiz.", "solar power",
         {"duration_min": 30, "tone": "funny", "focus": ["a quiz"]}),
        ("RENEWABLE ENERGY IN INDIA", "renewable energy in india", {}),
        ("NASA", "NASA", {}),
        ("कृष्ण", "कृष्ण", {}),
        ("“The tea ceremony”", "The tea ceremony", {}),
        ("I need a presentation for my board", "", {"audience": "my board"}),
        ("accept_plan", "", {}),
        ("🎉", "", {}),
    ],
)  # fmt: skip
def test_a_first_line_is_read_as_a_topic_and_what_else_it_says(line: str, topic: str, said: dict[str, Any]) -> None:
    brief = read_request(line)
    assert (brief.topic, understood(brief)) == (topic, said)


@pytest.mark.parametrize("line", ["x" * 16_000, "word " * 4_000, "a, " * 5_000, "Tea " + "\n" * 9_000])
def test_a_topic_has_a_sane_length(line: str) -> None:
    assert 0 < len(read_request(line).topic) <= MAX_TOPIC_CHARS


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("Krishna", "figure"), ("Marie Curie", "person"), ("Acme Inc", "pitch"), ("how to bake bread", "training"),
        ("black holes", "science"), ("the French Revolution", "history"), ("Q3 results", "results"),
        ("our product launch", "product"), ("a trip to Rome", "place"), ("diabetes", "health"),
        ("machine learning", "technology"), ("grandma's birthday", "event"), ("fractions", "lesson"),
        ("a strategy for 2027", "proposal"), ("jazz", "culture"), ("how do whales sleep?", "science"),
        ("trust", "general"),
    ],
)  # fmt: skip
def test_kinds_of_topic_are_told_apart(topic: str, kind: str) -> None:
    assert find_kind(topic) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_asked_about_in_its_own_words(kind: str) -> None:
    questions = choose_questions(Brief("Zed", kind))
    assert 3 <= len(questions) <= 5
    assert len({question.text for question in questions}) == len(questions)
    assert any("Zed" in question.text for question in questions)
    assert [question.key for question in questions][:2] == ["audience", "duration_min"]


def test_what_was_said_is_not_asked_again() -> None:
    keys = [question.key for question in choose_questions(read_request("tea for my class, 20 minutes, fun"))]
    assert not {"audience", "duration_min", "tone"} & set(keys)
    assert len(keys) >= 3
    everything = Brief("tea", "culture", "kids", 5, "fun", "inform", 4, ("x",))
    assert len(choose_questions(everything)) == 3


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("10 min", 10), ("ten minutes", 10), ("an hour and a half", 90), ("1h", 60), ("45m", 45), ("1h30", 90),
        ("quarter of an hour", 15), ("three quarters of an hour", 45), ("half an hour", 30), ("5-10 minutes", 8),
        ("1.5 hours", 90), ("2 and a half hours", 150), ("1 hour 20 minutes", 80), ("20-minute", 20), ("90 seconds", 2),
        ("an hour", 60), ("10 Minuten", 10), ("1 to 2 hours", 90), ("999999 minutes", 480),
    ],
)  # fmt: skip
def test_lengths_of_time_are_read(text: str, minutes: int) -> None:
    amount = find_duration(f"say {text}, please")
    assert amount is not None
    assert amount.value == minutes


@pytest.mark.parametrize("text", ["$45m", "45m users", "0 minutes", "in 1945", "minutes", "20 people", "slide 3"])
def test_other_numbers_are_no_lengths_of_time(text: str) -> None:
    assert find_duration(text) is None


def test_numbers_of_slides_are_read_but_not_numbers_of_a_slide() -> None:
    found = {text: find_slide_count(text) for text in ("12 slides", "8-10 slides", "ten slides", "slides: 7")}
    assert [amount.value if amount else None for amount in found.values()] == [12, 10, 10, 7]
    assert find_slide_count("slide 3") is None
    assert find_slide_count("3 slides shorter") is None


def test_lengths_are_spelled_out() -> None:
    assert [spell_duration(n) for n in (1, 10, 60, 90, 120)] == [
        "1 minute", "10 minutes", "1 hour", "1 hour 30 minutes", "2 hours",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Children, 10 min", {"audience": "Children", "duration_min": 10}),
        ("for 20 executives, half an hour, formal",
         {"audience": "20 executives", "duration_min": 30, "tone": "formal"}),
        ("1. kids 2. 10 minutes 3. fun", {"audience": "kids", "duration_min": 10, "tone": "fun"}),
        ("1. kids\n2. 10\n3. stories, festivals\n4. fun",
         {"audience": "kids", "duration_min": 10, "focus": ["stories", "festivals"], "tone": "fun"}),
        ("teenagers", {"audience": "teenagers"}),
        ("my team", {"audience": "my team"}),
        ("Plumbers, 45m", {"audience": "Plumbers", "duration_min": 45}),
        ("Kinder, 10 Minuten", {"audience": "Kinder", "duration_min": 10}),
        ("not too formal, 12 slides", {"tone": "friendly", "slide_count": 12}),
        ("focus on his childhood and the Gita, for kids", {"audience": "kids", "focus": ["his childhood", "the Gita"]}),
        ("Audience: plumbers; duration: 15 min", {"audience": "plumbers", "duration_min": 15}),
        ("kids, must cover Radha", {"audience": "kids", "focus": ["Radha"]}),
        ("the whole company, to get a decision", {"audience": "the whole company", "purpose": "get a decision"}),
        ("10", {"duration_min": 10}),
        ("you decide", {}),
        ("I don't know", {}),
        ("asdfgh", {}),
        ("🙂", {}),
        ("???", {}),
    ],
)  # fmt: skip
def test_answers_are_understood(text: str, said: dict[str, Any]) -> None:
    assert understood(read_answers(Brief("Krishna", "figure"), text)) == said


def test_what_is_assumed_is_marked_and_what_is_said_is_not() -> None:
    said = make_plan(read_answers(Brief("Krishna", "figure"), "Children, 10 min"))["key_assumptions"]
    assert said[:2] == ["Audience: children", "Length: 10 minutes"]
    assert [line.startswith("Tone") for line in said if "assumption" in line] == [True, False]
    guessed = make_plan(read_answers(Brief("Krishna", "figure"), "you decide"))["key_assumptions"]
    assert sum("my assumption" in line for line in guessed) == 4


@pytest.mark.parametrize(
    ("audience", "minutes", "asked", "count"),
    [
        ("children", 10, None, 5), ("adults", 10, None, 6), ("experts", 30, None, 20), (None, 60, None, 30),
        (None, 1, None, 2), (None, 480, None, 30), ("kids", 10, 12, 12), (None, 10, 100, 30), (None, 10, 1, 2),
    ],
)  # fmt: skip
def test_the_number_of_slides_follows_from_the_time(
    audience: str | None, minutes: int, asked: int | None, count: int
) -> None:
    brief = Brief("tea", "culture", audience, minutes, slide_count=asked)
    assert slide_count_of(brief) == count
    assert make_plan(brief)["proposed_slide_count"] == count


def test_a_plan_says_when_it_cannot_have_as_many_slides_as_asked() -> None:
    assert any(
        "30 is the most" in line for line in make_plan(Brief("tea", "culture", slide_count=99))["key_assumptions"]
    )


def test_a_brief_survives_json() -> None:
    brief = Brief("tea", "culture", "kids", 5, "fun", "inform", 4, ("cups", "pots"))
    assert unpack(json.loads(json.dumps({**pack(brief), "later": 1}))) == brief


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("make it 20 minutes", {"duration_min": 20}),
        ("for adults", {"audience": "adults"}),
        ("5 slides", {"slide_count": 5}),
        ("more playful", {"tone": "playful"}),
        ("could you make it 20 minutes and more formal, please?", {"duration_min": 20, "tone": "formal"}),
        ("add something about the Gita", {"focus": ("the Gita",)}),
        ("make it about Shiva", {"topic": "Shiva"}),
        ("shorter", {"slide_count": 3, "duration_min": 6}),
        ("yes, but 12 slides", {"slide_count": 12}),
    ],
)
def test_a_plan_is_changed_as_wished(words: str, changes: dict[str, Any]) -> None:
    before = Brief("Krishna", "figure", "children", 10)
    change = change_plan(before, words)
    assert change.done
    assert not change.missed
    assert {name: getattr(change.brief, name) for name in changes} == changes
    unchanged = {"topic", "audience", "duration_min", "tone", "slide_count", "focus"} - set(changes)
    assert all(getattr(change.brief, name) == getattr(before, name) for name in unchanged)


@pytest.mark.parametrize("words", ["", "no", "banana", "purple monkey dishwasher"])
def test_a_plan_is_not_changed_silently(words: str) -> None:
    change = change_plan(Brief("Krishna", "figure"), words)
    assert (change.brief, change.done) == (Brief("Krishna", "figure"), ())
    assert bool(change.missed) == (len(words) > 2)


def test_a_new_length_replaces_a_number_of_slides_that_was_asked_for_earlier() -> None:
    assert slide_count_of(change_plan(Brief("tea", "culture", slide_count=12), "make it 10 minutes").brief) == 6


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


def test_a_deck_survives_memory() -> None:
    deck = refine(draft(), "add a slide on cows").strawman
    stored = json.loads(json.dumps(pack_strawman(deck, "id", "https://x/decks/id")))
    assert recall_strawman({"presentation_strawman": stored}) == deck


@pytest.mark.parametrize(
    ("line", "allowed", "intent"),
    [
        ("yes", PLAN, "Accept_Plan"), ("sounds great", PLAN, "Accept_Plan"), ("ok go ahead!", PLAN, "Accept_Plan"),
        ("👍", PLAN, "Accept_Plan"), ("no", PLAN, "Reject_Plan"), ("not really", PLAN, "Reject_Plan"),
        ("yes, but make it 20 minutes", PLAN, "Change_Parameter"),
        ("can you make it shorter?", PLAN, "Change_Parameter"),
        ("is this good?", PLAN, "Ask_Help_Or_Question"), ("Why 5 slides?", PLAN, "Ask_Help_Or_Question"),
        ("let's do Mars instead", PLAN, "Change_Topic"), ("let's do 20 minutes instead", PLAN, "Change_Parameter"),
        ("looks good", SLIDES, "Accept_Strawman"), ("no", SLIDES, "Submit_Refinement_Request"),
        ("make a slide about costs", SLIDES, "Submit_Refinement_Request"),
        ("make the presentation more about love", SLIDES, "Submit_Refinement_Request"),
        ("make a presentation about whales", SLIDES, "Change_Topic"), ("new topic: whales", SLIDES, "Change_Topic"),
        ("change the topic to whales", SLIDES, "Change_Topic"), ("start over", SLIDES, "Change_Topic"),
        ("accept_outline", SLIDES, "Ask_Help_Or_Question"), ("help", SLIDES, "Ask_Help_Or_Question"),
        ("Krishna", FIRST, "Submit_Initial_Topic"), ("hello", FIRST, "Ask_Help_Or_Question"),
        ("what can you do?", FIRST, "Ask_Help_Or_Question"), ("yes", FIRST, "Ask_Help_Or_Question"),
        ("How do I bake bread?", FIRST, "Submit_Initial_Topic"), ("how do I start?", FIRST, "Ask_Help_Or_Question"),
        ("new topic: tea", FIRST, "Submit_Initial_Topic"), ("create a presentation", FIRST, "Ask_Help_Or_Question"),
        ("can you make a presentation about whales?", FIRST, "Submit_Initial_Topic"),
        ("Children, 10 min", ANSWERS, "Submit_Clarification_Answers"),
        ("skip", ANSWERS, "Submit_Clarification_Answers"),
        ("why do you ask?", ANSWERS, "Ask_Help_Or_Question"), ("new topic: tea", ANSWERS, "Change_Topic"),
        ("what do you suggest?", ANSWERS, "Submit_Clarification_Answers"), ("yes", ANSWERS, "Ask_Help_Or_Question"),
    ],
)  # fmt: skip
def test_a_line_means_the_move_that_a_person_would_expect(line: str, allowed: tuple[str, ...], intent: str) -> None:
    assert read_intent(line, allowed, has_topic=True) == intent


def test_the_new_topic_is_what_follows() -> None:
    lines = [
        "new topic: the moon",
        "change the topic to tea",
        "let's do Mars instead",
        "start over",
        "make slide 3 about tea",
    ]
    assert [read_new_topic(line) for line in lines] == ["the moon", "tea", "Mars", "", None]


@pytest.mark.parametrize(
    ("line", "agrees"),
    [
        ("Yes, let's build it!", True), ("not bad", True), ("👍👍", True), ("I like the idea", True), ("👎", False),
        ("I don't like it", False), ("yes but shorter", None), ("is it good", None), ("", None), ("👍👎", None),
    ],
)  # fmt: skip
def test_yes_and_no(line: str, agrees: bool | None) -> None:
    assert read_consent(line) is agrees


def test_audiences_belong_to_groups_and_are_spoken_of() -> None:
    groups = {
        text: group_of(text) for text in ("8-10 year olds", "16 year olds", "20 executives", "my team", "kids", "xyz")
    }
    assert list(groups.values()) == ["children", "teenagers", "executives", "team", "children", "general"]
    assert (speak_of("my Team"), label_of("my team"), speak_of("Children")) == ("your Team", "Team", "children")
    assert speak_of("VCs") == "VCs"


def test_tones_belong_to_families() -> None:
    assert [family_of(word) for word in ("fun", "formal", None, "xyz")] == ["playful", "formal", "friendly", "friendly"]
    tone = find_tone("please, less formal")
    assert tone is not None
    assert tone.word == "friendly"
    assert find_tone("nothing here") is None


def test_wording() -> None:
    assert tidy("  a\t b\n c ", 80) == "a b c"
    assert len(tidy("word " * 100, 50)) <= 50
    assert clean("a\x00b\u202ec\nd", 10) == "a b c\nd"
    assert clean("\ud800x", 10).encode() == b" x"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert plain("a*b<c") == "a\\*b\\<c"
    assert [is_gibberish(text) for text in ("asdf", "sdfghj", "tea", "rhythm", "Дети")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_outlines_are_complete_for_every_kind() -> None:
    for kind in KINDS:
        for outline in outlines_for(kind, "Zed"):
            assert outline.place in (1, 2, 3)
            assert len(outline.points) >= 3
            assert outline.figure


HOSTILE = [
    "for " * 4_000, "a " * 8_000, "1. " * 5_000, "slide 1, " * 2_000, "make slide 3 about " * 800, "," * 16_000,
    "and " * 4_000, "- " * 8_000, "please " * 2_300, "10 " * 5_000, "the last first " * 1_000,
    "is the presentation " * 800,
    "new topic " * 1_600, "no but yes " * 1_400, '"a" ' * 4_000, "((((" * 4_000, "aaaa_" * 3_000, "é" * 16_000,
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_no_line_takes_long_to_read(line: str) -> None:
    start = time.process_time()
    read_request(line)
    read_answers(Brief("tea", "culture"), line)
    change_plan(Brief("tea", "culture"), line)
    refine(draft(5), line)
    for allowed in (FIRST, ANSWERS, PLAN, SLIDES):
        assert read_intent(line, allowed, has_topic=True) in allowed
    assert time.process_time() - start < 1.5
    assert len(read_details(line).rest) <= 40
