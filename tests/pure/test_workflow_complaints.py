"""What a wrong table is told: where it is wrong, what is wrong, and what would be right; everything at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from server.errors import WorkflowError
from server.workflows.page import Page
from server.workflows.table import STAY, Button, Output, State, Step, Turn, Workflow, chat


def say(turn: Turn) -> Iterator[Output]:
    yield chat("here")


def classify(turn: Turn, intents: Sequence[str]) -> str:
    return turn.line.text


LEFT = Button("go_left", "Go left", "Left", primary=True)
HALL = State("HALL", say, {"Left": "ROOM"}, [LEFT])
ROOM = State("ROOM", say, {"Back": "HALL"})
ROOF = State("ROOF", say, final=True)
#: Its text has two meanings, for which there is a classifier.
CROSSING = replace(HALL, on={"Left": "ROOM", "Right": "HALL", "Climb": "ROOF"})


def told(*states: Any, **fields: Any) -> list[str]:
    known: dict[str, Any] = {"name": "walk", "start": "HALL", "states": states}
    with pytest.raises(WorkflowError) as raised:
        Workflow(**{**known, **fields})
    assert str(raised.value).splitlines()[0] == f"workflow {fields.get('name', 'walk')!r}:"
    return raised.value.complaints


def the_one(*states: Any, **fields: Any) -> str:
    [complaint] = told(*states, **fields)
    return complaint


def test_a_table_that_works_is_taken() -> None:
    Workflow("walk", "HALL", [HALL, ROOM])
    Workflow("walk", "HALL", [CROSSING, ROOM, ROOF], classify=classify, always={"Help": STAY})


@pytest.mark.parametrize("name", ["", "two words", "ä", "-x", "x" * 65])
def test_a_name_that_cannot_stand_in_an_address(name: str) -> None:
    assert the_one(HALL, ROOM, name=name) == (
        f"the name {name!r} cannot be used: a name has 1 to 64 letters, digits, '-' and '_', as it stands in addresses"
    )


def test_a_policy_that_there_is_not() -> None:
    for known in ("queue", "interrupt", "reject"):
        Workflow("walk", "HALL", [HALL, ROOM], when_busy=known)
    assert the_one(HALL, ROOM, when_busy="wait") == "when_busy is 'wait', and can be queue, interrupt, reject"


def test_a_negative_context() -> None:
    assert the_one(HALL, ROOM, context=-1) == "context is -1: it is a number of events, 0 or more"


def test_a_start_that_is_not_a_state() -> None:
    assert the_one(HALL, ROOM, start="HAL") == "start is 'HAL', and there is no such state; did you mean 'HALL'?"
    assert the_one(HALL, ROOM, start="ATTIC") == "start is 'ATTIC', and there is no such state"


def test_a_state_that_is_there_twice() -> None:
    assert the_one(HALL, ROOM, ROOM) == "state ROOM is there twice: give each a name of its own"


def test_an_intent_that_leads_to_no_state() -> None:
    back = replace(ROOM, on={"Back": "HALL", "Leave": "HALLL"})
    assert told(HALL, back) == [
        "state ROOM: 'Leave' leads to 'HALLL', and there is no such state; did you mean 'HALL'?",
        "state ROOM: free text could mean 'Back' or 'Leave': give the workflow a `classify` that tells them apart,"
        " or each of them a button but one",
    ]
    assert the_one(HALL, ROOM, classify=classify, always={"Up": "SKY"}) == (
        "always: 'Up' leads to 'SKY', and there is no such state"
    )


def test_a_state_that_does_not_understand_the_fallback() -> None:
    room = replace(ROOM, on={"Back": "HALL", "Say": STAY})
    assert the_one(HALL, room, fallback="Say") == (
        "state HALL does not understand the fallback 'Say': add it to `always`, as {'Say': STAY}, or leave"
        " `fallback` out"
    )


@pytest.mark.parametrize("on", [{}, {"Wait": STAY}, {"Wait": "ROOM"}])
def test_a_state_without_a_way_out_unless_it_is_final(on: dict[str, str]) -> None:
    assert the_one(HALL, replace(ROOM, on=on)) == (
        "state ROOM has no way out: let an intent of its `on` lead to another state, or say final=True"
    )
    Workflow("walk", "HALL", [HALL, replace(ROOM, on=on, final=True)])


def test_text_of_two_meanings_without_a_classifier() -> None:
    assert the_one(CROSSING, ROOM, ROOF) == (
        "state HALL: free text could mean 'Right' or 'Climb': give the workflow a `classify` that tells them apart,"
        " or each of them a button but one"
    )


def test_an_intent_of_every_state_that_nothing_can_mean() -> None:
    assert the_one(HALL, ROOM, always={"Help": STAY}) == (
        "always: nothing can mean 'Help': give it a button, or the workflow a `classify`"
    )
    Workflow("walk", "HALL", [replace(HALL, buttons=[LEFT, Button("help", "Help", "Help")]), ROOM], always={"Help": STAY})  # fmt: skip  # noqa: E501
    Workflow("walk", "HALL", [HALL, ROOM], always={"Say": STAY}, fallback="Say")


def test_a_button_whose_intent_leads_nowhere() -> None:
    hall = replace(HALL, buttons=[Button("go_left", "Go left", "Lefft")])
    assert the_one(hall, ROOM) == (
        "state HALL: button 'go_left' means 'Lefft', which leads nowhere: add it to the state's `on`;"
        " did you mean 'Left'?"
    )


@pytest.mark.parametrize(("value", "label"), [("", "Go"), ("go", " ")])
def test_a_button_without_a_value_or_a_label(value: str, label: str) -> None:
    assert the_one(replace(HALL, buttons=[Button(value, label, "Left")]), ROOM) == (
        f"state HALL: a button has the value {value!r} and the label {label!r}: give it both"
    )


def test_a_button_may_stand_in_two_states_only_if_it_is_the_same() -> None:
    room = State("ROOM", say, {"Back": "HALL", "Left": "ROOM"}, [LEFT])
    Workflow("walk", "HALL", [HALL, room])
    assert the_one(HALL, replace(room, buttons=[replace(LEFT, label="Leave", intent="Back")], on={"Back": "HALL"})) == (
        "button 'go_left' differs from state to state: make them the same, or name one anew"
    )
    others = [replace(room, name=name, buttons=[replace(LEFT, label=name)]) for name in ("ROOM", "ROOF")]
    assert len(told(replace(HALL, on={"Left": "ROOM", "Up": "ROOF"}), *others)) == 1  # once a button


def test_two_buttons_of_a_state_that_are_called_the_same() -> None:
    hall = replace(HALL, buttons=[LEFT, Button("left", "go  LEFT", "Left")])
    assert the_one(hall, ROOM) == ("state HALL: 'go  LEFT' names the buttons 'go_left' and 'left': name one anew")


def test_a_state_that_cannot_be_reached() -> None:
    attic = State("ATTIC", say, {"Down": "HALL"})
    assert the_one(HALL, ROOM, attic) == (
        "state ATTIC cannot be reached: let an intent of another state lead to it, or take it out"
    )
    Workflow("walk", "HALL", [HALL, ROOM, attic], classify=classify, always={"Up": "ATTIC"})


async def silent(turn: Turn) -> None:
    """No step, for it has no `yield`."""


def mute(turn: Turn) -> None:
    """Nor is this one."""


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (silent, ", silent, yields nothing: an `async def` without `yield` is no step"),
        (mute, ", mute, yields nothing: say something with `yield chat(…)`"),
        ("hello", " is a str: it is a function that takes a Turn and yields outputs"),
    ],
)
def test_a_step_that_is_none(step: Any, reason: str) -> None:
    assert the_one(HALL, replace(ROOM, run=step)) == f"state ROOM: its step{reason}"
    assert the_one(HALL, ROOM, answer=step) == f"answer{reason}"


def test_a_function_that_chooses_between_steps_is_one() -> None:
    by_words: Step = lambda turn: say(turn) if turn.line.words else iter([chat("nothing")])  # noqa: E731
    Workflow("walk", "HALL", [HALL, replace(ROOM, run=by_words)])


def test_a_classifier_that_yields() -> None:
    assert the_one(HALL, ROOM, classify=say) == "classify yields: it returns the name of one intent"


@pytest.mark.parametrize(
    ("states", "complaint"),
    [
        (HALL, "`states` is a State: it is a list, as [State('HELLO', greet, …), …]"),
        ("HALL", "`states` is a str: it is a list, as [State('HELLO', greet, …), …]"),
        ([HALL, "ROOM"], "state number 2 is a str: write State(name, step, on={intent: state})"),
        (
            [replace(HALL, on={"Left"})],  # type: ignore[arg-type]
            "state HALL: `on` is a set: it maps intents to states, as {'Yes': 'NEXT'}",
        ),
        ([replace(HALL, buttons=LEFT)], "state HALL: `buttons` is a Button: it is a list, as [Button(…), …]"),  # type: ignore[arg-type]
        ([replace(HALL, buttons=["x"])], "state HALL: a button is a str: write Button(value, label, intent)"),  # type: ignore[list-item]
    ],
)
def test_a_part_that_is_not_of_its_type(states: Any, complaint: str) -> None:
    assert the_one(states=states) == complaint


def test_intents_of_every_state_without_targets() -> None:
    assert the_one(HALL, ROOM, always=["Help"]) == "`always` is a list: it maps intents to states, as {'Help': STAY}"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"frames": {"chat_message": str}},
            "frames: every workflow has chat_message, so take it out",
        ),
        (
            {"frames": {"turn_failed": str}},
            "frames: every workflow has turn_failed, so take it out",
        ),
        ({"page": Page("drawings", "drawing", str)}, "page: its type 'drawing' is not in `frames`: add it"),
        (
            {"frames": {"drawing": str}, "page": Page("a/b", "drawing", str)},
            "page: its path is 'a/b': it is one word of 1 to 40 characters of a-z, 0-9 and -",
        ),
    ],
)
def test_frames_and_a_page_that_cannot_be(fields: dict[str, Any], complaint: str) -> None:
    assert the_one(HALL, ROOM, **fields) == complaint


def test_every_complaint_is_told_at_once() -> None:
    complaints = told(HALL, State("ATTIC", say), fallback="Think", when_busy="wait", name="two words")
    assert len(complaints) == 7
