"""A workflow without `answer`, `classify` and `fallback`: what it understands, and what it says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from server.workflows.move import step_at_once
from server.workflows.table import OTHER, STALE, STAY, Button, Line, Output, Result, State, Turn, Workflow, chat
from tests.support.builders import SESSION


def say(turn: Turn) -> Iterator[Output]:
    yield chat(f"{turn.intent} in {turn.state}")


TEA, COFFEE = Button("tea", "Some tea", "Tea"), Button("coffee", "A coffee", "Coffee")
ASK_NAME = State("ASK_NAME", say, {"Name": "CHOOSE"})
CHOOSE = State("CHOOSE", say, {"Tea": "DONE", "Coffee": "DONE"}, [TEA, COFFEE])
DONE = State("DONE", say, final=True)
DRINKS = Workflow("drinks", "ASK_NAME", [ASK_NAME, CHOOSE, DONE])


def answer(text: str, state: str, workflow: Workflow = DRINKS, *, action: str | None = None) -> Result:
    turn = Turn(
        session_id=SESSION,
        number=3,
        attempt=1,
        line=Line(text, text, action),
        intent="",
        came_from=state,
        state=state,
        memory={},
        events=(),
        new_id=lambda: "fresh",
        public_url="http://localhost",
    )
    result = step_at_once(workflow, turn)
    assert result is not None
    return result


def said(result: Result) -> list[str]:
    return [frame.payload.get("text") or frame.payload["prompt_text"] for frame in result.frames]


def test_text_means_the_only_intent_that_no_button_means() -> None:
    assert (answer("Ann", "ASK_NAME").intent, answer("Ann", "ASK_NAME").to) == ("Name", "CHOOSE")
    beside_a_button = replace(CHOOSE, on={"Tea": "DONE", "Coffee": "DONE", "Wish": "DONE"})
    workflow = Workflow("drinks", "ASK_NAME", [ASK_NAME, beside_a_button, DONE])
    assert answer("milk", "CHOOSE", workflow).intent == "Wish"


def test_text_where_there_are_only_buttons_gets_the_buttons_again() -> None:
    result = answer("milk", "CHOOSE")
    assert (result.intent, result.to) == (OTHER, "CHOOSE")
    assert said(result) == [
        "I did not understand that. You can choose here: Some tea, A coffee.",
        "What would you like to do?",
    ]
    assert [action["value"] for action in result.frames[1].payload["actions"]] == ["tea", "coffee"]


def test_a_button_that_is_gone_says_so_and_gets_those_that_are_there() -> None:
    result = answer("x", "CHOOSE", action="cake")
    assert (result.intent, result.to) == (STALE, "CHOOSE")
    assert said(result)[0] == "That choice is no longer open. You can choose here: Some tea, A coffee."
    assert said(answer("x", "ASK_NAME", action="tea")) == [
        "That choice is no longer open. Please write it in other words."
    ]


def test_the_end_says_that_it_is_the_end() -> None:
    assert said(answer("more", "DONE")) == ["This conversation is finished. Start a new one to begin again."]


def test_the_fallback_may_lead_on() -> None:
    end = replace(DONE, on={OTHER: "ASK_NAME"})
    assert answer("again", "DONE", Workflow("drinks", "ASK_NAME", [ASK_NAME, CHOOSE, end])).to == "ASK_NAME"


def test_a_fallback_of_ones_own_takes_the_place_of_the_usual_one() -> None:
    workflow = replace(DRINKS, fallback="Say", always={"Say": STAY})
    assert answer("milk", "CHOOSE", workflow).intent == "Say"
    assert OTHER not in workflow.allowed(CHOOSE)
    assert OTHER in DRINKS.allowed(CHOOSE)


def test_ones_own_answer_and_classifier_take_the_place_of_the_usual_ones() -> None:
    def classify(turn: Turn, intents: Sequence[str]) -> str:
        return "Coffee"

    assert answer("milk", "CHOOSE", replace(DRINKS, classify=classify)).intent == "Coffee"
    assert said(answer("milk", "CHOOSE", replace(DRINKS, answer=say))) == ["Other in CHOOSE"]


def test_a_changed_table_answers_with_its_own_buttons() -> None:
    other = replace(DRINKS, states=[ASK_NAME, replace(CHOOSE, on={"Tea": "DONE"}, buttons=[TEA]), DONE])
    assert said(answer("milk", "CHOOSE", other))[0].endswith("You can choose here: Some tea.")


@pytest.mark.parametrize("text", ["Ann", ""])
def test_any_text_will_do(text: str) -> None:
    assert answer(text, "ASK_NAME").intent == "Name"
