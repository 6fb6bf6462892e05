"""What a store promises of `commit`."""

import asyncio
from typing import Any

import pytest
from msgspec import structs

from server.errors import InvalidWrite
from server.records import Committed, Conflict, Duplicate, Missing, SessionKey, Write
from server.store import Store
from tests.support.writes import (
    STRANGER,
    T0_MS,
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

# ---------------------------------------------------------------- seq, times, turn


async def test_outcomes_stand_in_the_order_of_their_writes(store: Store) -> None:
    ann, other = await open_session(store), await open_session(store)
    [first] = await committed(store, accept(ann.session_id, "c1"))
    outcomes = await store.commit(
        [
            accept(other.session_id, "c1"),
            accept(ann.session_id, "c1"),
            turn(structs.replace(ann, version=7)),
            accept(new_session(), "c1"),
            turn(other, event(other.session_id)),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, Duplicate, Conflict, Missing, Committed]
    assert outcomes[1:4] == [Duplicate(first), Conflict(1), Missing()]


async def test_no_writes_have_no_outcomes(store: Store) -> None:
    assert await store.commit([]) == []


async def test_seq_begins_at_one_and_has_no_gap(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    answer = await committed(store, turn(before, *(event(before.session_id) for _ in range(5)), answers=line.seq))
    assert line.seq == 3
    assert [said.seq for said in answer] == list(range(4, 10))
    assert [said.seq for said in await log_of(store, before.session_id)] == list(range(1, 10))
    assert (await snapshot(store, before.session_id)).seq == 9


async def test_a_refused_write_uses_up_no_seq(store: Store) -> None:
    before = await open_session(store)
    await committed(store, accept(before.session_id, "c1"))
    await store.commit([accept(before.session_id, "c1"), turn(structs.replace(before, version=5))])
    [line] = await committed(store, accept(before.session_id, "c2"))
    assert line.seq == 4


async def test_times_rise_also_when_the_clock_stands_or_goes_back(store: Store) -> None:
    session_id = new_session()
    clock_ms = [T0_MS + 50, T0_MS + 50, T0_MS + 50, T0_MS - 90_000, 0, T0_MS + 400]
    opened = await committed(store, turn(None, event(session_id, created_at=clock_ms[0]), session_id=session_id))
    for time_ms in clock_ms[2:]:
        await committed(store, accept(session_id, created_at=time_ms))
    times = [said.created_at for said in await log_of(store, session_id)]
    assert times == [T0_MS + 50, T0_MS + 51, T0_MS + 52, T0_MS + 53, T0_MS + 54, T0_MS + 400]
    after = await snapshot(store, session_id)
    assert (after.created_at, after.updated_at) == (opened[0].created_at, times[-1])


async def test_a_line_is_its_own_turn_and_an_answer_keeps_its(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    await committed(store, accept(before.session_id, "c2"))
    await committed(store, turn(before, event(before.session_id), answers=line.seq))
    assert [said.turn for said in await log_of(store, before.session_id)] == [0, 0, 3, 4, 3, 3]


async def test_what_commit_returns_is_what_is_read(store: Store) -> None:
    before = await open_session(store)
    events = await committed(store, accept(before.session_id, "c1", payload={"text": "é", "list_items": None}))
    events += await committed(store, turn(before, event(before.session_id, payload={"n": 1}), answers=3))
    assert await store.read(before.key, 2, 10) == list(events)


# ---------------------------------------------------------------- the snapshot


async def test_a_snapshot_has_what_the_turns_made_of_it(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    card, slides = event(before.session_id, "action_request"), event(before.session_id, "slide_update")
    update = turn(before, card, slides, answers=line.seq, to="PLAN", memory={"topic": "storks"})
    ended = await committed(store, update)
    assert await snapshot(store, before.session_id) == structs.replace(
        before,
        state="PLAN",
        memory={"topic": "storks"},
        version=2,
        seq=6,
        cursor=line.seq,
        lined=line.seq,
        visible=4,  # the greeting, the line, the card, the slides; not the two state_updates
        card=card.message_id,
        updated_at=ended[-1].created_at,
    )


async def test_a_line_moves_lined_and_leaves_the_turns_alone(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    assert await snapshot(store, before.session_id) == structs.replace(
        before, seq=3, lined=3, visible=2, updated_at=line.created_at
    )


@pytest.mark.parametrize(("memory", "kept"), [(None, {"a": 1}), ({}, {}), ({"b": {"c": [None]}}, {"b": {"c": [None]}})])
async def test_a_memory_of_none_is_the_memory_before(store: Store, memory: Any, kept: dict[str, Any]) -> None:
    session_id = new_session()
    await committed(store, greeting(session_id, memory={"a": 1}))
    write = turn(await snapshot(store, session_id))
    assert write.update is not None
    await committed(store, structs.replace(write, update=structs.replace(write.update, memory=memory)))
    assert (await snapshot(store, session_id)).memory == kept


async def test_a_line_keeps_the_memory_of_the_turn_in_its_batch(store: Store) -> None:
    before = await open_session(store)
    session_id = before.session_id
    await store.commit([accept(session_id, "c1"), turn(before, answers=3, memory={"a": 1}), accept(session_id, "c2")])
    after = await snapshot(store, session_id)
    assert (after.memory, after.lined, after.cursor, after.version) == ({"a": 1}, 5, 3, 2)


# ---------------------------------------------------------------- the client's id


@pytest.mark.parametrize("text", ["the same", "another"])
async def test_a_client_id_takes_effect_once(store: Store, text: str) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1", payload={"text": "the same"}))
    again = accept(before.session_id, "c1", payload={"text": text})
    assert await commit(store, again) == Duplicate(line)
    assert len(await log_of(store, before.session_id)) == 3


async def test_a_client_id_takes_effect_once_in_a_batch(store: Store) -> None:
    before = await open_session(store)
    first, second = await store.commit([accept(before.session_id, "c1"), accept(before.session_id, "c1")])
    assert isinstance(first, Committed)
    assert second == Duplicate(first.events[0])


async def test_a_client_id_takes_effect_once_in_the_life_of_a_session(store: Store) -> None:
    before = await open_session(store)
    [line] = await committed(store, accept(before.session_id, "c1"))
    for number in range(30):
        await committed(store, accept(before.session_id, f"other {number}"))
        await committed(store, turn(await snapshot(store, before.session_id), answers=3))
    assert await commit(store, accept(before.session_id, "c1")) == Duplicate(line)


async def test_another_session_may_use_the_same_client_id(store: Store) -> None:
    one, two = await open_session(store), await open_session(store)
    outcomes = await store.commit([accept(one.session_id, "c1"), accept(two.session_id, "c1")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed]


async def test_a_line_without_a_client_id_is_always_new(store: Store) -> None:
    before = await open_session(store)
    outcomes = await store.commit([accept(before.session_id), accept(before.session_id)])
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed]


@pytest.mark.parametrize("version", [2, 1], ids=["current", "stale"])
async def test_a_turn_with_a_client_id_takes_effect_once(store: Store, version: int) -> None:
    """A cancellation: that it was done before is said first, however stale its version is."""
    before = await open_session(store)
    stop = event(before.session_id, "turn_cancelled", client_id="stop", role="system")
    stopped = await committed(store, turn(before, event(before.session_id), stop, client_id="stop"))
    after = await snapshot(store, before.session_id)
    again = event(before.session_id, "turn_cancelled", client_id="stop", role="system")
    write = turn(structs.replace(after, version=version), again, client_id="stop")
    assert await commit(store, write) == Duplicate(stopped[1])
    assert await snapshot(store, before.session_id) == after


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_another_version_is_a_conflict_and_nothing_is_written(store: Store, version: int) -> None:
    before = await open_session(store)
    await committed(store, turn(before))
    after, log = await snapshot(store, before.session_id), await log_of(store, before.session_id)
    write = turn(structs.replace(after, version=version), event(before.session_id), to="LOST", memory={"a": 1})
    assert await commit(store, write) == Conflict(2)
    assert await snapshot(store, before.session_id) == after
    assert await log_of(store, before.session_id) == log


async def test_a_refused_write_leaves_its_neighbours_committed(store: Store) -> None:
    sessions = [await open_session(store) for _ in range(4)]
    [line] = await committed(store, accept(sessions[1].session_id, "c1"))
    refused: list[Write] = [
        accept(sessions[1].session_id, "c1"),
        turn(structs.replace(sessions[1], version=9)),
        accept(new_session(), "c1"),
        accept(sessions[1].session_id, "c2", user_id=STRANGER),
    ]
    batch = [write for bad in refused for write in (accept(sessions[0].session_id), bad, turn(sessions[2]))]
    outcomes = await store.commit(batch)
    assert outcomes[1::3] == [Duplicate(line), Conflict(1), Missing(), Missing()]
    assert [type(outcome) for outcome in outcomes[0::3]] == [Committed] * 4
    assert (await snapshot(store, sessions[0].session_id)).seq == 6
    assert (await snapshot(store, sessions[2].session_id)).version == 2
    assert (await snapshot(store, sessions[1].session_id)).seq == 3


async def test_writes_to_one_session_keep_their_order_in_a_batch(store: Store) -> None:
    before = await open_session(store)
    words = [f"word {number}" for number in range(20)]
    await store.commit([accept(before.session_id, payload={"text": word}) for word in words])
    log = await log_of(store, before.session_id)
    assert [said.payload["text"] for said in log[2:]] == words


async def test_a_line_and_its_turn_go_into_one_batch(store: Store) -> None:
    before = await open_session(store)
    line, answer = await store.commit(
        [accept(before.session_id, "c1"), turn(before, event(before.session_id), answers=3)]
    )
    assert isinstance(line, Committed)
    assert isinstance(answer, Committed)
    assert (line.version, answer.version) == (1, 2)
    assert [said.seq for said in line.events + answer.events] == [3, 4, 5]


async def test_a_session_and_its_first_line_go_into_one_batch(store: Store) -> None:
    session_id = new_session()
    outcomes = await store.commit([greeting(session_id), accept(session_id, "c1"), accept(session_id, "c1")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed, Duplicate]
    assert (await snapshot(store, session_id)).seq == 3


async def test_of_two_turns_in_a_batch_the_first_wins(store: Store) -> None:
    before = await open_session(store)
    first, second = await store.commit([turn(before, to="FIRST"), turn(before, to="SECOND")])
    assert isinstance(first, Committed)
    assert second == Conflict(2)
    assert (await snapshot(store, before.session_id)).state == "FIRST"


async def test_of_sixteen_writers_one_wins_each_version(store: Store) -> None:
    before = await open_session(store)
    for version in range(1, 6):
        writes = [turn(before, to=f"{version}/{number}") for number in range(16)]
        outcomes = await asyncio.gather(*(commit(store, write) for write in writes))
        winners = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Committed)]
        assert len(winners) == 1
        assert [outcome for outcome in outcomes if isinstance(outcome, Conflict)] == [Conflict(version + 1)] * 15
        before = await snapshot(store, before.session_id)
        assert (before.version, before.state) == (version + 1, f"{version}/{winners[0]}")
    assert before.seq == 2 + 5


async def test_of_two_greetings_one_wins(store: Store) -> None:
    session_id = new_session()
    outcomes = await asyncio.gather(*(commit(store, greeting(session_id)) for _ in range(2)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Conflict"]
    assert Conflict(1) in outcomes
    assert len(await log_of(store, session_id)) == 2


@pytest.mark.parametrize("version", [None, 1, 7])
async def test_only_version_zero_creates_a_session(store: Store, version: int | None) -> None:
    session_id = new_session()
    write = accept(session_id, "c1") if version is None else greeting(session_id)
    assert await commit(store, structs.replace(write, expected_version=version)) == Missing()
    assert await store.load(SessionKey(write.user_id, session_id), 0, 10) is None


# ---------------------------------------------------------------- what is no write


def _misshapen() -> dict[str, Write]:
    session_id = new_session()
    line, opened = accept(session_id, "c1"), greeting(session_id)
    return {
        "no events": structs.replace(opened, events=()),
        "an event of another session": structs.replace(opened, events=(event(new_session()), *opened.events)),
        "a turn without a version": structs.replace(opened, expected_version=None),
        "a version without a turn": structs.replace(line, expected_version=1),
        "an id on no event": structs.replace(opened, client_id="c1"),
        "an id on two events": structs.replace(line, events=line.events * 2),
        "an id that is not the write's": structs.replace(line, client_id=None),
        "a NUL in an id": accept(session_id, "c\0"),
        "a lone surrogate in an id": accept(session_id, message_id="\ud800"),
        "a lone surrogate in a state": greeting(session_id, to="\ud800"),
    }


@pytest.mark.parametrize("name", _misshapen())
async def test_what_is_no_write_is_refused_with_its_batch(store: Store, name: str) -> None:
    before = await open_session(store)
    with pytest.raises(InvalidWrite):
        await store.commit([accept(before.session_id, "c1"), _misshapen()[name], turn(before)])
    assert await snapshot(store, before.session_id) == before
    await committed(store, accept(before.session_id, "c1"))
