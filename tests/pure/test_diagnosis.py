"""The diagnosis by itself: a snapshot and a log, no store."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from server.ops.diagnosis import PROBLEM_CHARS, TEXT_CHARS, Report, diagnose, one_line, utc
from server.records import Event, Snapshot, fold, is_id
from server.store.inspect.contract import Damaged
from server.workflows.builder import BUILDER
from server.workflows.page import Page
from server.workflows.table import Workflow
from tests.support.example_workflows import ECHO


def event(seq: int, kind: str, payload: dict[str, Any], turn: int = 0, role: str = "assistant") -> Event:
    return Event(
        session_id="s",
        seq=seq,
        type=kind,
        role=role,
        message_id=f"m{seq}",
        payload=payload,
        turn=turn,
        created_at=1000 + seq,
        client_id=f"c{seq}" if role == "user" else None,
    )


def line(seq: int, text: str = "hello") -> Event:
    return event(seq, "chat_message", {"text": text}, seq, "user")


def moved(seq: int, came_from: str | None, to: str, turn: int = 0) -> Event:
    return event(seq, "state_update", {"from": came_from, "to": to, "intent": "I", "memory": {}}, turn, "system")


def folded(log: list[Event]) -> Snapshot:
    snapshot = fold(log, "u")
    assert snapshot is not None
    return snapshot


def examine(*log: Event, **changes: Any) -> Report:
    return diagnose(structs.replace(folded(list(log)), **changes), log)


def broken(report: Report) -> dict[str, list[str]]:
    return {name: law.problems for name, law in report.laws.items() if not law.is_kept}


def test_a_sound_session_with_lines_that_overtook_an_answer() -> None:
    report = examine(moved(1, None, "A"), line(2), line(3), moved(4, "A", "B", 2), moved(5, "B", "B", 3), line(6))
    assert report.is_sound
    assert [(entry.intent, entry.state) for entry in report.history] == [
        ("I", "A"), ("I", "B"), ("I", "B"), ("I", "B"), ("I", "B"), (None, None)
    ]  # fmt: skip
    assert report.restoration.unanswered == 1
    assert report.restoration.will_be_answered


def test_an_opening_turn_that_is_not_the_first() -> None:
    behind = examine(line(1), moved(2, None, "A", 1), moved(3, "A", "A"), line(4), moved(5, "A", "A", 4))
    assert list(broken(behind)) == ["greeting"]
    late = examine(line(1), moved(2, None, "A"), moved(3, "A", "A", 1))
    assert broken(late) == {"greeting": ["the opening turn, event 2, is not the first turn"]}


def test_a_line_that_is_answered_twice_or_is_none() -> None:
    greeting, turn = moved(1, None, "A"), [line(2), moved(3, "A", "A", 2)]
    assert broken(examine(greeting, *turn, moved(4, "A", "A", 2)))["answers"] == ["event 4 answers event 2, again"]
    never = broken(examine(greeting, *turn, moved(4, "A", "A", 9), cursor=2))["answers"]
    assert never == ["event 4 answers event 9, which is not a line before it"]


def test_a_cursor_that_is_not_where_the_answers_are() -> None:
    log = moved(1, None, "A"), line(2), moved(3, "A", "A", 2), line(4)
    assert broken(examine(*log, cursor=0))["answers"] == ["line 2 has an answer, but the cursor is 0"]
    assert broken(examine(*log, cursor=4))["answers"] == ["line 4 has no answer, but the cursor is 4"]
    assert broken(examine(*log, cursor=7))["answers"] == [
        "the cursor is 7, but the last line is 4",
        "line 4 has no answer, but the cursor is 7",
    ]


def test_a_state_that_does_not_follow_and_a_turn_without_an_end() -> None:
    report = examine(moved(1, None, "A"), line(2), event(3, "chat_message", {"text": "x"}, 2))
    assert broken(report) == {"answers": ["event 3 belongs to turn 2, which has no end"]}
    report = examine(moved(1, None, "A"), line(2), moved(3, "B", "C", 2))
    assert broken(report) == {"moves": ["event 3 moves from B, but the state was A"]}


def test_a_memory_and_a_version_that_the_log_does_not_give() -> None:
    report = examine(moved(1, None, "A"), memory={"b": None, "a": 1}, version=3)
    assert broken(report) == {
        "version": ["the version is 3, the turns are 1"],
        "fold": ["memory differs in a, b", "version is 3, the log gives 1"],
    }


def test_what_the_server_remembers_in_a_wrong_shape() -> None:
    odd = {"@usage": "three cups"}
    greeting = moved(1, None, "A")
    greeting = structs.replace(greeting, payload={**greeting.payload, "memory": odd})
    report = diagnose(folded([greeting]), [greeting])
    assert broken(report) == {"server": ["@usage of a wrong shape: it counts as empty"]}


def test_a_log_without_a_turn_gives_no_session() -> None:
    report = diagnose(folded([moved(1, None, "A")]), [line(1)])
    assert broken(report)["fold"] == ["the log has no turn, so it gives no session"]
    assert broken(report)["greeting"] == ["expected one opening turn, found 0: none"]


def test_a_text_or_a_move_that_is_not_there_is_unreadable() -> None:
    greeting = moved(1, None, "A")
    report = diagnose(folded([greeting]), [greeting, event(2, "chat_message", {}), event(3, "state_update", {"to": 1})])
    assert broken(report)["readable"] == [
        "event 2: a chat_message without text",
        "event 3: a state_update without from, to and memory",
    ]


def test_every_event_says_what_it_is_in_a_few_words() -> None:
    """The history, and the card that a reconnect restores."""
    actions = [{"label": "Yes"}, {"label": "No"}, "neither"]
    report = examine(
        moved(1, None, "A"),
        line(2),
        event(3, "action_request", {"prompt_text": "Well?", "actions": actions}, 2),
        event(4, "turn_failed", {"code": "step_failed", "correlation_id": "r1"}, 2),
        event(5, "wink", {"eye": "left"}, 2),
        moved(6, "A", "B", 2),
        card="m3",
    )
    assert [entry.text for entry in report.history] == [
        "I: start → A",
        "hello",
        "Well? [Yes | No]",
        "step_failed, reference r1",
        '{"eye":"left"}',
        "I: A → B",
    ]
    card = report.restoration.action_request
    assert card is not None
    assert (card.seq, card.prompt, card.buttons) == (3, "Well?", ["Yes", "No"])
    assert not report.restoration.will_be_answered


def test_a_card_that_the_log_does_not_have() -> None:
    report = examine(moved(1, None, "A"), card="m9")
    assert list(broken(report)) == ["fold"]
    assert report.restoration.action_request is not None
    assert report.restoration.action_request.seq is None


def test_events_that_come_twice() -> None:
    report = examine(moved(1, None, "A"), line(2), line(2))
    assert broken(report)["seq"] == ["event 2 stands behind event 2"]
    assert "times" in broken(report)


def drawn(**fields: Any) -> Workflow:
    frames = {"drawing": lambda payload: f"a drawing of {payload['of']}"}
    return replace(ECHO, frames=frames, page=Page("drawings", "drawing", str), **fields)


def test_a_workflow_says_what_its_own_frames_and_its_memory_tell() -> None:
    log = [event(1, "drawing", {"of": "a bee"}), event(2, "drawing", {}), event(3, "chart", {"of": 1})]
    log.append(moved(4, None, "A"))
    report = diagnose(folded(log), log, workflow=drawn(summary=lambda memory: {"size": 3}))
    assert [entry.text for entry in report.history[:3]] == ["a drawing of a bee", "{}", '{"of":1}']
    restored = report.restoration
    assert restored.told == {"size": 3}
    assert restored.page is not None
    assert (restored.page.seq, restored.page_path) == (2, "/drawings/m2")


def test_what_a_workflow_cannot_read_is_unknown() -> None:
    log = [moved(1, None, "A")]
    for workflow in (None, drawn(summary=lambda memory: memory["mood"])):
        restored = diagnose(folded(log), log, workflow=workflow).restoration
        assert (restored.told, restored.page, restored.page_path) == (None, None, None)


def test_a_damaged_event_keeps_its_place() -> None:
    greeting, *turn = moved(1, None, "A"), line(3), moved(4, "A", "A", 3)
    report = diagnose(folded([greeting, *turn]), [greeting, Damaged(2, "why"), *turn])
    assert set(broken(report)) == {"readable", "fold"}
    assert report.history[1].text == "unreadable: why"


HOSTILE = "\x1b[31mred\n" + "x" * 10_000


def test_what_a_row_holds_is_shown_within_bounds_and_steers_no_terminal() -> None:
    """Wherever it is quoted: in the history, in the problems."""
    greeting, said = moved(1, None, "A"), line(2)
    log: list[Event | Damaged] = [
        greeting,
        said,
        structs.replace(event(3, "chat_message", {"text": HOSTILE}), message_id=HOSTILE, turn=2),
        structs.replace(line(4, HOSTILE), message_id=HOSTILE, client_id=HOSTILE),
        structs.replace(line(5), client_id=HOSTILE),
        Damaged(6, HOSTILE),
        moved(7, HOSTILE, "A", 2),
    ]
    report = diagnose(structs.replace(folded([greeting]), state=HOSTILE, memory={HOSTILE: 1}), log)
    assert {"readable", "message_ids", "client_ids", "moves", "version", "fold"} <= set(broken(report))
    sound = diagnose(structs.replace(folded([greeting]), state=HOSTILE, memory={HOSTILE: 1}), [greeting])
    problems = [problem for one in (report, sound) for law in one.laws.values() for problem in law.problems]
    assert all(len(problem) <= PROBLEM_CHARS and all(map(is_id, problem)) for problem in problems)
    texts = [entry.text for entry in report.history]
    assert all(len(text) <= TEXT_CHARS and all(map(is_id, text)) for text in texts)
    assert texts[5].startswith("unreadable: [31mred xxx")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "text",
    "from",
    "to",
    "memory",
    "actions",
    "metadata",
    "slides",
    "url",
    "code",
    "intent",
    "workflow",
    "operation",
)
EVENTS = st.builds(
    Event,
    session_id=st.just("s"),
    seq=st.integers(-(2**63), 2**63 - 1),
    type=st.sampled_from(
        ["chat_message", "action_request", "slide_update", "presentation_url", "state_update", "turn_failed", "new"]
    ),
    role=st.sampled_from(["user", "assistant", "system", ""]),
    message_id=st.sampled_from(["", "m1", "m2"]),
    client_id=st.none() | st.sampled_from(["c1", "c2"]),
    turn=st.integers(-2, 5),
    payload=st.dictionaries(st.sampled_from(KEYS), ANY_JSON | st.dictionaries(st.sampled_from(KEYS), ANY_JSON)),
    created_at=st.integers(-(2**63), 2**63 - 1),
)


@given(st.lists(EVENTS | st.builds(Damaged, st.integers(0, 9), st.text()), max_size=6), ANY_JSON)
def test_nothing_that_a_row_can_hold_makes_it_raise(log: list[Event | Damaged], value: Any) -> None:
    memory = {"presentation_url": value, "presentation_strawman": value}
    snapshot = structs.replace(folded([moved(1, None, "A")]), memory=memory, card="m1")
    report = diagnose(snapshot, log, workflow=BUILDER)
    assert report.restoration.told is not None
    assert not report.is_sound
    assert all(len(entry.text) <= TEXT_CHARS and all(map(is_id, entry.text)) for entry in report.history)
    problems = [problem for law in report.laws.values() for problem in law.problems]
    assert all(len(problem) <= PROBLEM_CHARS and all(map(is_id, problem)) for problem in problems)
    assert len(report.history) == len(log)


@given(ANY_JSON, st.integers(2, 100))
def test_one_line_is_one_line_that_fits(value: Any, chars: int) -> None:
    shown = one_line(value, chars)
    assert len(shown) <= chars
    assert all(map(is_id, shown)), "as in an id: what joins emoji is let through, what steers a terminal is not"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\n b", "a b"), ("abcdef", "abcd…"), ("\x1b[31mx", "[31mx"), (None, "null"), ({"a": 1}, '{"a"…')],
)
def test_one_line(value: object, shown: str) -> None:
    assert one_line(value, 5) == shown


def test_a_time_beyond_the_calendar_is_shown_as_it_is() -> None:
    assert utc(0) == "1970-01-01T00:00:00.000Z"
    assert utc(10**18) == f"{10**18} ms"
    assert utc(None) == "?"
