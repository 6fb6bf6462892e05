"""What the server remembers itself: typed, in a place of its own, and read with patience."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.records import merge_memory
from server.server_memory import (
    SUMMARY_KEY,
    USAGE_KEY,
    ServerMemory,
    SessionUsage,
    StoredSummary,
    read_server_memory,
    remember,
    workflow_memory,
)

SUM = {"input_tokens": 1, "output_tokens": 2, "cost_micro_usd": 3, "calls": 4}
TURN = {"input_tokens": 10, "output_tokens": 20, "cost_micro_usd": None, "calls": 1, "model": "m"}
OLD_SUMMARY = {"through": 3, "text": "tea"}
JUNK: list[Any] = [0, 1.5, True, "three cups", [], [1], {}, {"calls": "x"}, {"calls": -1}, {"calls": math.inf}]


def test_usage_and_summary_come_back_as_they_were_remembered() -> None:
    memory = merge_memory({"topic": "tea"}, remember({}, usage=TURN))
    memory = merge_memory(memory, remember(memory, summary=StoredSummary(3, "tea")))
    memory = merge_memory(memory, remember(memory, usage=TURN))
    assert read_server_memory(memory) == ServerMemory(SessionUsage(20, 40, 0, 2), StoredSummary(3, "tea"))
    assert workflow_memory(memory) == {"topic": "tea"}


def test_a_summary_needs_no_usage() -> None:
    assert remember({}, summary=StoredSummary(3, "tea")) == {SUMMARY_KEY: {"through": 3, "text": "tea"}}


def test_nothing_to_remember_changes_nothing() -> None:
    assert remember({USAGE_KEY: SUM}) == {}
    assert read_server_memory({}) == ServerMemory()


def test_a_workflow_sees_its_own_memory_itself() -> None:
    memory = {"usage": "three cups", "summary": 5}
    assert workflow_memory(memory) is memory
    assert workflow_memory({"a": 1, USAGE_KEY: {}, "@later": 2}) == {"a": 1}


@pytest.mark.parametrize("junk", JUNK)
def test_a_wrong_shape_counts_as_empty_and_is_complained_of(junk: Any) -> None:
    parts = read_server_memory({USAGE_KEY: junk, SUMMARY_KEY: junk})
    assert (parts.usage, parts.summary) == (None, None) or junk == {}
    assert SUMMARY_KEY in parts.complaint
    assert remember({USAGE_KEY: junk}, usage=TURN)[USAGE_KEY]["input_tokens"] == 10
    one = read_server_memory({USAGE_KEY: SUM, SUMMARY_KEY: junk})
    assert one.usage == SessionUsage(1, 2, 3, 4)


def test_what_was_remembered_before_there_was_a_place_for_it_is_taken_over_and_left() -> None:
    old = {"usage": SUM, "summary": OLD_SUMMARY, "topic": "tea"}
    assert read_server_memory(old) == ServerMemory(SessionUsage(1, 2, 3, 4), StoredSummary(3, "tea"))
    after = merge_memory(old, remember(old, usage=TURN))
    assert {key: after[key] for key in old} == old
    assert read_server_memory(after) == ServerMemory(SessionUsage(11, 22, 3, 5), StoredSummary(3, "tea"))
    # From then on they are the workflow's.
    assert read_server_memory({**after, "usage": "three cups", "summary": None}) == read_server_memory(after)


@pytest.mark.parametrize("own", [*JUNK, {"calls": 3}, {**SUM, "calls": -1}, {**SUM, "calls": "4"}])
def test_a_workflows_own_keys_of_those_names_are_not_taken_over(own: Any) -> None:
    assert read_server_memory({"usage": own, "summary": own}) == ServerMemory()


def test_a_key_of_a_newer_server_is_left_alone() -> None:
    memory = {"@title": "Tea", USAGE_KEY: SUM}
    assert remember(memory, usage=TURN).keys() == {USAGE_KEY}


def test_a_turn_writes_only_the_part_that_it_changes() -> None:
    memory = {USAGE_KEY: SUM, SUMMARY_KEY: OLD_SUMMARY}
    assert remember(memory, usage=TURN).keys() == {USAGE_KEY}
    assert remember(memory, summary=StoredSummary(9, "more")).keys() == {SUMMARY_KEY}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["usage", "summary", "through", "text", "calls", USAGE_KEY]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["usage", "summary", USAGE_KEY, SUMMARY_KEY, "topic"]), JSON, max_size=4))
def test_whatever_is_stored_can_be_read_and_added_to(memory: dict[str, Any]) -> None:
    change = remember(memory, usage=TURN, summary=StoredSummary(1, "x"))
    after = read_server_memory(msgspec.json.decode(msgspec.json.encode(merge_memory(memory, change))))
    assert after.usage is not None
    assert after.usage.calls >= 1
    assert after.summary == StoredSummary(1, "x")
    assert after.complaint == ""
