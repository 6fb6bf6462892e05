"""What other processes show of their turns: what is passed on, what is kept, and for which turn."""

from typing import Any

import pytest

from server.machines.effects import Ask, Show
from server.machines.elsewhere import Elsewhere
from server.wire import protocol
from server.wire.protocol import Transient

#: No turn runs or ran.
NONE = -1


def piece(n: int, text: str, *, turn: int = 3, attempt: int = 1, reset: bool = False) -> Transient:
    payload: dict[str, Any] = {"turn": turn, "attempt": attempt, "n": n, "text": text, "reset": reset}
    return Transient("stream_delta", payload, role="assistant", message_id=f"s{turn}")


def heard(*pieces: Transient, last: int = NONE) -> Elsewhere:
    elsewhere = Elsewhere()
    for frame in pieces:
        assert elsewhere.show(frame, last) == [Show(frame, here=True)]
    return elsewhere


def said(frames: list[Transient]) -> list[str]:
    return [frame.payload["text"] for frame in frames]


def test_nothing_is_known_before_something_is_shown() -> None:
    elsewhere = Elsewhere()
    assert elsewhere.awaited is None
    assert not elsewhere.is_ahead_of(NONE)
    assert elsewhere.said_after(NONE) == []
    assert elsewhere.attempt(3) == 0


def test_a_frame_that_is_no_text_is_passed_on_to_tabs_of_this_process_alone() -> None:
    status = protocol.status(3, "generating", "Almost there")
    assert heard(status).said_after(NONE) == []


def test_text_of_a_turn_whose_line_is_not_known_is_kept() -> None:
    elsewhere = heard(piece(1, "one", reset=True), piece(2, " two"))
    assert elsewhere.is_ahead_of(2)
    assert not elsewhere.is_ahead_of(3)
    assert said(elsewhere.said_after(2)) == ["one two"]
    assert elsewhere.said_after(3) == []


def test_a_turn_that_is_awaited_has_what_was_shown_of_it_and_the_number_that_it_is_given() -> None:
    elsewhere = heard(piece(1, "one", reset=True))
    elsewhere.wait_for(3, 17)
    awaited = elsewhere.awaited
    assert awaited is not None
    assert (awaited.turn, awaited.run, awaited.text, awaited.is_seen) == (3, 17, "one", True)


def test_text_whose_beginning_was_missed_is_asked_for() -> None:
    elsewhere = Elsewhere()
    assert elsewhere.show(piece(2, "two"), NONE) == [Ask()]
    assert elsewhere.said_after(NONE) == []


def test_text_that_is_known_is_dropped() -> None:
    elsewhere = heard(piece(2, "one two", reset=True))
    assert elsewhere.show(piece(1, "one"), NONE) == []


def test_text_of_a_turn_that_is_over_or_runs_here_is_passed_on_and_not_kept() -> None:
    elsewhere = heard(piece(1, "one", reset=True), last=3)
    assert not elsewhere.is_ahead_of(NONE)


@pytest.mark.parametrize(("turn", "is_kept"), [(2, False), (3, True), (4, True)])
def test_while_a_turn_is_awaited_text_is_kept_from_it_on(turn: int, is_kept: bool) -> None:
    elsewhere = Elsewhere()
    elsewhere.wait_for(3, 1)
    frame = piece(1, "one", turn=turn, reset=True)
    assert elsewhere.show(frame, NONE) == [Show(frame, here=True)]
    assert (elsewhere.attempt(turn) == 1) == is_kept


def test_text_of_a_newer_turn_ends_the_older_one() -> None:
    elsewhere = heard(piece(1, "old", reset=True), piece(1, "new", turn=6, reset=True), piece(2, "late"))
    assert said(elsewhere.said_after(NONE)) == ["new"]
    assert (elsewhere.attempt(3), elsewhere.attempt(6)) == (0, 1)


def test_an_older_turn_that_is_awaited_begins_empty_and_leaves_the_newest_one_kept() -> None:
    elsewhere = heard(piece(1, "new", turn=6, reset=True))
    elsewhere.wait_for(3, 1)
    assert elsewhere.awaited is not None
    assert (elsewhere.awaited.turn, elsewhere.awaited.text) == (3, "")
    assert said(elsewhere.said_after(3)) == ["new"]


def test_the_attempt_is_the_newest_one_that_was_shown() -> None:
    elsewhere = heard(piece(1, "one", reset=True), piece(1, "again", attempt=2, reset=True))
    assert elsewhere.attempt(3) == 2


def test_what_was_shown_of_a_log_that_was_cut_is_forgotten() -> None:
    elsewhere = heard(piece(1, "one", turn=6, reset=True))
    elsewhere.forget()
    assert not elsewhere.is_ahead_of(NONE)
    assert said(heard(piece(1, "another", reset=True)).said_after(NONE)) == ["another"]
