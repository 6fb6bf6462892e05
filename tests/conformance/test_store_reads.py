"""What a store promises of everything but `commit`, and of its own life."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from server.errors import StoreClosed
from server.records import Committed, Conflict, Duplicate, Missing, Outcome, SessionKey, Write, fold
from server.store.library import FullStore
from tests.support.writes import (
    STRANGER,
    T0_MS,
    USER,
    accept,
    commit,
    committed,
    event,
    greeting,
    log_of,
    new_session,
    open_session,
    snapshot,
    turn,
)

# ---------------------------------------------------------------- read, load


@pytest.mark.parametrize(
    ("after", "limit", "seqs"),
    [
        (0, 100, [1, 2, 3, 4, 5, 6]),
        (0, 1, [1]),
        (0, 0, []),
        (2, 3, [3, 4, 5]),
        (5, 100, [6]),
        (6, 100, []),
        (7, 100, []),
        (2**63 - 1, 100, []),
        (2**70, 100, []),  # what a client asks for may be any number
    ],
)
async def test_read_and_load_keep_their_bounds(store: FullStore, after: int, limit: int, seqs: list[int]) -> None:
    before = await open_session(store)
    for _ in range(4):
        await committed(store, accept(before.session_id))
    assert [said.seq for said in await store.read(SessionKey(USER, before.session_id), after, limit)] == seqs
    loaded = await store.load(SessionKey(USER, before.session_id), after, limit)
    assert loaded is not None
    assert [said.seq for said in loaded.events] == seqs


async def test_paging_sees_every_event_once(store: FullStore) -> None:
    before = await open_session(store)
    await store.commit([accept(before.session_id) for _ in range(21)])
    seen = await store.read(SessionKey(USER, before.session_id), 0, 5)
    while page := await store.read(SessionKey(USER, before.session_id), seen[-1].seq, 5):
        seen += page
    assert [said.seq for said in seen] == list(range(1, 24))
    assert seen == await log_of(store, before.session_id)


async def test_load_brings_the_page_and_the_whole_inbox(store: FullStore) -> None:
    before = await open_session(store)
    lines = [(await committed(store, accept(before.session_id)))[0] for _ in range(3)]
    await committed(store, turn(before, answers=lines[0].seq))
    loaded = await store.load(SessionKey(USER, before.session_id), 4, 1)
    assert loaded is not None
    assert [said.seq for said in loaded.events] == [5]
    assert loaded.inbox == (lines[1], lines[2])
    await committed(store, turn(loaded.snapshot, answers=lines[2].seq))
    loaded = await store.load(SessionKey(USER, before.session_id), 0, 0)
    assert loaded is not None
    assert (loaded.events, loaded.inbox) == ((), ())


async def test_load_is_of_one_moment(store: FullStore) -> None:
    """While turns are committed, no load sees a snapshot that its own page and inbox belie."""
    before = await open_session(store)

    async def write() -> None:
        head = before
        for _ in range(40):
            line, _ = await store.commit([accept(head.session_id), turn(head, answers=head.seq + 1)])
            assert isinstance(line, Committed)
            await committed(store, accept(head.session_id))
            head = await snapshot(store, head.session_id)

    async def watch() -> None:
        while not writing.done():
            loaded = await store.load(SessionKey(USER, before.session_id), 0, 1000)
            assert loaded is not None
            head = loaded.snapshot
            assert fold(loaded.events, USER) == head
            assert loaded.inbox == tuple(
                said for said in loaded.events if said.role == "user" and said.seq > head.cursor
            )
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, watch(), watch())


# ---------------------------------------------------------------- find, published, pending, list


async def test_find_knows_what_took_effect_under_an_id(store: FullStore) -> None:
    before, other = await open_session(store), await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    assert await store.find(SessionKey(USER, before.session_id), "c1") == line
    assert await store.find(SessionKey(USER, before.session_id), "c2") is None
    assert await store.find(SessionKey(USER, other.session_id), "c1") is None


async def test_pending_names_exactly_the_sessions_that_wait(store: FullStore) -> None:
    asked, answered, silent, asked_again = [await open_session(store) for _ in range(4)]
    await committed(store, accept(asked.session_id, created_at=T0_MS + 300))
    await store.commit([accept(answered.session_id, created_at=T0_MS + 100), turn(answered, answers=3)])
    await store.commit([accept(asked_again.session_id, created_at=T0_MS + 200), turn(asked_again, answers=3)])
    await committed(store, accept(asked_again.session_id, created_at=T0_MS + 250))
    oldest_first = [asked_again.key, asked.key]
    assert await store.pending(T0_MS + 10_000, 10) == oldest_first
    assert await store.pending(T0_MS + 10_000, 1) == oldest_first[:1]
    assert await store.pending(T0_MS + 300, 10) == oldest_first
    assert await store.pending(T0_MS + 299, 10) == oldest_first[:1]
    assert await store.pending(T0_MS + 249, 10) == []
    assert silent.key not in await store.pending(T0_MS + 10_000, 10)


# ---------------------------------------------------------------- delete


# ---------------------------------------------------------------- owners


def _strange_writes(session_id: str) -> list[Write]:
    stop = event(session_id, "turn_cancelled", client_id="c1")
    known = structs.replace(greeting(session_id, user_id=STRANGER), expected_version=2)
    return [
        accept(session_id, "new", user_id=STRANGER),
        accept(session_id, "c1", user_id=STRANGER),
        known,
        structs.replace(known, expected_version=1),
        structs.replace(known, expected_version=9),
        structs.replace(known, events=(stop,), expected_version=1, client_id="c1"),
    ]


async def test_a_stranger_sees_nothing_and_changes_nothing(store: FullStore) -> None:
    """Somebody else's id is an unknown id: what is for a session that is there finds none."""
    before = await open_session(store)
    await committed(store, accept(before.session_id, "c1"))
    seen, log = await store.load(SessionKey(USER, before.session_id), 0, 10), await log_of(store, before.session_id)

    assert await store.load(SessionKey(STRANGER, before.session_id), 0, 10) is None
    assert await store.read(SessionKey(STRANGER, before.session_id), 0, 10) == []
    assert await store.find(SessionKey(STRANGER, before.session_id), "c1") is None
    assert list(await store.list(STRANGER, 10)) == []
    assert await store.delete(SessionKey(STRANGER, before.session_id)) is False
    for write in _strange_writes(before.session_id):
        assert await commit(store, write) == Missing()
    assert await store.commit(_strange_writes(before.session_id)) == [Missing()] * 6

    assert await store.load(SessionKey(USER, before.session_id), 0, 10) == seen
    assert await log_of(store, before.session_id) == log


