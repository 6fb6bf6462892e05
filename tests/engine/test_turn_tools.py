"""A workflow's tools in an engine: answered or not, each call ends in a value, in the trace, and with nothing left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import structlog

from server.broker import LocalBroker
from server.clock import new_id, new_ids, now_ms
from server.engine.engine import Engine
from server.machines import inputs
from server.records import Event, SessionKey, fold
from server.settings import Settings
from server.wire.protocol import Say
from tests.support.dict_store import DictStore
from tests.support.example_tools import Weather
from tests.support.example_workflows import WORKFLOWS
from tests.support.writes import USER, log_of, new_session

WAIT_S = 10


class Room:
    """An engine with one session, which was greeted."""

    def __init__(self, workflow: str = "weather", **settings: Any) -> None:
        self.store = DictStore()
        self.workflow = workflow
        self.engine = Engine(self.store, LocalBroker(), WORKFLOWS, replace(Settings(), **settings))
        self.key = SessionKey(USER, new_session())
        self._told = 1

    async def begin(self) -> None:
        self.engine.start()
        self.engine.open(self.key, None, self.workflow)
        await self._ended(1)

    def say(self, text: str) -> None:
        self.engine.deliver(self.key, self.workflow, inputs.Message(0, Say(None, text), new_id(), now_ms()))

    def cancel(self, turn: int) -> None:
        self.engine.deliver(self.key, self.workflow, inputs.Cancel(0, "stop", turn, new_ids(3), now_ms()))

    async def ask(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Say a line; the answer's text, and the trace of its turn."""
        self.say(text)
        return await self.answer()

    async def answer(self) -> tuple[str, list[dict[str, Any]]]:
        """The next turn that ends: its last text, and its trace."""
        self._told += 1
        log = await self._ended(self._told)
        ended = [event for event in log if event.type == "state_update"][self._told - 1]
        said = [e for e in log if e.turn == ended.turn and e.type == "chat_message" and e.role == "assistant"]
        return said[-1].payload["text"] if said else "", ended.payload.get("trace", [])

    async def _ended(self, count: int) -> Sequence[Event]:
        async with asyncio.timeout(WAIT_S):
            while True:
                log = await log_of(self.store, self.key.session_id)
                if sum(event.type == "state_update" for event in log) >= count:
                    return log
                await asyncio.sleep(0.002)  # polling the store, which has no event for this


@pytest.fixture(autouse=True)
def _no_story() -> None:
    Weather.story.clear()


@pytest_asyncio.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    await room.begin()
    yield room
    await room.engine.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.002)


def own_tasks() -> list[str]:
    """The tasks of tools and of their calls."""
    return [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith(("tool ", "call ", "step "))]


async def test_a_call_is_answered_and_stands_in_the_trace(room: Room) -> None:
    text, [entry] = await room.ask("weather slow")
    assert text == "12 in Oslo"
    assert 200 <= entry.pop("ms") < 5_000
    assert entry == {
        "kind": "tool", "session_id": room.key.session_id, "attempt": 1, "tool": "weather",
        "input": '{"how":"slow","city":"Oslo"}', "output": '{"city":"Oslo","degrees":12}', "outcome": "answered",
    }  # fmt: skip


async def test_a_tool_is_opened_once_a_turn_and_closed_with_it_and_not_opened_unasked(room: Room) -> None:
    await room.ask("ask nothing")
    assert Weather.story == []
    _, trace = await room.ask("weather a weather b")
    await until(lambda: not own_tasks())
    assert Weather.story == ["open", "call a", "call b", "close"]
    assert len(trace) == 2


@pytest.mark.parametrize(
    ("line", "text", "outcome"),
    [
        ("weather fail", "failed: There is no such city.", "failed"),
        ("weather raise", "failed: The tool weather did not work.", "failed"),
        ("weather exit", "failed: The tool weather did not work.", "failed"),
        ("weather cancelled", "failed: The tool weather did not work.", "failed"),
        ("weather strange", "failed: The tool weather did not work.", "failed"),
        ("weather odd", "failed: The tool weather did not work.", "failed"),
        (
            "weather flood",
            "too_large: The tool weather gave no answer: its answer has more than 262144 bytes.",
            "too_large",
        ),
        ("small x", "too_large: The tool small gave no answer: its answer has more than 20 bytes.", "too_large"),
        ("long small 30", "too_large: The tool small gave no answer: its input has more than 40 bytes.", "too_large"),
        ("brief hang", "timeout: The tool brief gave no answer: it took longer than 50 ms.", "timeout"),
        ("brief deaf", "timeout: The tool brief gave no answer: it took longer than 50 ms.", "timeout"),
        ("hanging x", "timeout: The tool hanging gave no answer: it took longer than 50 ms.", "timeout"),
        ("never x", "failed: The tool never did not work.", "failed"),
        (
            "dict weather",
            "refused: The tool weather gave no answer: it does not take such an input:"
            " Expected `str`, got `int` - at `$.how`.",
            "refused",
        ),
    ],
)
async def test_what_a_tool_does_badly_is_a_value_for_the_step(room: Room, line: str, text: str, outcome: str) -> None:
    with structlog.testing.capture_logs() as logs:
        said, trace = await room.ask(line)
    assert said == text
    assert [entry["outcome"] for entry in trace] == [outcome]
    assert "secret" not in str(trace)
    broke = [record for record in logs if record["event"] == "tool_failed"]
    assert len(broke) == ("did not work" in text)
    assert (await room.ask("weather fine"))[0] == "12 in Oslo"
    await until(lambda: not own_tasks())


