"""The builder workflow, line by line: what each state says, where it leads, what it remembers."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from server.records import merge_memory
from server.workflows.builder import BUILDER, summary
from server.workflows.move import step
from server.workflows.table import OPEN, STALE, Delta, Frame, Progress, Result, Turn, Workflow

URL = "https://example.test"


class Conversation:
    """A session without a server: memory goes through JSON between turns, as a store would do it."""

    def __init__(self, workflow: Workflow = BUILDER, state: str = "", memory: Mapping[str, Any] | None = None) -> None:
        self.workflow = workflow
        self.state = state or workflow.start
        self.memory: dict[str, Any] = dict(memory or {})
        self.ids = (f"00000000-0000-4000-8000-{number:012}" for number in itertools.count())
        self.shown: list[Progress | Delta] = []

    def open(self) -> Result:
        return self._turn("", None, OPEN, stale=False)

    def say(self, text: str) -> Result:
        return self._turn(text, self.workflow.find_action(self.state, text), "", stale=False)

    def press(self, action: str, text: str = "", *, stale: bool = False) -> Result:
        return self._turn(text or action, action, "", stale=stale)

    def _turn(self, text: str, action: str | None, intent: str, *, stale: bool) -> Result:
        turn = Turn(
            session_id="s",
            number=1,
            attempt=1,
            line=self.workflow.read_line(text, action),
            intent=intent,
            came_from=self.state,
            state=self.state,
            memory=self.memory,
            events=(),
            new_id=lambda: next(self.ids),
            public_url=URL,
        )

        async def run() -> list[Progress | Delta | Result]:
            return [output async for output in step(self.workflow, turn, stale=stale)]

        *shown, result = asyncio.run(run())
        assert isinstance(result, Result)
        self.shown = [output for output in shown if not isinstance(output, Result)]
        self.memory = json.loads(json.dumps(merge_memory(self.memory, result.memory)))
        self.state = result.to
        return result


def at(state: str) -> Conversation:
    """A conversation about Krishna that has come to a state."""
    talk = Conversation()
    talk.open()
    lines = ["Krishna", "Children, 10 min", "yes", "add a slide on Radha", "Looks perfect!"]
    order = [s.name for s in BUILDER.states]
    for line in lines[: order.index(state)]:
        talk.say(line)
    assert talk.state == state
    return talk


def types(result: Result) -> list[str]:
    return [frame.type for frame in result.frames]


def texts(result: Result) -> str:
    return "\n".join(frame.payload["text"] for frame in result.frames if frame.type == "chat_message")


def only(result: Result, kind: str) -> Frame:
    [frame] = [frame for frame in result.frames if frame.type == kind]
    return frame


def test_the_reference_conversation_goes_from_greeting_to_deck() -> None:
    talk = Conversation()
    greeting = talk.open()
    assert (types(greeting), greeting.to) == (["chat_message"], "PROVIDE_GREETING")
    welcome = texts(greeting).lower()
    assert "hello! i'm deckster" not in welcome
    assert "what presentation would you like to build" not in welcome

    asked = talk.say("Krishna")
    assert (asked.intent, asked.to, types(asked)) == (
        "Submit_Initial_Topic",
        "ASK_CLARIFYING_QUESTIONS",
        ["chat_message"],
    )
    items = asked.frames[0].payload["list_items"]
    assert 3 <= len(items) <= 5
    assert any("Krishna" in item for item in items)
    assert talk.memory == {"user_initial_request": "Krishna"}

    planned = talk.say("Children, 10 min")
    assert planned.intent == "Submit_Clarification_Answers"
    assert types(planned) == ["chat_message", "action_request"]
    assert planned.frames[0].payload["sub_title"]
    assert planned.frames[0].payload["list_items"] == talk.memory["confirmation_plan"]["key_assumptions"]
    assert talk.memory["clarifying_answers"] == {
        "raw_answers": "Children, 10 min",
        "understood": {"audience": "Children", "duration_min": 10},
    }
    assert talk.memory["confirmation_plan"]["proposed_slide_count"] == 5
    assert planned.frames[1].payload["actions"] == [
        {"label": "Yes, let's build it!", "value": "accept_plan", "primary": True, "requires_input": False},
        {"label": "I'd like to make changes", "value": "reject_plan", "primary": False, "requires_input": True},
    ]

    drafted = talk.say("Yes")
    assert (drafted.intent, drafted.to) == ("Accept_Plan", "GENERATE_STRAWMAN")
    assert types(drafted) == ["slide_update", "chat_message", "action_request"]
    percents = [shown.progress for shown in talk.shown if isinstance(shown, Progress)]
    assert len(percents) == 5
    assert percents == sorted(p for p in percents if p is not None)
    deck = drafted.frames[0]
    assert deck.message_id is not None
    assert talk.memory["presentation_strawman"]["preview_presentation_id"] == deck.message_id

    final = talk.press("accept_strawman", "Looks perfect!")
    assert (final.to, types(final)) == ("CONTENT_GENERATION", ["presentation_url", "chat_message"])
    payload = final.frames[0].payload
    assert payload["url"] == f"{URL}/decks/{deck.message_id}" == talk.memory["presentation_url"]
    assert (payload["presentation_id"], payload["slide_count"]) == (deck.message_id, 5)
    assert payload["url"] in texts(final)


def test_a_slide_update_has_the_form_that_the_frontend_reads() -> None:
    talk = at("CREATE_CONFIRMATION_PLAN")
    frame = only(talk.press("accept_plan"), "slide_update")
    payload = frame.payload
    assert (payload["operation"], payload["affected_slides"]) == ("full_update", None)
    assert payload["metadata"] == {
        "main_title": "Krishna: stories and what they teach",
        "overall_theme": "Bright and playful",
        "design_suggestions": payload["metadata"]["design_suggestions"],
        "target_audience": "Children",
        "presentation_duration": 10,
        "preview_url": f"{URL}/decks/{frame.message_id}",
        "preview_presentation_id": frame.message_id,
    }
    for number, slide in enumerate(payload["slides"], 1):
        assert set(slide) == {
            "slide_id", "slide_number", "slide_type", "title", "narrative", "key_points", "analytics_needed",
            "visuals_needed", "diagrams_needed", "structure_preference", "speaker_notes",
        }  # fmt: skip
        assert (slide["slide_id"], slide["slide_number"]) == (f"slide_{number:03}", number)
        assert 3 <= len(slide["key_points"]) <= 5
    assert json.loads(json.dumps(payload)) == payload


@pytest.mark.parametrize("press", ["reject_plan", "I'd like to make changes"])
def test_a_press_without_words_asks_what_to_change_and_keeps_the_plan(press: str) -> None:
    talk = at("CREATE_CONFIRMATION_PLAN")
    before = talk.memory
    result = talk.press("reject_plan", press)
    assert (result.intent, result.to) == ("Reject_Plan", "CREATE_CONFIRMATION_PLAN")
    assert types(result) == ["chat_message", "action_request"]
    assert "?" in texts(result)
    assert talk.memory == before


def test_words_with_the_press_change_the_plan() -> None:
    talk = at("CREATE_CONFIRMATION_PLAN")
    result = talk.press("reject_plan", "make it 20 minutes, for adults")
    assert types(result) == ["chat_message", "action_request"]
    assert talk.memory["confirmation_plan"]["brief"]["duration_min"] == 20
    assert talk.memory["confirmation_plan"]["brief"]["audience"] == "adults"
    assert talk.memory["confirmation_plan"]["proposed_slide_count"] == 11
    assert "20 minutes" in texts(result)


@pytest.mark.parametrize("state", ["GENERATE_STRAWMAN", "REFINE_STRAWMAN"])
def test_a_refinement_without_words_keeps_the_slides(state: str) -> None:
    talk = at(state)
    before = talk.memory
    result = talk.press("request_refinement", "Make some changes")
    assert (result.to, types(result)) == ("REFINE_STRAWMAN", ["chat_message", "action_request"])
    assert talk.memory == before


def test_a_refinement_in_place_is_partial_and_one_of_the_order_is_full() -> None:
    talk = at("GENERATE_STRAWMAN")
    first = talk.memory["presentation_strawman"]["preview_presentation_id"]
    result = talk.say("change the title of slide 2 to Meet the blue boy")
    frame = only(result, "slide_update")
    assert types(result) == ["slide_update", "chat_message", "action_request"]
    assert (frame.payload["operation"], frame.payload["affected_slides"]) == ("partial_update", ["slide_002"])
    assert len(frame.payload["slides"]) == 5
    assert frame.payload["slides"][1]["title"] == "Meet the blue boy"
    assert talk.shown
    assert frame.message_id not in (None, first)
    moved = only(talk.say("swap slides 2 and 3"), "slide_update").payload
    assert (moved["operation"], moved["affected_slides"]) == ("full_update", None)
    assert [slide["slide_id"] for slide in moved["slides"]][1:3] == ["slide_003", "slide_002"]
    assert [slide["slide_number"] for slide in moved["slides"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("words", ["banana", "remove slide 99", "make slide 3 more formal", "no"])
def test_what_cannot_be_changed_changes_nothing_and_is_said(words: str) -> None:
    talk = at("GENERATE_STRAWMAN")
    before = talk.memory
    result = talk.say(words)
    assert types(result) == ["chat_message", "action_request"]
    assert talk.memory == before


def test_a_stale_press_says_so_and_puts_the_open_choice_again() -> None:
    talk = at("GENERATE_STRAWMAN")
    result = talk.press("accept_plan")
    assert (result.intent, result.to, types(result)) == (STALE, "GENERATE_STRAWMAN", ["chat_message", "action_request"])
    assert "no longer open" in texts(result)
    again = talk.press("accept_strawman", stale=True)
    assert (again.intent, again.to) == (STALE, "GENERATE_STRAWMAN")
    assert "presentation_url" not in talk.memory


@pytest.mark.parametrize("state", [state.name for state in BUILDER.states])
@pytest.mark.parametrize(
    "value", ["accept_plan", "reject_plan", "accept_strawman", "request_refinement", "approve_outline_v2"]
)
def test_a_button_value_is_never_a_topic(state: str, value: str) -> None:
    talk = at(state)
    talk.say(value)
    assert talk.memory.get("user_initial_request") in (None, "Krishna")


@pytest.mark.parametrize("state", [state.name for state in BUILDER.states if state.name != "PROVIDE_GREETING"])
def test_a_new_topic_starts_again_from_every_state(state: str) -> None:
    talk = at(state)
    result = talk.say("new topic: whales, 20 minutes")
    assert (result.intent, result.to) == ("Change_Topic", "ASK_CLARIFYING_QUESTIONS")
    assert talk.memory == {"user_initial_request": "whales, 20 minutes"}
    assert "20 minutes" in texts(result)
    assert not any("How long" in item for item in result.frames[0].payload["list_items"])


def test_a_new_topic_without_a_topic_asks_for_it_and_takes_the_next_line() -> None:
    talk = at("GENERATE_STRAWMAN")
    result = talk.say("start over")
    assert (result.to, talk.memory) == ("ASK_CLARIFYING_QUESTIONS", {})
    assert talk.say("hello").to == "ASK_CLARIFYING_QUESTIONS"
    assert talk.memory == {}
    talk.say("the moon")
    assert (talk.state, talk.memory) == ("ASK_CLARIFYING_QUESTIONS", {"user_initial_request": "the moon"})
    assert talk.say("kids, 5 min").to == "CREATE_CONFIRMATION_PLAN"


@pytest.mark.parametrize("state", [state.name for state in BUILDER.states])
@pytest.mark.parametrize("line", ["hello", "what can you do?", "how do I print it?", "thanks", "???"])
def test_a_question_moves_nothing_and_the_choice_stays_open(state: str, line: str) -> None:
    talk = at(state)
    before = talk.memory
    result = talk.say(line)
    assert (result.intent, result.to, talk.memory) == ("Ask_Help_Or_Question", state, before)
    expected = ["chat_message", "action_request"] if BUILDER.state(state).buttons else ["chat_message"]
    assert types(result) == expected


def test_a_finished_session_answers_with_its_link() -> None:
    talk = at("CONTENT_GENERATION")
    for line in ("make slide 3 about flutes", "yes", "where is it?"):
        result = talk.say(line)
        assert result.to == "CONTENT_GENERATION"
        assert talk.memory["presentation_url"] in texts(result)


def test_summary_tells_the_address_only_of_a_final_deck() -> None:
    assert summary({}) == {"has_strawman": False}
    draft = at("GENERATE_STRAWMAN").memory
    assert summary(draft) == {"has_strawman": True, "slide_count": 5}
    memory = at("CONTENT_GENERATION").memory
    assert summary(memory) == {
        "has_strawman": True,
        "presentation_url": memory["presentation_url"],
        "presentation_id": memory["presentation_strawman"]["preview_presentation_id"],
        "slide_count": 6,
    }


def test_the_existing_frontend_is_shown_the_state_that_it_repaints_a_deck_for() -> None:
    finished, draft = at("CONTENT_GENERATION").memory, at("GENERATE_STRAWMAN").memory
    assert BUILDER.legacy_state("CONTENT_GENERATION", finished) == "CONTENT_GENERATED"
    assert BUILDER.legacy_state("GENERATE_STRAWMAN", draft) == "GENERATE_STRAWMAN"


@pytest.mark.parametrize("strawman", ["a text", 7, ["a"], {"slides": 3}])
def test_summary_reads_whatever_the_memory_holds(strawman: Any) -> None:
    told = summary({"presentation_strawman": strawman, "presentation_url": "https://example.test/decks/d"})
    assert told.get("slide_count", 0) == 0


def test_memory_of_an_older_session_is_enough_to_go_on() -> None:
    memory = {
        "user_initial_request": "Krishna",
        "clarifying_answers": {"raw_answers": "Children, 10 min", "timestamp": "2025-11-30T10:00:00Z"},
        "confirmation_plan": {"type": "ConfirmationPlan", "proposed_slide_count": 7, "key_assumptions": ["a"]},
        "presentation_strawman": {
            "main_title": "Old",
            "slides": [{"title": "One", "key_points": None}, {"title": "Two"}],
        },
    }
    talk = Conversation(state="GENERATE_STRAWMAN", memory=memory)
    final = talk.press("accept_strawman")
    assert types(final) == ["slide_update", "presentation_url", "chat_message"]
    assert final.frames[0].message_id == final.frames[1].payload["presentation_id"]
    assert [slide["title"] for slide in final.frames[0].payload["slides"]] == ["One", "Two"]
    earlier = Conversation(state="CREATE_CONFIRMATION_PLAN", memory={**memory, "presentation_strawman": None})
    assert only(earlier.press("accept_plan"), "slide_update").payload["metadata"]["target_audience"] == "Children"
    lost = Conversation(state="REFINE_STRAWMAN", memory={"user_initial_request": "accept_plan"})
    assert "accept_plan" not in json.dumps(lost.say("more formal").frames[0].payload)


HARD_LINES = [
    "?!…", "🙂🎉", "x" * 16_000, "word " * 3_200, "कृष्ण की कहानी बच्चों के लिए", "鲸鱼", "\u202egnihtyna\u202c",
    "a_b_c", "0", "-1 slides", "999999 minutes", "slide " * 500, "add " * 4_000, "1. " * 3_000, "(" * 5_000,
    '"' * 5_000, "for for for for my my my", "make make make slide slide 3 about about", "\x00\x01\x02",
    "\ud800 lone", "\n\n\n", "- a\n- b", "{topic} {Topic} {0} %s", "<script>alert(1)</script>",
    "[x](javascript:alert(1))", "and, and; and. and", "1/0 ½ hour",
]  # fmt: skip


@pytest.mark.parametrize("state", [state.name for state in BUILDER.states])
@pytest.mark.parametrize("line", HARD_LINES, ids=range(len(HARD_LINES)))
def test_no_line_breaks_a_state_and_what_is_kept_is_bounded(state: str, line: str) -> None:
    talk = at(state)
    for _ in range(3):
        result = talk.say(line)
        assert result.frames
        assert len(result.frames) <= 4
        size = len(json.dumps([frame.payload for frame in result.frames], ensure_ascii=False).encode())
        assert size < 60_000
    assert len(json.dumps(talk.memory, ensure_ascii=False).encode()) < 60_000


def test_the_same_lines_give_the_same_conversation() -> None:
    def run() -> list[Any]:
        talk = at("REFINE_STRAWMAN")
        result = talk.say("make it 8 slides, more formal and for executives")
        return [[frame.payload for frame in result.frames], talk.memory]

    assert run() == run()
