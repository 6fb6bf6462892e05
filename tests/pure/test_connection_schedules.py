"""Whatever happens to a subscriber, what is sent is the log behind its cursor, without a hole or a repeat."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from server.machines.connection import Close, Connection, Cursor, Effect, Load, Phase, Read, Send, Sync, WentLive
from tests.pure.connections import PAGE, log
from tests.support.builders import snapshot


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