# ---------------------------------------------------------------- cancellation, close


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancelled_commit_is_there_or_is_not(store: FullStore, steps: int) -> None:
    before = await open_session(store)
    writes = [accept(before.session_id, "c1"), turn(before, answers=3, memory={"a": 1})]
    committing = asyncio.create_task(store.commit(writes))
    for _ in range(steps):
        await asyncio.sleep(0)
    committing.cancel()
    await asyncio.wait([committing])

    line, answer = await store.commit(writes)
    assert isinstance(answer, Conflict if isinstance(line, Duplicate) else Committed)
    assert [said.seq for said in await log_of(store, before.session_id)] == [1, 2, 3, 4]
    after = await snapshot(store, before.session_id)
    assert (after.version, after.cursor, after.memory) == (2, 3, {"a": 1})


async def test_close_finishes_what_was_asked(store: FullStore) -> None:
    before = await open_session(store)
    commits = [asyncio.create_task(commit(store, accept(before.session_id))) for _ in range(10)]
    reads = [asyncio.create_task(store.read(SessionKey(USER, before.session_id), 0, 10)) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    outcomes: list[Outcome] = await asyncio.gather(*commits)
    assert [type(outcome) for outcome in outcomes] == [Committed] * 10
    assert all(await asyncio.gather(*reads))


async def test_after_close_everything_raises(store: FullStore) -> None:
    before = await open_session(store)
    await store.close()
    await store.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.commit([accept(before.session_id)]),
        lambda: store.load(SessionKey(USER, before.session_id), 0, 1),
        lambda: store.read(SessionKey(USER, before.session_id), 0, 1),
        lambda: store.heads([SessionKey(USER, before.session_id)]),
        lambda: store.hold([SessionKey(USER, before.session_id)], "me", 1000),
        lambda: store.release([SessionKey(USER, before.session_id)], "me"),
        lambda: store.find(SessionKey(USER, before.session_id), "c1"),
        lambda: store.published("m1", "slide_update"),
        lambda: store.pending(T0_MS, 1),
        lambda: store.delete(SessionKey(USER, before.session_id)),
        lambda: store.list(USER, 1),
        store.open,
    ]
    for call in calls:
        with pytest.raises(StoreClosed):
            await call()


