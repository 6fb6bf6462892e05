"""Group commit: what queues while a commit runs goes together, what fails fails alone, what happened is recognised."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from server.engine.group_commit import GroupCommit
from server.errors import InvalidWrite, StoreClosed, StoreUnavailable
from server.records import UNKNOWN, Committed, Conflict, Duplicate, Failed, Missing, Outcome, Settled, Snapshot, Write
from server.store.library import FullStore
from tests.conformance.stores import STORES
from tests.support.faulty_store import FaultyStore, failing, failing_at, poisoned
from tests.support.writes import accept, committed, event, greeting, log_of, new_session, open_session, snapshot, turn

BATCH_LIMIT = 8
QUEUE_LIMIT = 20


@pytest.fixture(params=["dict", "sqlite-file", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultyStore]:
    async with STORES[request.param](tmp_path) as empty:
        faulty = FaultyStore(empty)
        await faulty.open()
        yield faulty
        await faulty.close()


@pytest.fixture
async def group(store: FaultyStore) -> AsyncIterator[GroupCommit]:
    started = GroupCommit(store, batch_limit=BATCH_LIMIT, queue_limit=QUEUE_LIMIT)
    started.start()
    yield started
    store.gate.set()
    await started.close()


def submit(group: GroupCommit, write: Write, *, again: bool = False) -> asyncio.Future[Settled]:
    """Queue a write that must find room; its outcome to come."""
    outcome: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    assert group.submit(write, outcome.set_result, again=again)
    asyncio.get_running_loop().call_later(20, outcome.cancel)  # a write that nobody resolves is a failure, not a wait
    return outcome


async def behind_a_commit(store: FaultyStore, group: GroupCommit, writes: Sequence[Write]) -> list[Settled]:
    """The outcomes of writes that queued while a commit ran, which makes one batch of them."""
    store.gate.clear()
    store.arrived.clear()
    first = submit(group, greeting(new_session()))
    await store.arrived.wait()
    outcomes = [submit(group, write) for write in writes]
    store.batches.clear()
    store.gate.set()
    assert isinstance(await first, Committed)
    return list(await asyncio.gather(*outcomes))


async def lines(store: FullStore, count: int) -> tuple[list[Snapshot], list[Write]]:
    """That many sessions and a line for each."""
    sessions = [await open_session(store) for _ in range(count)]
    return sessions, [accept(session.session_id, "c1") for session in sessions]


def kinds(outcomes: Sequence[Settled]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


async def test_a_lone_write_is_committed_at_once(store: FaultyStore, group: GroupCommit) -> None:
    _, [write] = await lines(store.store, 1)
    assert isinstance(await submit(group, write), Committed)
    assert store.batches == [[write]]


async def test_what_queues_while_a_commit_runs_is_the_next_batch(store: FaultyStore, group: GroupCommit) -> None:
    _, writes = await lines(store.store, BATCH_LIMIT)
    assert kinds(await behind_a_commit(store, group, writes)) == ["Committed"] * BATCH_LIMIT
    assert store.batches == [writes]
    assert group.batches == 2


async def test_a_batch_has_its_limit(store: FaultyStore, group: GroupCommit) -> None:
    _, writes = await lines(store.store, 2 * BATCH_LIMIT + 1)
    await behind_a_commit(store, group, writes)
    assert [len(batch) for batch in store.batches] == [BATCH_LIMIT, BATCH_LIMIT, 1]
    assert [write for batch in store.batches for write in batch] == writes


async def test_a_full_queue_takes_nothing(store: FaultyStore, group: GroupCommit) -> None:
    store.gate.clear()
    first = submit(group, greeting(new_session()))
    await store.arrived.wait()
    queued = [submit(group, greeting(new_session())) for _ in range(QUEUE_LIMIT)]
    refused: list[Settled] = []
    assert group.submit(greeting(new_session()), refused.append) is False
    store.gate.set()
    assert kinds(await asyncio.gather(first, *queued)) == ["Committed"] * (QUEUE_LIMIT + 1)
    assert refused == []
    assert isinstance(await submit(group, greeting(new_session())), Committed)


@pytest.mark.parametrize("fails", [0, 1], ids=["together", "alone"])
async def test_writes_are_resolved_once_and_in_their_order(store: FaultyStore, group: GroupCommit, fails: int) -> None:
    order: list[int] = []
    before = await open_session(store.store)
    store.gate.clear()
    store.after = failing(fails)
    for number in range(QUEUE_LIMIT):
        write = accept(before.session_id, f"c{number}")
        assert group.submit(write, lambda _, number=number: order.append(number))  # type: ignore[misc]
    store.gate.set()
    await group.close()
    assert order == list(range(QUEUE_LIMIT))
    clients = [said.client_id for said in await log_of(store, before.session_id)]
    assert clients[2:] == [f"c{number}" for number in range(QUEUE_LIMIT)]


async def test_what_failed_and_is_tried_again_keeps_its_place(store: FaultyStore, group: GroupCommit) -> None:
    before = await open_session(store.store)
    store.before = failing(1)
    ended = [submit(group, accept(before.session_id, f"c{number}")) for number in range(QUEUE_LIMIT)]
    assert kinds(await asyncio.gather(*ended)) == ["Committed"] * QUEUE_LIMIT
    clients = [said.client_id for said in await log_of(store, before.session_id)]
    assert clients[2:] == [f"c{number}" for number in range(QUEUE_LIMIT)]


async def test_the_next_batch_is_on_its_way_when_outcomes_are_told(store: FaultyStore, group: GroupCommit) -> None:
    _, writes = await lines(store.store, BATCH_LIMIT + 1)
    under_way: list[int] = []
    for write in writes:
        assert group.submit(write, lambda _: under_way.append(len(store.batches)))
    await group.close()
    assert under_way == [2] * (BATCH_LIMIT + 1)


@pytest.mark.parametrize(("queued", "sizes"), [(32, [32]), (33, [32, 1]), (150, [75, 38, 32, 5])])
async def test_a_long_queue_goes_in_halves(store: FaultyStore, queued: int, sizes: list[int]) -> None:
    """One is written while the other is told: many who wait for one batch would all come back at once."""
    group = GroupCommit(store, batch_limit=100, queue_limit=1000)
    ended = [submit(group, greeting(new_session())) for _ in range(queued)]
    group.start()
    assert kinds(await asyncio.gather(*ended)) == ["Committed"] * queued
    await group.close()
    assert [len(batch) for batch in store.batches] == sizes


async def test_who_is_told_may_submit(store: FaultyStore, group: GroupCommit) -> None:
    """As the engine does: the answer to a line is submitted while the line's own batch is being resolved."""
    before = await open_session(store.store)
    ended: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()

    def answer(outcome: Settled) -> None:
        assert isinstance(outcome, Committed)
        assert group.submit(turn(before, answers=outcome.events[0].seq), ended.set_result)

    assert group.submit(accept(before.session_id, "c1"), answer)
    assert isinstance(await ended, Committed)


