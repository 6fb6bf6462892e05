"""The machine of one subscriber: what is sent is the log behind its cursor, without a hole or a repeat."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.connection import (
    Close,
    Connection,
    Create,
    Cursor,
    Effect,
    Load,
    Phase,
    Read,
    Send,
    Subscribe,
    Sync,
    WentLive,
)
from server.errors import CloseCode
from server.store.records import Event
from tests.builders import event, every, kinds, snapshot, the

PAGE = 3


def log(*seqs: int) -> list[Event]:
    return [event(seq) for seq in seqs]


def connect(**cursor: Any) -> tuple[Connection, Load]:
    machine = Connection(Cursor(**cursor), page_limit=PAGE)
    return machine, the(machine.open(), Load)


def answer(machine: Connection, load: Load, head: int, visible: int = 1) -> list[Effect]:
    """What a store whose log has events 1 to `head` answers to a load."""
    page = log(*range(load.after + 1, min(load.after + load.limit, head) + 1))
    return machine.loaded(load.read_id, snapshot(seq=head, visible=visible), page)


def live(head: int) -> Connection:
    """A connection that has events 1 to `head` (at most a page) and is live."""
    machine, load = connect()
    answer(machine, load, head)
    machine.drained()
    assert machine.phase is Phase.LIVE
    return machine


def sent(effects: list[Effect]) -> list[int]:
    return [item.seq for send in every(effects, Send) for item in send.items]


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


def test_a_page_that_does_not_join_means_that_the_log_was_cut() -> None:
    for page in ([], log(4, 5), log(2, 3), log(3, 5)):
        machine = live(2)
        read = the(machine.hint(5), Read)
        assert machine.page(read.read_id, page) == [Close(CloseCode.INSUFFICIENT_STATE)]
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


# ---------------------------------------------------------------- random schedules


class Reader:
    """A client, its bounded queue and the store, around one connection machine; the log is a list."""

    def __init__(self, after: int, head: int, room: int) -> None:
        self.head, self.published, self.room = head, head, room
        self.queue: list[int] = []
        self.got: list[int] = []
        self.asked: Load | Read | None = None
        self.resumed_behind = after
        self.machine = Connection(Cursor(after=after), page_limit=PAGE)
        self.perform(self.machine.open())

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Load() | Read():
                    self.asked = effect
                case Sync(action):
                    if action == "reset":
                        self.restart(0)
                case Send(items):
                    self.put([item.seq for item in items])
                case WentLive(head):
                    assert self.have() == head
                case Close(code):
                    raise AssertionError(code)
                case _:
                    pass

    def put(self, seqs: list[int]) -> None:
        for seq in seqs:
            if len(self.queue) >= self.room:
                self.perform(self.machine.full(seq - 1))
                return
            self.queue.append(seq)
            assert seq == self.have()  # the rule: what is sent joins, without a hole or a repeat

    def have(self) -> int:
        return self.resumed_behind + len(self.got) + len(self.queue)

    def restart(self, after: int) -> None:
        self.resumed_behind, self.got, self.queue = after, [], []

    def commit(self, count: int, *, published: bool) -> None:
        first, self.head = self.head + 1, self.head + count
        if published:
            self.perform(self.machine.live(log(*range(first, self.head + 1))))

    def repeat(self, back: int) -> None:
        if self.head:
            self.perform(self.machine.live(log(max(1, self.head - back))))

    def store_answers(self) -> None:
        asked, self.asked = self.asked, None
        match asked:
            case Load(read_id, after, limit):
                page = log(*range(after + 1, min(after + limit, self.head) + 1))
                self.perform(self.machine.loaded(read_id, snapshot(seq=self.head), page))
                assert self.resumed_behind <= self.head  # else it was told that it is reset
            case Read(read_id, after, limit):
                self.perform(self.machine.page(read_id, log(*range(after + 1, min(after + limit, self.head) + 1))))

    def drain(self) -> None:
        self.got += self.queue
        self.queue = []
        self.perform(self.machine.drained())

    def resume(self, after: int) -> None:
        if self.machine.phase in (Phase.REPLAYING, Phase.LIVE):
            self.restart(after)
            self.perform(self.machine.resume(after))


STEPS = st.one_of(
    st.tuples(st.just("commit"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("repeat"), st.integers(0, 5)),
    st.tuples(st.just("store")),
    st.tuples(st.just("drain")),
    st.tuples(st.just("resume"), st.integers(0, 12)),
    st.tuples(st.just("hint")),
)


@settings(max_examples=400, deadline=None)
@given(
    after=st.integers(0, 8),
    head=st.integers(1, 6),
    room=st.integers(1, 5),
    steps=st.lists(STEPS, min_size=10, max_size=60),
)
def test_whatever_happens_what_is_sent_is_the_log_behind_the_cursor(
    after: int, head: int, room: int, steps: list[tuple[Any, ...]]
) -> None:
    reader = Reader(after, head, room)
    for name, *args in steps:
        match name:
            case "commit":
                reader.commit(args[0], published=args[1])
            case "repeat":
                reader.repeat(args[0])
            case "store":
                reader.store_answers()
            case "drain":
                reader.drain()
            case "resume":
                reader.resume(args[0])
            case "hint":
                reader.perform(reader.machine.hint(reader.head))
    for _ in range(3 * (reader.head + 3)):  # then it calms down: a hint, a store that answers, a reader that reads
        reader.perform(reader.machine.hint(reader.head))
        reader.store_answers()
        reader.drain()
    assert reader.machine.phase is Phase.LIVE
    assert reader.got == list(range(reader.resumed_behind + 1, reader.head + 1))
