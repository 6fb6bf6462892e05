"""What a store promises of a turn that brings its own line along: both or neither, in one write."""

import asyncio

import pytest
from msgspec import structs

from server.errors import InvalidWrite
from server.records import Committed, Conflict, Duplicate, Missing, SessionKey, Snapshot, Write, fold
from server.store import Store
from tests.support.writes import (
    STRANGER,
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


def at_once(before: Snapshot, client_id: str = "c1", *, place: int | None = None, text: str = "hello") -> Write:
    """A line and its answer, for a log that ends at `before`."""
    session_id, cursor = before.session_id, before.seq + 1 if place is None else place
    answer = turn(before, event(session_id), answers=cursor, memory={"last": client_id})
    line = event(session_id, role="user", client_id=client_id, payload={"text": text})
    return structs.replace(answer, events=(line, *answer.events), client_id=client_id)


async def test_a_line_and_its_answer_are_one_write(store: Store) -> None:
    before = await open_session(store)
    events = await committed(store, at_once(before))
    assert [said.seq for said in events] == [3, 4, 5]
    assert [said.turn for said in events] == [3, 3, 3]
    assert [said.role for said in events] == ["user", "assistant", "system"]
    assert list(await log_of(store, before.session_id))[2:] == list(events)
    after = await snapshot(store, before.session_id)
    assert (after.version, after.seq, after.cursor, after.lined) == (2, 5, 3, 3)
    assert after.visible == before.visible + 2
    assert after == fold(await log_of(store, before.session_id), USER)


async def test_it_leaves_nothing_to_answer(store: Store) -> None:
    before = await open_session(store)
    await committed(store, at_once(before))
    assert await store.pending(2**52, 10) == []
    loaded = await store.load(SessionKey(USER, before.session_id), 0, 0)
    assert loaded is not None
    assert loaded.inbox == ()


async def test_a_line_that_came_before_it_is_a_conflict_and_nothing_is_written(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c0"))
    assert await commit(store, at_once(before)) == Conflict(1)
    assert (await log_of(store, before.session_id))[-1] == line
    assert await store.find(SessionKey(USER, before.session_id), "c1") is None


async def test_a_line_that_came_before_it_in_its_batch_is_a_conflict(store: Store) -> None:
    before = await open_session(store)
    first, second, third = await store.commit(
        [accept(before.session_id, "c0"), at_once(before), accept(before.session_id, "c2")]
    )
    assert isinstance(first, Committed)
    assert isinstance(third, Committed)
    assert second == Conflict(1)
    assert [said.client_id for said in await log_of(store, before.session_id)][2:] == ["c0", "c2"]


async def test_two_in_a_batch_follow_each_other(store: Store) -> None:
    before = await open_session(store)
    later = structs.replace(before, version=2, seq=5, memory={"last": "c1"})
    outcomes = await store.commit([at_once(before), at_once(later, "c2")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed]
    assert (await snapshot(store, before.session_id)).version == 3


async def test_it_takes_effect_once(store: Store) -> None:
    before = await open_session(store)
    events = await committed(store, at_once(before))
    after = await snapshot(store, before.session_id)
    assert await commit(store, at_once(before)) == Duplicate(events[0])
    assert await commit(store, at_once(after)) == Duplicate(events[0])
    assert await commit(store, accept(before.session_id, "c1")) == Duplicate(events[0])
    assert await store.find(SessionKey(USER, before.session_id), "c1") == events[0]


async def test_a_line_that_was_accepted_alone_is_not_answered_by_it(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    assert await commit(store, at_once(before)) == Duplicate(line)
    assert (await store.pending(2**52, 10)) == [before.key]


async def test_a_stranger_learns_nothing(store: Store) -> None:
    """Of somebody else's id: it is one that this user has not used."""
    before = await open_session(store)
    assert await commit(store, structs.replace(at_once(before), user_id=STRANGER)) == Missing()
    assert await commit(store, structs.replace(at_once(before, place=9), user_id=STRANGER)) == Missing()


async def test_another_version_is_a_conflict(store: Store) -> None:
    before = await open_session(store)
    assert await commit(store, at_once(structs.replace(before, version=4))) == Conflict(1)


async def test_of_sixteen_writers_one_wins(store: Store) -> None:
    before = await open_session(store)
    lines = (at_once(before, f"c{number}") for number in range(16))
    outcomes = await asyncio.gather(*(commit(store, line) for line in lines))
    assert [type(outcome) for outcome in outcomes].count(Committed) == 1
    assert outcomes.count(Conflict(2)) == 15
    assert (await snapshot(store, before.session_id)).seq == 5


async def test_a_line_in_the_middle_of_a_turn_is_refused(store: Store) -> None:
    before = await open_session(store)
    whole = at_once(before)
    moved = structs.replace(whole, events=(whole.events[1], whole.events[0], whole.events[2]))
    with pytest.raises(InvalidWrite):
        await store.commit([moved])


async def test_a_session_can_begin_with_a_line(store: Store) -> None:
    """Nobody does so; but what the contract does not forbid must not end in half a session."""
    session_id = new_session()
    opened = greeting(session_id)
    line = event(session_id, role="user", client_id="c1")
    assert opened.update is not None
    update = structs.replace(opened.update, cursor=1)
    write = structs.replace(opened, events=(line, *opened.events), client_id="c1", update=update)
    assert [said.seq for said in await committed(store, write)] == [1, 2, 3]
    misplaced = structs.replace(update, cursor=2)
    other = new_session()
    events = tuple(structs.replace(said, session_id=other) for said in write.events)
    refused = structs.replace(write, session_id=other, events=events, update=misplaced)
    assert isinstance(await commit(store, refused), Conflict)
    assert await store.load(SessionKey(USER, other), 0, 0) is None