async def test_what_the_store_stumbles_over_is_not_committed_and_its_neighbours_are(
    store: FaultyStore, group: GroupCommit
) -> None:
    _, [line, other] = await lines(store.store, 2)

    def stumble(outcomes: list[Outcome]) -> list[Outcome]:
        return [Failed("22P02"), *outcomes[1:]]

    store.change = stumble
    assert kinds(await asyncio.gather(submit(group, line), submit(group, other))) == ["Unstorable", "Committed"]
    store.change = lambda outcomes: [Failed("53200"), *outcomes[1:]]
    _, [line, other] = await lines(store.store, 2)
    assert kinds(await asyncio.gather(submit(group, line), submit(group, other))) == ["Unknown", "Committed"]


async def test_refusals_are_told_as_they_are(store: FaultyStore, group: GroupCommit) -> None:
    [one, two], [line, _] = await lines(store.store, 2)
    [said] = await committed(store.store, line)
    writes = [
        structs.replace(line, events=(structs.replace(line.events[0], message_id="another"),)),
        turn(structs.replace(two, version=5)),
        accept(new_session(), "c1"),
    ]
    assert await behind_a_commit(store, group, writes) == [Duplicate(said), Conflict(1), Missing()]
    assert len(await log_of(store, one.session_id)) == 3


