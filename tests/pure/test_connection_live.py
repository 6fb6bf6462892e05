"""The machine of one subscriber: live events, gaps, slow readers, resumes and ends."""

from server.errors import CloseCode
from server.machines.connection import Close, Load, Phase, Read, Send, Sync, WentLive
from tests.pure.connections import PAGE, answer, connect, live, log, sent
from tests.support.builders import kinds, snapshot, the

# ---------------------------------------------------------------- live


def test_a_live_event_that_joins_is_sent() -> None:
    assert live(2).live(log(3, 4)) == [Send(log(3, 4), replay=False)]


def test_a_live_event_that_is_known_is_dropped_and_its_neighbours_are_not() -> None:
    machine = live(3)
    assert machine.live(log(2, 3)) == []
    assert sent(machine.live(log(3, 4))) == [4]
    assert machine.live([]) == []


def test_a_gap_before_a_live_event_is_read_from_the_store() -> None:
    machine = live(2)
    assert machine.live(log(4)) == [Read(2, 2, PAGE)]
    assert machine.phase is Phase.REPLAYING
    assert sent(machine.page(2, log(3, 4))) == [3, 4]
    assert machine.drained() == [WentLive(4)]
    assert sent(machine.live(log(5))) == [5]


def test_a_gap_inside_live_events_is_read_from_the_store() -> None:
    assert live(2).live(log(3, 5)) == [Read(2, 2, PAGE)]


def test_what_comes_while_loading_is_read_after_the_page() -> None:
    machine, load = connect()
    machine.live(log(3))
    assert sent(answer(machine, load, 2)) == [1, 2]
    assert the(machine.drained(), Read).after == 2


def test_what_comes_while_replaying_is_not_sent_out_of_order() -> None:
    machine, load = connect()
    answer(machine, load, 3)
    assert machine.live(log(4)) == []
    assert the(machine.drained(), Read).after == 3


def test_a_hint_of_a_later_head_reads_the_store_and_one_of_ours_does_not() -> None:
    machine = live(2)
    assert machine.hint(2) == []
    assert machine.hint(4) == [Read(2, 2, PAGE)]
    assert machine.hint(5) == []  # already reading; the page will fall short of it
    machine.page(2, log(3, 4))
    assert the(machine.drained(), Read).after == 4


# ---------------------------------------------------------------- a slow reader


def test_a_full_queue_drops_to_the_store_and_loses_nothing() -> None:
    machine = live(2)
    machine.live(log(3, 4))
    assert machine.full(3) == []
    assert machine.live(log(5)) == []
    assert machine.drained() == [Read(2, 3, PAGE)]
    assert sent(machine.page(2, log(4, 5))) == [4, 5]


def test_a_page_that_did_not_fit_is_read_again_from_where_the_queue_ends() -> None:
    machine, load = connect()
    answer(machine, load, 3)
    machine.full(1)
    assert the(machine.drained(), Read).after == 1


def test_full_and_drained_mean_nothing_before_the_first_page() -> None:
    machine, load = connect()
    assert machine.full(7) == []
    assert machine.drained() == []
    assert sent(answer(machine, load, 2)) == [1, 2]


# ---------------------------------------------------------------- resume


def test_a_resume_replays_behind_the_given_event_without_a_second_sync() -> None:
    machine = live(3)
    assert machine.resume(1) == [Load(2, 1, PAGE)]
    effects = machine.loaded(2, snapshot(seq=3), log(2, 3))
    assert effects == [Send(log(2, 3), replay=True)]


def test_a_resume_beyond_the_head_is_told_that_it_is_reset() -> None:
    machine = live(2)
    effects = answer(machine, the(machine.resume(9), Load), 2)
    assert kinds(effects) == ["Sync", "Read"]
    assert the(effects, Sync).action == "reset"


def test_a_resume_while_replaying_drops_the_page_that_is_on_its_way() -> None:
    machine, load = connect()
    answer(machine, load, 5)
    old = the(machine.drained(), Read)
    resumed = the(machine.resume(1), Load)
    assert machine.page(old.read_id, log(4, 5)) == []
    assert sent(answer(machine, resumed, 5)) == [2, 3, 4]


def test_a_resume_while_loading_is_answered_by_that_load() -> None:
    machine, _ = connect()
    assert machine.resume(1) == []


def test_a_resume_forgets_what_the_cursor_claimed_at_first() -> None:
    machine, load = connect(after=2, last_message_id="m2")
    answer(machine, load, 2)
    assert the(machine.resume(1), Load) == Load(2, 1, PAGE)


# ---------------------------------------------------------------- ends and stale answers


def test_a_page_that_does_not_join_means_that_the_log_was_cut_or_has_a_hole() -> None:
    """A log that was cut is resumed elsewhere; a hole is there at every try, so the client backs off."""
    pages = {0: [], 1: log(4, 5), 2: log(2, 3), 3: log(3, 5)}
    for number, page in pages.items():
        machine = live(2)
        read = the(machine.hint(5), Read)
        code = CloseCode.INTERNAL if number else CloseCode.INSUFFICIENT_STATE
        assert machine.page(read.read_id, page) == [Close(code)]
        assert machine.phase is Phase.CLOSED


def test_a_store_that_cannot_answer_sends_the_client_away_with_its_cursor() -> None:
    machine, load = connect()
    assert machine.read_failed(load.read_id) == [Close(CloseCode.STORE_UNAVAILABLE)]
    assert machine.read_failed(load.read_id) == []


def test_answers_to_old_reads_are_dropped() -> None:
    machine, load = connect()
    assert machine.loaded(load.read_id + 1, snapshot(), []) == []
    assert machine.page(load.read_id, log(1)) == []  # a page, where a load was asked for
    answer(machine, load, 2)
    assert machine.loaded(load.read_id, snapshot(), []) == []
    assert machine.page(load.read_id + 1, log(3)) == []
    assert machine.read_failed(load.read_id + 1) == []


def test_nothing_follows_the_end() -> None:
    machine, load = connect()
    machine.closed()
    assert answer(machine, load, 2) == []
    assert machine.page(load.read_id, log(1)) == []
    assert machine.live(log(1)) == []
    assert machine.hint(5) == []
    assert machine.full(0) == []
    assert machine.drained() == []
    assert machine.resume(1) == []
    assert machine.phase is Phase.CLOSED