async def test_a_call_that_takes_too_long_is_stopped_at_once(room: Room) -> None:
    text, _ = await room.ask("brief hang weather slow")
    assert text == "timeout: The tool brief gave no answer: it took longer than 50 ms. | 12 in Oslo"
    assert Weather.story[:5] == ["open", "call hang", "stopped", "open", "call slow"]


async def test_a_tool_that_is_still_being_opened_is_not_waited_for(room: Room) -> None:
    with structlog.testing.capture_logs() as logs:
        assert (await room.ask("hanging x"))[0].startswith("timeout")
        await until(lambda: not own_tasks())
    assert Weather.story == ["not opened"]
    assert [record["event"] for record in logs if record["event"].startswith("tool")] == []


async def test_a_tool_that_failed_to_open_is_tried_again(room: Room) -> None:
    text, _ = await room.ask("never a never b")
    assert text == " | ".join(["failed: The tool never did not work."] * 2)
    assert Weather.story == ["no", "no"]


@pytest.mark.parametrize("line", ["nosuch x", "object weather"])
async def test_a_mistake_of_the_workflow_fails_the_turn_and_says_in_the_log_what_it_is(room: Room, line: str) -> None:
    with structlog.testing.capture_logs() as logs:
        text, trace = await room.ask(line)
    assert "Reference" in text
    assert trace == []
    [record] = [record for record in logs if record["event"] == "step_failed"]
    wanted = "there is no tool 'nosuch'; this step can call: weather, brief" if "nosuch" in line else "is not JSON"
    assert wanted in str(record["exc_info"])


async def test_calls_beyond_the_limit_are_refused_and_not_made() -> None:
    room = Room(tool_calls_max=2)
    await room.begin()
    text, trace = await room.ask("weather a weather b weather c")
    assert text.startswith("12 in Oslo | 12 in Oslo | refused: ")
    assert (len(trace), Weather.story.count("call c")) == (2, 0)
    assert (await room.ask("both weather a weather b weather c"))[0].startswith("12 in Oslo | 12 in Oslo | refused: ")
    await room.engine.close()


async def test_the_settings_bound_every_tool() -> None:
    room = Room(tool_timeout_ms=50, tool_output_max_bytes=10, tool_input_max_bytes=60, trace_entry_chars=5)
    await room.begin()
    assert (await room.ask("weather hang"))[0] == "timeout: The tool weather gave no answer: it took longer than 50 ms."
    text, [entry] = await room.ask("weather x")
    assert text == "too_large: The tool weather gave no answer: its answer has more than 10 bytes."
    assert (entry["input"], entry["output"]) == ('{"ho…', "The …")
    assert (await room.ask("small x"))[0].endswith(" 10 bytes."), (
        "a tool's own limit cannot exceed that of the settings"
    )
    text, _ = await room.ask("long weather 50")
    assert text == "too_large: The tool weather gave no answer: its input has more than 60 bytes."
    await room.engine.close()


async def test_a_trace_without_words_is_possible() -> None:
    room = Room(trace_entry_chars=0)
    await room.begin()
    _, [entry] = await room.ask("weather x")
    assert (entry["input"], entry["output"]) == ("", "")
    await room.engine.close()


async def test_the_trace_counts_into_the_bytes_of_the_turn() -> None:
    room = Room(turn_max_bytes=512, trace_entry_chars=100)
    await room.begin()
    text, trace = await room.ask("weather a weather b weather c")
    assert text == " | ".join(["12 in Oslo"] * 3)
    assert len(trace) == 1
    await room.engine.close()


async def test_two_tools_at_once_take_the_time_of_one(room: Room) -> None:
    text, trace = await room.ask("both weather slow brief x weather slow")
    assert text == "12 in Oslo | 12 in Oslo | 12 in Oslo"
    assert [entry["tool"] for entry in trace] == ["weather", "brief", "weather"]
    begun = Weather.story.index("call slow")
    assert Weather.story[begun + 1 :].index("call slow") < Weather.story.index("close"), "both before either ended"
    assert sum(entry["ms"] for entry in trace if entry["tool"] == "weather") >= 400
    assert Weather.story.count("open") == 2, "one for each name, also when two calls want it at once"


async def test_a_cancel_stops_a_tool_at_once_and_closes_it(room: Room) -> None:
    room.say("weather hang")
    await until(lambda: "call hang" in Weather.story)
    room.cancel(3)
    text, [entry] = await room.answer()
    assert text == ""
    assert (entry["outcome"], entry["output"]) == ("cancelled", "")
    await until(lambda: not own_tasks())
    assert Weather.story == ["open", "call hang", "stopped", "close"]
    assert (await room.ask("weather fine"))[0] == "12 in Oslo"