@pytest.mark.parametrize("error", [StoreUnavailable("on purpose"), InvalidWrite("on purpose"), ValueError("a mistake")])
async def test_a_poisonous_write_fails_alone(store: FaultyStore, group: GroupCommit, error: Exception) -> None:
    sessions, writes = await lines(store.store, 5)
    store.before = poisoned(sessions[2].session_id, error)
    outcomes = await behind_a_commit(store, group, writes)
    refused = "Unstorable" if isinstance(error, InvalidWrite) else "Unknown"
    assert kinds(outcomes) == ["Committed", "Committed", refused, "Committed", "Committed"]
    assert [len(batch) for batch in store.batches] == [5, 1, 1, 1, 1, 1]
    assert [(await snapshot(store, session.session_id)).seq for session in sessions] == [3, 3, 2, 3, 3]


async def test_what_the_store_itself_refuses_fails_alone(store: FaultyStore, group: GroupCommit) -> None:
    sessions, writes = await lines(store.store, 4)
    bad = [accept(sessions[1].session_id, payload={"text": "\ud800"}), accept(sessions[3].session_id, "a\0b")]
    outcomes = await behind_a_commit(store, group, [writes[0], bad[0], writes[2], bad[1]])
    assert kinds(outcomes) == ["Committed", "Unstorable", "Committed", "Unstorable"]


async def test_a_store_that_is_away_is_not_asked_for_every_write(store: FaultyStore, group: GroupCommit) -> None:
    """Each try may take as long as the store's timeout; a batch must not take that many times as long."""
    _, writes = await lines(store.store, BATCH_LIMIT)
    store.before = failing(1000)
    outcomes = [submit(group, write) for write in writes]
    assert list(await asyncio.gather(*outcomes)) == [UNKNOWN] * BATCH_LIMIT
    assert [len(batch) for batch in store.batches] == [BATCH_LIMIT, 1, 1]
    store.before = failing(0)
    assert kinds(await asyncio.gather(*(submit(group, write, again=True) for write in writes))) == ["Committed"] * 8


async def test_a_store_that_was_closed_is_a_failure_like_others(store: FaultyStore, group: GroupCommit) -> None:
    store.before = failing(2, StoreClosed("on purpose"))
    assert await submit(group, greeting(new_session())) == UNKNOWN
    assert isinstance(await submit(group, greeting(new_session())), Committed)


async def test_one_that_cannot_be_told_does_not_stop_the_others(store: FaultyStore, group: GroupCommit) -> None:
    def raises(_: Settled) -> None:
        raise ValueError("on purpose")

    assert group.submit(greeting(new_session()), raises)
    assert isinstance(await submit(group, greeting(new_session())), Committed)
    assert isinstance(await submit(group, greeting(new_session())), Committed)


def shown(outcome: Settled) -> tuple[list[tuple[int, str]], int]:
    """The seq and id of every event of a committed write, and its version."""
    assert isinstance(outcome, Committed), outcome
    return [(said.seq, said.message_id) for said in outcome.events], outcome.version


async def _unknown(store: FaultyStore, group: GroupCommit, write: Write, *, again: bool) -> Settled:
    """The outcome of a write whose first try was committed and then raised.

    `again`: the second try failed, too, before anything, so that it came back as Unknown and is submitted anew.
    """
    store.after = failing(1)
    if again:
        store.before = failing_at(2)
        assert await submit(group, write) == UNKNOWN
        store.before = failing(0)
    return await submit(group, write, again=again)