async def test_a_session_that_is_not_there_is_none_everywhere(store: FullStore) -> None:
    session_id = new_session()
    assert await store.load(SessionKey(USER, session_id), 0, 10) is None
    assert await store.read(SessionKey(USER, session_id), 0, 10) == []
    assert await store.find(SessionKey(USER, session_id), "c1") is None
    assert await store.delete(SessionKey(USER, session_id)) is False


# ---------------------------------------------------------------- heads


async def test_heads_are_the_last_seq_of_each_session_in_the_order_asked(store: FullStore) -> None:
    first, second = await open_session(store), await open_session(store)
    await committed(store, accept(second.session_id))
    asked = [
        SessionKey(USER, second.session_id),
        SessionKey(USER, new_session()),
        SessionKey(USER, first.session_id),
        SessionKey(USER, second.session_id),
    ]
    assert list(await store.heads(asked)) == [3, 0, 2, 3]
    assert list(await store.heads([])) == []


async def test_the_head_of_somebody_elses_session_is_that_of_none(store: FullStore) -> None:
    before = await open_session(store)
    assert list(await store.heads([SessionKey(STRANGER, before.session_id), SessionKey(USER, before.session_id)])) == [
        0,
        2,
    ]


# ---------------------------------------------------------------- leases


async def test_a_lease_is_one_holders_until_it_lets_go(store: FullStore) -> None:
    one, two = SessionKey(USER, new_session()), SessionKey(USER, new_session())
    assert list(await store.hold([one], "a", 60_000)) == [True]
    assert list(await store.hold([two, one], "b", 60_000)) == [True, False]
    assert list(await store.hold([one], "a", 60_000)) == [True]  # renewed
    await store.release([one], "b")  # not its own
    assert list(await store.hold([one], "b", 60_000)) == [False]
    await store.release([one, two], "a")
    assert list(await store.hold([one, two], "c", 60_000)) == [True, False]
    assert list(await store.hold([], "c", 60_000)) == []


async def test_a_lease_ends_by_itself(store: FullStore) -> None:
    key = SessionKey(USER, new_session())
    await store.hold([key], "a", 1)
    async with asyncio.timeout(5):
        while not (await store.hold([key], "b", 60_000))[0]:
            await asyncio.sleep(0.005)  # the store's clock, which nobody else moves


async def test_of_many_who_want_a_lease_at_once_one_has_it(store: FullStore) -> None:
    key = SessionKey(USER, new_session())
    answers = await asyncio.gather(*(store.hold([key], f"h{number}", 60_000) for number in range(16)))
    assert sum(answer[0] for answer in answers) == 1


async def test_a_strangers_lease_is_another_lease(store: FullStore) -> None:
    session_id = new_session()
    assert list(await store.hold([SessionKey(USER, session_id)], "a", 60_000)) == [True]
    assert list(await store.hold([SessionKey(STRANGER, session_id)], "b", 60_000)) == [True]
