"""The identity of a session is its owner and its id, in every store and through every broker."""

from collections.abc import Sequence
from itertools import product
from typing import Final

import pytest
from msgspec import structs

from server.broker import Broker
from server.records import ID_MAX_CHARS, Committed, Duplicate, Event, Missing, SessionKey, is_id
from server.store.library import FullStore
from tests.support.writes import accept, commit, committed, event, greeting, log_of, new_session, snapshot, turn

FAMILY: Final = "👨‍👩‍👧‍👦"
#: What a store, a script, a pattern or a name of a channel could take for something of its own.
ODD: Final = (
    "session_456",
    "e2e-ingest:chromium:17-ab",
    "a:b",
    "a%3Ab",
    ":",
    "%",
    "{a}*[b]?",
    " a 'b' \"c\" \\ ",
    "$1",
    FAMILY,
    "e\u0301",
    "\U0001f469" * ID_MAX_CHARS,
)


async def talk(store: FullStore, key: SessionKey, words: str) -> Sequence[Event]:
    """Three turns' worth: greeting, a line, its answer, a page, a second line that waits."""
    session_id, user_id = key.session_id, key.user_id
    said = structs.replace(event(session_id), payload={"text": words})
    await committed(store, turn(None, said, session_id=session_id, user_id=user_id))
    [line] = await committed(store, accept(session_id, "c1", user_id=user_id, payload={"text": words}))
    before = await snapshot(store, session_id, user_id=user_id)
    page = event(session_id, "slide_update", payload={"text": words})
    await committed(store, turn(before, page, user_id=user_id, answers=line.seq))
    await committed(store, accept(session_id, "c2", user_id=user_id, payload={"text": words}))
    return await log_of(store, session_id, user_id=user_id)


async def test_two_owners_of_one_id_live_side_by_side(store: FullStore) -> None:
    ann, eve = (SessionKey(user_id=user_id, session_id=new_session()) for user_id in ("ann", "eve"))
    eve = eve._replace(session_id=ann.session_id)
    logs = {key: await talk(store, key, f"of {key.user_id}") for key in (ann, eve)}
    for key, log in logs.items():
        assert [one.seq for one in log] == list(range(1, 7))
        assert {one.payload["text"] for one in log if "text" in one.payload} == {f"of {key.user_id}"}
        loaded = await store.load(key, 0, 100)
        assert loaded is not None
        assert (loaded.snapshot.key, list(loaded.events), list(loaded.inbox)) == (key, log, [log[-1]])
        assert await store.find(key, "c1") == log[2]
        assert await store.read(key, 4, 100) == log[4:]
        assert [one.session_id for one in await store.list(key.user_id, 10)] == [key.session_id]
        page = await store.published(log[3].message_id, "slide_update")
        assert page == log[3]
    assert list(await store.heads([eve, ann, ann._replace(user_id="zoe")])) == [6, 6, 0]
    assert sorted(await store.pending(2**52, 10)) == [ann, eve]
    assert list(await store.hold([ann], "p1", 60_000)) == [True]
    assert list(await store.hold([ann, eve], "p2", 60_000)) == [False, True]
    await store.release([ann], "p2")
    assert list(await store.hold([ann], "p2", 60_000)) == [False]

    assert await store.delete(ann) is True
    assert await store.delete(ann) is False
    assert await store.load(ann, 0, 1) is None
    assert await store.published(logs[ann][3].message_id, "slide_update") is None
    assert await log_of(store, eve.session_id, user_id="eve") == logs[eve]
    assert await store.find(eve, "c1") == logs[eve][2]
    assert await store.pending(2**52, 10) == [eve]


async def test_a_batch_of_two_owners_of_one_id(store: FullStore) -> None:
    """The same client ids, the same places: each write has the outcome of its owner's session."""
    session_id = new_session()
    ann, eve = greeting(session_id, user_id="ann"), greeting(session_id, user_id="eve")
    line, other = accept(session_id, "c1", user_id="ann"), accept(session_id, "c1", user_id="eve")
    outcomes = await store.commit([ann, other, line, eve, other, line, accept(session_id, "c1", user_id="zoe")])
    kinds = [Committed, Missing, Committed, Committed, Committed, Duplicate, Missing]
    assert [type(outcome) for outcome in outcomes] == kinds
    again = await store.commit([line, other])
    assert again == [Duplicate(outcomes[2].events[0]), Duplicate(outcomes[4].events[0])]  # type: ignore[union-attr]