@pytest.mark.parametrize("again", [False, True])
async def test_a_line_that_was_committed_is_recognised(store: FaultyStore, group: GroupCommit, again: bool) -> None:
    before = await open_session(store.store)
    line = accept(before.session_id, "c1")
    assert shown(await _unknown(store, group, line, again=again)) == ([(3, line.events[0].message_id)], 1)
    assert len(await log_of(store, before.session_id)) == 3


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("frames", [1, 450], ids=["short", "longer than a page"])
async def test_a_turn_that_was_committed_is_recognised(
    store: FaultyStore, group: GroupCommit, again: bool, frames: int
) -> None:
    before = await open_session(store.store)
    await committed(store.store, accept(before.session_id, "c1"))
    if frames == 1:  # and lines that came meanwhile: more than one page of them
        await store.store.commit([accept(before.session_id, f"other {number}") for number in range(250)])
    head = (await snapshot(store, before.session_id)).seq
    write = turn(before, *(event(before.session_id) for _ in range(frames)), answers=3, memory={"a": 1})
    ids = [said.message_id for said in write.events]
    assert shown(await _unknown(store, group, write, again=again)) == (list(enumerate(ids, head + 1)), 2)
    after = await snapshot(store, before.session_id)
    assert (after.version, after.seq, after.memory) == (2, head + frames + 1, {"a": 1})


@pytest.mark.parametrize("again", [False, True])
async def test_a_greeting_that_was_committed_is_recognised(store: FaultyStore, group: GroupCommit, again: bool) -> None:
    write = greeting(new_session())
    ids = [said.message_id for said in write.events]
    assert shown(await _unknown(store, group, write, again=again)) == (list(enumerate(ids, 1)), 1)
    assert len(await log_of(store, write.session_id)) == 2


@pytest.mark.parametrize("again", [False, True])
async def test_a_cancellation_that_was_committed_is_recognised(
    store: FaultyStore, group: GroupCommit, again: bool
) -> None:
    before = await open_session(store.store)
    await committed(store.store, accept(before.session_id, "c1"))
    stop = event(before.session_id, "turn_cancelled", role="system", client_id="stop")
    write = turn(before, event(before.session_id), stop, answers=3, client_id="stop")
    ids = [said.message_id for said in write.events]
    assert shown(await _unknown(store, group, write, again=again)) == (list(enumerate(ids, 4)), 2)
    assert len(await log_of(store, before.session_id)) == 6


async def test_a_batch_that_was_committed_is_recognised_as_a_whole(store: FaultyStore, group: GroupCommit) -> None:
    before = await open_session(store.store)
    line, answer = accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3)
    opened = greeting(new_session())
    store.after = failing_at(2)  # the first commit is the one that they queue behind
    outcomes = await behind_a_commit(store, group, [line, opened, answer])
    assert [shown(outcome)[1] for outcome in outcomes] == [2, 1, 2]  # a line has the version as it is now
    assert [[seq for seq, _ in shown(outcome)[0]] for outcome in outcomes] == [[3], [1, 2], [4, 5]]
    assert len(await log_of(store, before.session_id)) == 5


@pytest.mark.parametrize("again", [False, True])
async def test_another_ones_write_is_not_taken_for_ours(store: FaultyStore, group: GroupCommit, again: bool) -> None:
    before = await open_session(store.store)
    [line] = await committed(store.store, accept(before.session_id, "c1"))
    await committed(store.store, turn(before, event(before.session_id), answers=3, to="THEIRS"))
    store.before = failing(1)
    ours = turn(before, event(before.session_id), answers=3, to="OURS")
    assert await submit(group, ours, again=again) == Conflict(2)
    assert await submit(group, accept(before.session_id, "c1"), again=again) == Duplicate(line)
    assert (await snapshot(store, before.session_id)).state == "THEIRS"


async def test_what_was_not_committed_is_committed_now(store: FaultyStore, group: GroupCommit) -> None:
    before = await open_session(store.store)
    write = turn(before, answers=0)
    store.before = failing(2)
    assert await submit(group, write) == UNKNOWN
    outcome = await submit(group, write, again=True)
    assert isinstance(outcome, Committed)
    assert (outcome.version, (await snapshot(store, before.session_id)).version) == (2, 2)