async def test_a_cancel_stops_all_that_were_called_at_once(room: Room) -> None:
    room.say("both weather hang brief slow weather hang")
    await until(lambda: Weather.story.count("call hang") == 2)
    room.cancel(3)
    _, trace = await room.answer()
    assert [entry["outcome"] for entry in trace] == ["cancelled"] * 3
    await until(lambda: not own_tasks())
    assert Weather.story.count("stopped") == Weather.story.count("close") == 2


async def test_a_newer_line_stops_a_tool() -> None:
    room = Room("weather-interrupt")
    await room.begin()
    room.say("weather hang")
    await until(lambda: "call hang" in Weather.story)
    room.say("weather fine")
    _, [entry] = await room.answer()
    assert entry["outcome"] == "cancelled"
    text, [entry] = await room.answer()
    assert (text, entry["outcome"]) == ("12 in Oslo", "answered")
    await until(lambda: not own_tasks())
    assert Weather.story.count("open") == Weather.story.count("close") == 2
    await room.engine.close()


async def test_a_step_that_takes_too_long_closes_its_tools() -> None:
    room = Room(step_timeout_ms=100)
    await room.begin()
    text, [entry] = await room.ask("weather hang")
    assert "too long" in text
    assert entry["outcome"] == "cancelled"
    await until(lambda: not own_tasks())
    assert Weather.story == ["open", "call hang", "stopped", "close"]
    await room.engine.close()


async def test_a_closing_that_hangs_holds_up_neither_the_answer_nor_the_next_turn(room: Room) -> None:
    with structlog.testing.capture_logs() as logs:
        assert (await room.ask("late x"))[0] == "12 in Oslo"
        assert (await room.ask("weather x"))[0] == "12 in Oslo"
        await until(lambda: not own_tasks())
    assert "closed late" in Weather.story
    late = [record for record in logs if record["event"] == "tool_closed_late"]
    assert [(record["task"], record["left_behind"]) for record in late] == [("tool late", False)]


@pytest.mark.parametrize("line", ["weather hang", "late hang", "both weather hang late hang", "hanging x"])
async def test_the_end_of_the_process_leaves_no_task(line: str) -> None:
    room = Room(tool_timeout_ms=60_000)
    await room.begin()
    room.say(line)
    await until(lambda: bool(own_tasks()) and (line == "hanging x" or "call hang" in Weather.story))
    async with asyncio.timeout(5):
        await room.engine.close()
    assert own_tasks() == []
    log = await log_of(room.store, room.key.session_id)
    assert log[-1].role == "user", "it is answered after the restart"


async def test_a_step_that_closes_its_tools_is_waited_for_at_the_end_of_the_process(room: Room) -> None:
    await room.ask("late x")
    assert (await room.ask("ask nothing"))[0] == "nothing asked"
    await room.engine.close()
    assert own_tasks() == []
    assert "closed late" in Weather.story


async def test_one_that_does_not_hear_is_left_behind_and_the_log_says_so(room: Room) -> None:
    with structlog.testing.capture_logs() as logs:
        assert (await room.ask("brief deaf"))[0].startswith("timeout")
        await until(lambda: any(record["event"] == "tool_closed_late" for record in logs))
    [late] = [record for record in logs if record["event"] == "tool_closed_late"]
    assert (late["task"], late["left_behind"]) == ("call brief", True)
    await until(lambda: not own_tasks())


async def test_the_fold_law_holds_with_tools(room: Room) -> None:
    await room.ask("weather a weather raise")
    log = await log_of(room.store, room.key.session_id)
    loaded = await room.store.load(room.key, 0, 0)
    folded = fold(log, USER)
    assert loaded is not None
    assert folded is not None
    assert (folded.state, folded.memory, folded.cursor, folded.seq) == (
        loaded.snapshot.state, loaded.snapshot.memory, loaded.snapshot.cursor, loaded.snapshot.seq,
    )  # fmt: skip


async def test_the_log_of_a_turn_counts_its_tools(room: Room) -> None:
    with structlog.testing.capture_logs() as logs:
        await room.ask("weather slow weather x")
        await room.ask("ask nothing")
        await until(lambda: sum(record["event"] == "turn" for record in logs) == 2)
    called, quiet = [record for record in logs if record["event"] == "turn"]
    assert called["tool_calls"] == 2
    assert 200 <= called["tool_ms"] < 5_000
    assert "tool_calls" not in quiet
    assert "calls" not in called, "that is of models"


async def test_a_step_sees_when_its_line_came_and_when_it_began(room: Room) -> None:
    before = now_ms()
    text, _ = await room.ask("time")
    at, now, iso = text.split()
    assert before <= int(at) <= int(now) <= now_ms()
    assert iso.endswith("+00:00")
    log = await log_of(room.store, room.key.session_id)
    assert next(event.created_at for event in log if event.role == "user") == int(at)
