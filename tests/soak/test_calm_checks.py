"""Each way not to come to rest, and each way to store something else than was told, is caught, and named."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.play import LOG, Play, ended, event, line, said, sync, transient, whole
from tests.soak.view import STORE, Frame

CALM = LOG[:5]
LIVE = transient("live", head=5)


def calm(*frames: Frame, head: int = 8, stays: bool = True, code: int = 0) -> Play:
    """A tab that is open when the calm begins, and what it hears until the calm is over."""
    play = Play()
    play.connect("tab 0", 1)
    play.first().second()
    play.receive("tab 0", 1, sync("send_history", 5, 3), *CALM, LIVE)
    play.note(STORE, 0, "head", head=head)
    play.receive("tab 0", 1, *frames)
    if code:
        play.note("tab 0", 1, "close", code=code, ours=False)
    if stays:
        play.note("tab 0", 1, "still")
    return play


def test_a_tab_that_comes_to_the_head_passes() -> None:
    assert calm(*LOG[5:]).final().judged() == set()


def test_what_is_said_after_the_calm_began_is_not_owed() -> None:
    assert calm(*LOG[5:7], head=7).final().judged() == set()


@pytest.mark.parametrize("heard", [0, 1, 2])
def test_a_tab_that_never_comes_to_the_head_is_caught(heard: int) -> None:
    assert calm(*LOG[5 : 5 + heard]).final().judged() == {"never converged"}


def test_a_tab_that_starts_again_and_stops_half_way_is_caught() -> None:
    again = (sync("reset", 8, 5), *LOG[:4])
    assert "never converged" in calm(*LOG[5:], *again).final().judged()


def test_a_tab_that_skipped_the_history_has_it() -> None:
    play = whole()
    play.connect("tab 0", 1, skip_history="true", message_count="5")
    play.receive("tab 0", 1, sync("skip_history", 8, 5), transient("live", head=8))
    play.note(STORE, 0, "head", head=8)
    play.note("tab 0", 1, "still")
    assert play.final().judged() == set()


def test_a_tab_that_is_gone_is_not_waited_for() -> None:
    assert calm(stays=False).final().judged() == set()


def test_a_tab_that_is_sent_away_in_the_calm_is_caught() -> None:
    assert calm(*LOG[5:], stays=False, code=4103).final().judged() == {"sent away"}


def test_a_drain_before_the_calm_is_no_matter() -> None:
    play = whole()
    play.note("main", 2, "close", code=4103, ours=False)
    play.note(STORE, 0, "head", head=8)
    assert play.final().judged() == set()


@pytest.mark.parametrize("mark", ["unsettled", "away"])
def test_a_conversation_that_does_not_come_to_rest_is_caught(mark: str) -> None:
    play = whole()
    play.note("main", 2, mark)
    assert play.final().judged() == {mark}


# ---------------------------------------------------------------- what the store has


def lose_the_session(play: Play) -> None:
    play.records = [record for record in play.records if record.c != STORE]


def lose_an_event(play: Play) -> None:
    play.records = [r for r in play.records if not (r.e == "stored" and r.frame["seq"] == 8)]


def lose_the_row(play: Play) -> None:
    play.records = [record for record in play.records if record.e != "snapshot"]


@pytest.mark.parametrize(
    ("lose", "caught"),
    [
        (lose_the_session, {"not stored", "told and not stored"}),
        (lose_an_event, {"told and not stored", "row and log differ"}),
        (lose_the_row, {"not stored"}),
    ],
)
def test_what_was_told_and_is_not_stored_is_caught(lose: Callable[[Play], None], caught: set[str]) -> None:
    play = whole().final()
    lose(play)
    assert play.judged() == caught


@pytest.mark.parametrize("changed", [{"role": "user"}, {"timestamp": "2026-01-01T00:00:00.999Z"}, {"payload": {}}])
def test_what_is_stored_otherwise_than_it_was_told_is_caught(changed: Frame) -> None:
    play = whole().final()
    told = next(place for place, r in enumerate(play.records) if r.e == "stored" and r.frame["seq"] == 4)
    play.note(STORE, 0, "stored", {**LOG[3], **changed})
    play.records[told] = play.records.pop()
    assert "stored otherwise" in play.judged()


@pytest.mark.parametrize(
    "row",
    [{"seq": 7}, {"version": 2}, {"cursor": 3}, {"lined": 3}, {"visible": 4}, {"state": "CHOICE"}, {"inbox": [6]}],
)
def test_a_row_that_its_log_does_not_amount_to_is_caught(row: dict[str, Any]) -> None:
    play = whole().final()
    play.stored(**row)
    play.records = [r for place, r in enumerate(play.records) if r.e != "stored" or place < len(play.records) - 9]
    assert play.judged() == {"row and log differ"}


CARD = event(10, "action_request", "assistant", {"prompt_text": "?", "actions": []})


@pytest.mark.parametrize(
    ("end", "card", "caught"),
    [
        (ended(11, 9), "message-10", set[str]()),
        (ended(11, 9), None, {"row and log differ"}),
        (ended(11, 9), "message-4", {"row and log differ"}),
    ],
)
def test_the_card_of_the_row_is_the_open_one(end: Frame, card: str | None, caught: set[str]) -> None:
    play = whole()
    play.log += [said(9, "c", "choose"), CARD, end]
    play.note("main", 2, "send", line("c", "choose"))
    play.final()
    play.records.pop()
    play.stored(card=card)
    play.records = [r for place, r in enumerate(play.records) if r.e != "stored" or place < len(play.records) - 12]
    assert play.judged() == caught