async def test_a_stranger_with_an_id_that_exists_begins_anew_and_learns_nothing(store: FullStore) -> None:
    key = SessionKey(user_id="ann", session_id=new_session())
    log = await talk(store, key, "a secret")
    stranger = key._replace(user_id="eve")
    assert await commit(store, accept(key.session_id, "c1", user_id="eve")) == Missing()
    assert await store.find(stranger, "c1") is None
    outcome = await commit(store, greeting(key.session_id, user_id="eve"))
    assert isinstance(outcome, Committed)
    assert (outcome.version, [one.seq for one in outcome.events]) == (1, [1, 2])
    [line] = await committed(store, accept(key.session_id, "c1", user_id="eve"))
    assert line.seq == 3
    assert "a secret" not in str(await log_of(store, key.session_id, user_id="eve"))
    assert await log_of(store, key.session_id) == log


async def test_ids_of_every_kind_are_told_apart(store: FullStore) -> None:
    """Every one as an owner's and as a session's: what is stored under one comes back under that one only."""
    assert all(map(is_id, ODD))
    keys = [SessionKey(user_id=user_id, session_id=session_id) for user_id, session_id in product(ODD, ODD)]
    writes = [greeting(key.session_id, user_id=key.user_id) for key in keys]
    outcomes = [*await store.commit(writes[:70]), *await store.commit(writes[70:])]
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    lines = [accept(key.session_id, FAMILY * 8, user_id=key.user_id) for key in keys]
    assert all(isinstance(outcome, Committed) for outcome in await store.commit(lines))
    assert list(await store.heads(keys)) == [3] * len(keys)
    assert set(await store.pending(2**52, 1000)) == set(keys)
    assert all(await store.hold(keys, "p1", 60_000))
    for key, write in list(zip(keys, writes, strict=True))[:: len(ODD) + 1]:
        loaded = await store.load(key, 0, 10)
        assert loaded is not None
        assert [one.message_id for one in loaded.events[:2]] == [one.message_id for one in write.events]
        assert {one.session_id for one in loaded.events} == {key.session_id}
        assert sorted(one.session_id for one in await store.list(key.user_id, 100)) == sorted(ODD)
        assert await store.find(key, FAMILY * 8) == loaded.events[2]
        assert await store.delete(key)
        assert list(await store.heads(keys)).count(0) == 1
        await committed(store, write)


class Ear:
    """A subscriber that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hint(self, head: int) -> None:
        self.heard.append(head)


def test_every_session_has_a_channel_of_its_own() -> None:
    """And the channel's name tells the session, to the letter."""
    from server.broker.redis.broker import RedisBroker
    from server.broker.redis.pool import open_pool

    pool = open_pool("redis://127.0.0.1:1/0", 1_000)
    broker = RedisBroker(pool, prefix="rejoinder:", timeout_ms=1_000, queue_limit=1, hint_max_bytes=1)
    keys = [SessionKey(user_id=user_id, session_id=session_id) for user_id, session_id in product(ODD, ODD)]
    channels = [broker._channel(key) for key in keys]
    assert len(set(channels)) == len(keys)
    assert [broker._key(channel) for channel in channels] == keys


@pytest.mark.parametrize("user_id", ODD)
async def test_a_broker_tells_the_owners_apart(broker: Broker, user_id: str) -> None:
    mine, others = Ear(), Ear()
    for session_id in ODD:
        key = SessionKey(user_id=user_id, session_id=session_id)
        other = key._replace(user_id=f"{user_id[:9]}x")
        broker.subscribe(key, mine)  # type: ignore[arg-type]
        broker.subscribe(other, others)  # type: ignore[arg-type]
        broker.tell_head(key, len(mine.heard))
        broker.unsubscribe(key, mine)  # type: ignore[arg-type]
        broker.tell_head(key, -1)
        broker.unsubscribe(other, others)  # type: ignore[arg-type]
    assert (mine.heard, others.heard) == (list(range(len(ODD))), [])