async def test_what_cannot_be_looked_up_stays_unknown(store: FaultyStore, group: GroupCommit) -> None:
    before = await open_session(store.store)
    write = turn(before, answers=0)
    store.after = failing(1)
    store.lookups.append(StoreUnavailable("on purpose"))
    assert await submit(group, write) == UNKNOWN
    assert shown(await submit(group, write, again=True))[1] == 2
    store.lookups.append(ValueError("a mistake"))
    assert await submit(group, write, again=True) == UNKNOWN
    assert isinstance(await submit(group, greeting(new_session())), Committed)


async def test_close_commits_what_is_queued(store: FaultyStore, group: GroupCommit) -> None:
    store.gate.clear()
    outcomes = [submit(group, greeting(new_session())) for _ in range(QUEUE_LIMIT)]
    closing = asyncio.create_task(group.close())
    await store.arrived.wait()
    assert not closing.done()
    assert group.submit(greeting(new_session()), lambda _: None) is False
    store.gate.set()
    await closing
    assert [outcome.done() and type(outcome.result()) for outcome in outcomes] == [Committed] * QUEUE_LIMIT


async def test_giving_up_on_close_loses_nothing(store: FaultyStore, group: GroupCommit) -> None:
    store.gate.clear()
    outcome = submit(group, greeting(new_session()))
    closing = asyncio.create_task(group.close())
    await store.arrived.wait()
    closing.cancel()
    await asyncio.wait([closing])
    store.gate.set()
    assert isinstance(await outcome, Committed)


async def test_an_idle_group_closes(group: GroupCommit) -> None:
    await group.close()
    assert group.batches == 0


class AtOnceStore(FaultyStore):
    """A store whose commits begin with the call; `begun` are their sizes. It may refuse at once, too."""

    def __init__(self, store: FullStore) -> None:
        super().__init__(store)
        self.begun: list[int] = []
        self.refusing = 0

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, list[Outcome]]:
        self.begun.append(len(writes))
        if self.refusing:
            self.refusing -= 1
            raise StoreUnavailable("not now")
        return super().commit(writes)


async def started(store: FullStore) -> tuple[AtOnceStore, GroupCommit]:
    at_once = AtOnceStore(store)
    group = GroupCommit(at_once, batch_limit=100, queue_limit=1000)
    group.start()
    await asyncio.sleep(0)  # its task comes to where it waits
    return at_once, group


async def test_a_burst_is_written_before_the_loop_has_read_all_of_it(store: FaultyStore) -> None:
    at_once, group = await started(store.store)
    ended = [submit(group, greeting(new_session())) for _ in range(31)]
    assert at_once.begun == []
    ended += [submit(group, greeting(new_session())) for _ in range(40)]
    assert at_once.begun == [32]  # and no second one beside it
    assert kinds(await asyncio.gather(*ended)) == ["Committed"] * 71
    assert sum(at_once.begun) == 71
    await group.close()


async def test_a_store_that_refuses_at_once_harms_no_later_write(store: FaultyStore) -> None:
    at_once, group = await started(store.store)
    at_once.refusing = 2  # the batch, and the write alone
    assert kinds([await submit(group, greeting(new_session()))]) == ["Unknown"]
    assert kinds([await submit(group, greeting(new_session()))]) == ["Committed"]
    await group.close()


async def test_outcomes_are_told_a_few_in_each_turn_of_the_loop(store: FaultyStore) -> None:
    _, group = await started(store.store)
    turns, told, ended = [0], Counter[int](), asyncio.Event()

    def tick() -> None:
        turns[0] += 1
        if not ended.is_set():
            asyncio.get_running_loop().call_soon(tick)

    def resolve(_: Settled) -> None:
        told[turns[0]] += 1
        if told.total() == 60:
            ended.set()

    tick()
    for _ in range(60):
        assert group.submit(greeting(new_session()), resolve)
    await ended.wait()
    assert max(told.values()) <= 16
    await group.close()
