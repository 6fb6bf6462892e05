"""What the assistant of rules reads in a line: topics, answers, amounts, intents, consent."""

import time
from typing import Any

import pytest

from server.workflows.builder.rules.amounts import find_duration, find_slide_count
from server.workflows.builder.rules.brief import Brief, read_details
from server.workflows.builder.rules.consent import read_consent
from server.workflows.builder.rules.intents import read_intent, read_new_topic
from server.workflows.builder.rules.kinds import find_kind
from server.workflows.builder.rules.plan import change_plan, read_answers, understood
from server.workflows.builder.rules.refine import refine
from server.workflows.builder.rules.topic import MAX_TOPIC_CHARS, read_request
from tests.workflows.builder.drafts import draft

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
