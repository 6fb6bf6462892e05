"""A workflow's table: what makes one wrong, how a line becomes a move, what a step amounts to."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from server.assistant import Message, Prompting
from server.errors import StepError, WorkflowError
from server.workflows.move import step
from server.workflows.page import Page
from server.workflows.table import (
    OPEN,
    STALE,
    STAY,
    Ask,
    Button,
    Delta,
    Frame,
    Line,
    Output,
    Progress,
    Remember,
    Result,
    State,
    Step,
    Turn,
    Workflow,
    chat,
)
from server.workflows.tools import ToolContext, ToolLimits, ToolSpec
from tests.support.builders import SESSION

LEFT = Button("go_left", "Go left", "Left", primary=True)
RIGHT = Button("go_right", "Go right", "Right", requires_input=True)


def saying(*outputs: Output) -> Step:
    async def say(turn: Turn) -> AsyncIterator[Output]:
        for output in outputs or (chat(f"{turn.intent} in {turn.state}"),):
            yield output

    return say


async def classify(turn: Turn, intents: Sequence[str]) -> str:
    return turn.line.text


def table(*states: State, **fields: Any) -> Workflow:
    known: dict[str, Any] = {
        "name": "walk",
        "start": "HALL",
        "states": states,
        "answer": saying(chat("still here")),
        "classify": classify,
        "fallback": "Say",
        "always": {"Say": STAY},
    }
    return Workflow(**{**known, **fields})


HALL = State("HALL", saying(), {"Left": "ROOM", "Right": "HALL", "Climb": "ROOF"}, [LEFT, RIGHT])
ROOM = State("ROOM", saying(), {"Back": "HALL"})
ROOF = State("ROOF", saying(), final=True)
WALK = table(HALL, ROOM, ROOF)


def turn(text: str = "", *, came_from: str = "HALL", action: str | None = None, intent: str = "") -> Turn:
    return Turn(
        session_id=SESSION,
        number=3,
        attempt=1,
        line=Line(text=text, words=text, action=action),
        intent=intent,
        came_from=came_from,
        state=came_from,
        memory={},
        events=(),
        new_id=lambda: "fresh",
        public_url="http://localhost",
    )


def play(workflow: Workflow, turn: Turn, *, stale: bool = False) -> list[Progress | Delta | Result]:
    async def collect() -> list[Progress | Delta | Result]:
        return [output async for output in step(workflow, turn, stale=stale)]

    # These steps wait for nothing, so their first move is their last: no event loop is needed.
    with pytest.raises(StopIteration) as stopped:
        collect().send(None)
    outputs: list[Progress | Delta | Result] = stopped.value.value
    return outputs


def result(workflow: Workflow, turn: Turn, *, stale: bool = False) -> Result:
    last = play(workflow, turn, stale=stale)[-1]
    assert isinstance(last, Result)
    return last


# ---------------------------------------------------------------- the table is checked when it is made


def test_a_table_that_works_is_taken() -> None:
    assert WALK.state("ROOM") is ROOM
    assert WALK.summary({"a": 1}) == {}


def test_tools_are_declared_by_name_or_whole() -> None:
    def opening(context: ToolContext) -> Any:
        raise AssertionError("a table opens nothing")

    spec = ToolSpec("clock", opening, "What time it is.")
    assert table(HALL, ROOM, ROOF).declared == {}
    assert table(HALL, ROOM, ROOF, tools={"clock": opening}).declared == {"clock": ToolSpec("clock", opening)}
    assert table(HALL, ROOM, ROOF, tools=[spec]).declared == {"clock": spec}
    no_function: Any = "y"
    with pytest.raises(WorkflowError) as raised:
        table(
            HALL,
            ROOM,
            ROOF,
            tools=[spec, spec, ToolSpec("", opening), ToolSpec("x", no_function, limits=ToolLimits(timeout_ms=0))],
        )
    assert raised.value.complaints == [
        "tool clock is there twice: give each a name",
        "a tool has no name: give it one",
        "tool x: `open` is a str: it is a function that takes a ToolContext",
        "tool x: timeout_ms is 0: it is 1 or more, or None",
    ]


@pytest.mark.parametrize("tools", [5, ["clock"], None])
def test_what_is_no_list_of_tools_is_told(tools: Any) -> None:
    with pytest.raises(WorkflowError, match="`tools` maps names to functions that open a tool"):
        table(HALL, ROOM, ROOF, tools=tools)


def test_a_step_without_tools_is_told_so() -> None:
    tools = turn().tools
    for call in (tools.call("clock"), tools.call_all(("clock", None))):
        with pytest.raises(StepError) as raised:
            call.send(None)
        assert str(raised.value) == "there is no tool 'clock'; this step can call: none"


def test_a_turn_has_its_time_and_its_line_the_one_of_its_receipt() -> None:
    one = structs.replace(turn(), now_ms=1_750_000_000_500)
    assert one.now == datetime(2025, 6, 15, 15, 6, 40, 500_000, tzinfo=UTC)
    assert WALK.read_line("Go on", None, 1_750_000_000_000).at_ms == 1_750_000_000_000


def test_a_stored_state_that_the_table_lacks_breaks_the_step_not_the_server() -> None:
    with pytest.raises(StepError) as raised:
        WALK.state("CELLAR")
    assert raised.value.code == "step_failed"


def test_a_table_wants_no_events_unless_it_says_so() -> None:
    """One that does is read for before every step, and never answered at once."""
    assert (WALK.context, table(HALL, ROOM, ROOF, context=5).context) == (0, 5)


# ---------------------------------------------------------------- what a step sees of the past


def test_the_window_of_a_step_has_a_bound_in_messages_and_ends_with_the_line() -> None:
    said = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    seen = structs.replace(turn("four"), messages=said, prompting=Prompting(context_limit=3))
    assert seen.window() == (*said[1:], Message("user", "four"))


def test_the_window_of_a_step_begins_with_the_summary() -> None:
    seen = structs.replace(turn("four"), messages=[Message("user", "three")], summary="They talk of tea.")
    summary, *others = seen.window()
    assert "They talk of tea." in summary.text
    assert others == [Message("user", "three"), Message("user", "four")]


def test_the_system_prompt_takes_its_part_of_a_windows_budget() -> None:
    said = [Message("user", "word " * 20) for _ in range(4)]
    seen = structs.replace(turn("four"), messages=said, prompting=Prompting(token_budget=115))
    assert len(seen.window()) > len(seen.window("word " * 20)) > 1
    assert seen.window("word " * 2_000) == (Message("user", "four"),)


# ---------------------------------------------------------------- buttons and words


def test_a_button_is_found_in_whichever_state_it_stands() -> None:
    assert WALK.button("go_right") is RIGHT
    assert WALK.button("fly") is None


@pytest.mark.parametrize("text", ["Go left", " go  LEFT", "go_left", "GO_LEFT"])
def test_text_that_is_only_a_buttons_name_has_no_words_of_its_own(text: str) -> None:
    assert WALK.read_line(text, "go_left") == Line(text, "", "go_left")


def test_words_that_come_with_a_button_are_kept() -> None:
    assert WALK.read_line("because of the dog", "go_right").words == "because of the dog"


@pytest.mark.parametrize("action", [None, "fly"])
def test_without_a_known_button_all_words_are_the_persons_own(action: str | None) -> None:
    assert WALK.read_line("Go left", action) == Line("Go left", "Go left", action)


def test_in_its_state_a_button_is_named_by_value_or_label_and_elsewhere_by_value() -> None:
    assert WALK.find_action("HALL", " go LEFT ") == "go_left"
    assert WALK.find_action("HALL", "Go_Right") == "go_right"
    assert WALK.find_action("ROOM", "go_left") == "go_left"
    assert WALK.find_action("ROOM", "Go left") is None
    assert WALK.find_action("CELLAR", "go_left") == "go_left"
    assert WALK.find_action("HALL", "hello") is None


def test_a_button_is_decided_by_state_and_action_alone() -> None:
    assert WALK.decide(HALL, Line("whatever", "whatever", "go_right")) == "Right"
    assert WALK.decide(ROOM, Line("Go right", "", "go_right")) == STALE
    assert WALK.decide(HALL, Line("Climb", "Climb")) is None


def test_a_states_own_intents_come_before_those_of_every_state() -> None:
    workflow = table(HALL, ROOM, ROOF, always={"Say": STAY, "Back": "ROOF"})
    assert workflow.allowed(ROOM) == {"Say": STAY, "Back": "HALL"}


# ---------------------------------------------------------------- a line becomes a move


def test_free_text_is_classified_among_what_the_state_allows() -> None:
    asked: list[Sequence[str]] = []

    async def note(turn: Turn, intents: Sequence[str]) -> str:
        asked.append(intents)
        return "Climb"

    workflow = replace(WALK, classify=note)
    assert (result(workflow, turn("up")).intent, result(workflow, turn("up")).to) == ("Climb", "ROOF")
    assert set(asked[0]) == {"Say", "Left", "Right", "Climb"}


def test_a_button_is_never_classified() -> None:
    moved = result(WALK, turn("Climb", action="go_left"))
    assert (moved.intent, moved.to) == ("Left", "ROOM")


def test_a_move_that_the_table_lacks_cannot_happen() -> None:
    moved = result(WALK, turn("Climb", came_from="ROOM"))
    assert (moved.intent, moved.to) == ("Say", "ROOM")


def test_the_step_of_the_state_that_is_entered_speaks() -> None:
    assert result(WALK, turn("Left")).frames[0].payload["text"] == "Left in ROOM"


def test_entering_the_same_state_again_runs_its_step_and_staying_does_not() -> None:
    assert result(WALK, turn("Right")).frames[0].payload["text"] == "Right in HALL"
    assert result(WALK, turn("hello")).frames[0].payload["text"] == "still here"


def test_a_closed_card_and_a_button_of_another_state_move_nothing() -> None:
    for moved in (result(WALK, turn("x", action="go_left"), stale=True),
                  result(WALK, turn("x", came_from="ROOM", action="go_left"))):  # fmt: skip
        assert (moved.intent, moved.frames[0].payload["text"]) == (STALE, "still here")
    assert moved.to == "ROOM"


def test_opening_a_session_runs_the_start_without_a_move() -> None:
    opened = result(WALK, turn(intent=OPEN))
    assert (opened.intent, opened.to, opened.frames[0].payload["text"]) == (OPEN, "HALL", "Open in HALL")


# ---------------------------------------------------------------- what a step amounts to


def test_what_is_shown_comes_at_once_and_the_result_last() -> None:
    shown = Progress("half", 50), Delta("so ")
    workflow = table(HALL, ROOM, ROOF, answer=saying(*shown, chat("so far")))
    assert play(workflow, turn("x")) == [*shown, Result("Say", "HALL", (chat("so far"),), {})]


def test_memory_is_collected_and_the_later_change_counts() -> None:
    outputs = Remember({"a": 1, "b": 2}), chat("x"), Remember({"b": None})
    workflow = table(HALL, ROOM, ROOF, answer=saying(*outputs))
    assert result(workflow, turn("x")).memory == {"a": 1, "b": None}


def test_a_question_shows_the_buttons_of_the_state_that_is_entered() -> None:
    room = replace(ROOM, run=saying(chat("a room"), Ask("And now?")), buttons=[Button("back", "Go back", "Back")])
    said, asked = result(table(HALL, room, ROOF), turn("Left")).frames
    assert said == chat("a room")
    action = {"label": "Go back", "value": "back", "primary": False, "requires_input": False}
    assert asked == Frame("action_request", {"prompt_text": "And now?", "actions": [action]})


def test_a_step_that_says_nothing_has_failed() -> None:
    workflow = table(HALL, ROOM, ROOF, answer=saying(Remember({"a": 1})))
    with pytest.raises(StepError, match="said nothing"):
        play(workflow, turn("x"))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("hello", "yielded str 'hello': write `yield chat('hello')`"),
        ({"a": 1}, "yielded a value of type dict: write `yield Remember(…)`"),
        (None, "yielded None, expected chat(…), Frame, Ask,"),
        (LEFT, "yielded a value of type Button, expected"),
    ],
)
def test_a_step_that_yields_what_is_no_output_has_failed_and_the_reason_says_what_to_write(
    output: Any, told: str
) -> None:
    workflow = table(HALL, ROOM, ROOF, answer=saying(chat("x"), output))
    with pytest.raises(StepError) as raised:
        play(workflow, turn("x"))
    assert told in str(raised.value)
    assert raised.value.code == "step_failed"


def test_a_chat_message_is_markdown_with_an_optional_list() -> None:
    assert chat("x", sub_title="y", list_items=("a", "b")).payload == {
        "text": "x",
        "sub_title": "y",
        "list_items": ["a", "b"],
        "format": "markdown",
    }
    assert chat("x").payload["list_items"] is None


class Steps:
    """A step that is an iterator and no generator: there is nothing to close."""

    def __init__(self, turn: Turn) -> None:
        self.left: list[Output] = [chat(turn.intent)]

    def __aiter__(self) -> "Steps":
        return self

    async def __anext__(self) -> Output:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


def test_a_step_may_be_any_iterator() -> None:
    workflow = table(replace(HALL, run=Steps), ROOM, ROOF)
    assert result(workflow, turn(intent=OPEN)).frames == (chat(OPEN),)


def test_closing_a_turn_closes_its_step() -> None:
    """By itself: one that is merely dropped would be closed by the collector, later, and while others hold it never."""
    closed: list[str] = []
    held: list[AsyncIterator[Output]] = []

    async def stream(turn: Turn) -> AsyncIterator[Output]:
        try:
            yield Delta("one")
            yield Delta("two")
        finally:
            closed.append("step")

    def run(turn: Turn) -> AsyncIterator[Output]:
        held.append(stream(turn))
        return held[0]

    async def hear_one() -> None:
        outputs = step(table(replace(HALL, run=run), ROOM, ROOF), turn(intent=OPEN))
        assert await anext(outputs) == Delta("one")
        await outputs.aclose()

    with pytest.raises(StopIteration):
        hear_one().send(None)
    assert closed == ["step"]


def test_a_state_has_one_name_unless_the_workflow_says_otherwise() -> None:
    assert table(State("HALL", saying(), final=True)).legacy_state("HALL", {}) == "HALL"


def test_a_workflow_declares_its_own_frames_and_the_one_that_is_a_page() -> None:
    page = Page("drawings", "drawing", str)
    drawn = table(State("HALL", saying(), final=True), frames={"drawing": str}, page=page)
    assert drawn.page is page
    assert page.address("https://example.test", "m1") == "https://example.test/drawings/m1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"frames": ["a"]},
        {"page": 5},
        {"states": [State(["A"], run=HALL.run)]},  # type: ignore[arg-type]
    ],
)
def test_a_value_of_a_wrong_type_is_a_complaint_and_no_traceback(wrong: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError):
        replace(WALK, **wrong)
