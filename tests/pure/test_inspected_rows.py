"""A stored row as an inspector reads it: what it holds, or what is wrong with it; it never raises."""

from typing import Any

import msgspec
import pytest

from server.records import Event, Snapshot
from server.store.inspect.contract import Damaged, read_event, read_snapshot
from tests.support.builders import line, snapshot

SAID = line(3, client_id="c1")
SESSION = snapshot(memory={"a": [1]})


def columns(record: Event | Snapshot, name: str, text: Any = None) -> dict[str, Any]:
    """The record's row, in which the field is JSON text: its own, or another."""
    row = msgspec.structs.asdict(record)
    return {**row, name: msgspec.json.encode(row[name]).decode() if text is None else text}


def test_a_whole_row_is_the_record_again() -> None:
    assert read_event(columns(SAID, "payload")) == SAID
    assert read_snapshot(columns(SESSION, "memory")) == SESSION


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}x", b"\xff", "[" * 100_000])
def test_a_text_that_holds_no_object_is_a_damage_with_its_place(text: str | bytes) -> None:
    event, session = read_event(columns(SAID, "payload", text)), read_snapshot(columns(SESSION, "memory", text))
    assert isinstance(event, Damaged)
    assert isinstance(session, Damaged)
    assert (event.seq, session.seq) == (3, 0)
    assert event.reason
    assert session.reason


def test_a_column_of_another_type_is_a_damage_that_names_it() -> None:
    event = read_event({**columns(SAID, "payload"), "turn": "two"})
    session = read_snapshot({**columns(SESSION, "memory"), "version": None})
    assert isinstance(event, Damaged)
    assert "turn" in event.reason
    assert isinstance(session, Damaged)
    assert "version" in session.reason
