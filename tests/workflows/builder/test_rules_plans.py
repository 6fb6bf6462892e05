"""What the assistant of rules asks, plans and changes in a plan."""

import json
from typing import Any

import pytest

from server.workflows.builder.rules.brief import Brief, pack, unpack
from server.workflows.builder.rules.kinds import KINDS
from server.workflows.builder.rules.plan import change_plan, make_plan, read_answers, slide_count_of
from server.workflows.builder.rules.questions import choose_questions
from server.workflows.builder.rules.topic import read_request


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
