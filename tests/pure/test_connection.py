"""The machine of one subscriber: from its cursor to the log behind it."""

import pytest

from server.errors import CloseCode
from server.machines.connection import (
    Close,
    Connection,
    Create,
    Cursor,
    Load,
    Phase,
    Read,
    Send,
    Subscribe,
    Sync,
    WentLive,
)
from tests.pure.connections import PAGE, answer, connect, live, log, sent
from tests.support.builders import kinds, snapshot, the

# ---------------------------------------------------------------- connect


def test_the_subscription_stands_before_the_read() -> None:
    machine = Connection(Cursor(), page_limit=PAGE)
    assert machine.open() == [Subscribe(), Load(1, 0, PAGE)]


def test_sync_comes_first_then_the_missed_events() -> None:
    machine, load = connect(after=2)
    assert load == Load(1, 2, PAGE)
    assert answer(machine, load, 4) == [Sync("send_delta", snapshot(seq=4)), Send(log(3, 4), replay=True)]


def test_a_client_that_has_nothing_gets_everything() -> None:
    machine, load = connect()
    effects = answer(machine, load, 2)
    assert the(effects, Sync).action == "send_history"
    assert sent(effects) == [1, 2]


def test_after_zero_means_nothing_even_with_an_id() -> None:
    machine, load = connect(after=0, last_message_id="m7")
    assert load == Load(1, 0, PAGE)
    assert the(answer(machine, load, 1), Sync).action == "send_history"


def test_a_client_that_has_everything_goes_live_at_once() -> None:
    machine, load = connect(after=2)
    effects = answer(machine, load, 2)
    assert kinds(effects) == ["Sync", "WentLive"]
    assert machine.phase is Phase.LIVE


def test_the_next_page_waits_until_the_queue_has_drained() -> None:
    machine, load = connect()
    assert sent(answer(machine, load, 5)) == [1, 2, 3]
    assert machine.drained() == [Read(2, 3, PAGE)]
    assert machine.drained() == []  # the read is on its way
    assert machine.page(2, log(4, 5)) == [Send(log(4, 5), replay=True)]
    assert machine.drained() == [WentLive(5)]


# ---------------------------------------------------------------- reset


def test_a_cursor_beyond_the_head_is_reset_and_everything_is_sent() -> None:
    machine, load = connect(after=9)
    effects = answer(machine, load, 2)
    assert the(effects, Sync).action == "reset"
    assert the(effects, Read).after == 0
    assert sent(machine.page(the(effects, Read).read_id, log(1, 2))) == [1, 2]


def test_a_claimed_id_is_read_with_the_page_and_not_sent_again() -> None:
    machine, load = connect(after=2, last_message_id="m2")
    assert load == Load(1, 1, PAGE + 1)
    effects = answer(machine, load, 4)
    assert the(effects, Sync).action == "send_delta"
    assert sent(effects) == [3, 4]


def test_a_claimed_id_that_the_log_does_not_have_there_is_reset() -> None:
    machine, load = connect(after=2, last_message_id="m9")
    effects = answer(machine, load, 4)
    assert the(effects, Sync).action == "reset"
    assert sent(effects) == []
    assert the(effects, Read).after == 0


def test_a_wrong_claim_on_the_first_event_is_reset_with_the_page_at_hand() -> None:
    machine, load = connect(after=1, last_message_id="m9")
    effects = answer(machine, load, 2)
    assert the(effects, Sync).action == "reset"
    assert sent(effects) == [1, 2]


def test_a_claimed_id_where_nothing_was_read_is_reset() -> None:
    machine, load = connect(after=2, last_message_id="m2")
    assert the(machine.loaded(load.read_id, snapshot(seq=2), []), Sync).action == "reset"


def test_a_claim_beyond_the_head_is_reset_although_no_id_differs() -> None:
    machine, load = connect(after=4, last_message_id="m3")
    assert the(machine.loaded(load.read_id, snapshot(seq=3), []), Sync).action == "reset"


# ---------------------------------------------------------------- skip_history


def test_history_is_skipped_when_the_counts_are_equal() -> None:
    machine, load = connect(skip_history=True, message_count=4)
    assert load.limit == 0
    effects = answer(machine, load, 7, visible=4)
    assert effects == [Sync("skip_history", snapshot(seq=7, visible=4)), WentLive(7)]


@pytest.mark.parametrize("count", [None, 0, 3, 5])
def test_history_is_sent_when_the_counts_differ(count: int | None) -> None:
    machine, load = connect(skip_history=True, message_count=count)
    effects = answer(machine, load, 7, visible=4)
    assert the(effects, Sync).action == "send_history"
    assert the(effects, Read).after == 0


def test_equal_counts_skip_nothing_unless_asked_to() -> None:
    machine, load = connect(message_count=4)
    assert the(answer(machine, load, 3, visible=4), Sync).action == "send_history"


def test_a_cursor_is_worth_more_than_a_count() -> None:
    machine, load = connect(after=3, skip_history=True, message_count=4)
    effects = answer(machine, load, 5, visible=4)
    assert the(effects, Sync).action == "send_delta"
    assert the(effects, Read).after == 3


# ---------------------------------------------------------------- a new session


def test_an_unknown_session_is_started_and_its_greeting_waited_for() -> None:
    machine, load = connect()
    assert machine.loaded(load.read_id, None, []) == [Create()]
    again = the(machine.live(log(1, 2)), Load)
    effects = answer(machine, again, 2)
    assert the(effects, Sync).action == "send_history"
    assert sent(effects) == [1, 2]


def test_the_greeting_is_read_when_only_a_hint_tells_of_it() -> None:
    machine, load = connect()
    machine.loaded(load.read_id, None, [])
    assert machine.hint(0) == []
    assert kinds(machine.hint(2)) == ["Load"]


def test_a_session_that_another_tab_started_since_our_read_is_not_started_again() -> None:
    machine, load = connect()
    assert machine.live(log(1, 2)) == []
    effects = machine.loaded(load.read_id, None, [])
    assert sent(answer(machine, the(effects, Load), 2)) == [1, 2]


def test_a_session_that_is_gone_again_is_started_rather_than_read_for_ever() -> None:
    machine, load = connect()
    machine.live(log(1, 2))
    again = the(machine.loaded(load.read_id, None, []), Load)
    assert machine.loaded(again.read_id, None, []) == [Create()]


def test_a_cursor_of_a_session_that_was_not_there_is_reset_however_long_the_new_log_is() -> None:
    machine, load = connect(after=1)
    machine.loaded(load.read_id, None, [])
    again = the(machine.live(log(1, 2)), Load)
    assert the(answer(machine, again, 2), Sync).action == "reset"


def test_a_later_resume_in_that_session_is_exact_again() -> None:
    machine, load = connect(after=1)
    machine.loaded(load.read_id, None, [])
    effects = answer(machine, the(machine.live(log(1, 2)), Load), 2)
    machine.page(the(effects, Read).read_id, log(1, 2))
    resumed = the(machine.resume(1), Load)
    assert sent(answer(machine, resumed, 2)) == [2]


def test_a_session_that_ended_under_us_is_over() -> None:
    machine = live(2)
    resumed = the(machine.resume(1), Load)
    assert machine.loaded(resumed.read_id, None, []) == [Close(CloseCode.SESSION_ENDED)]
