"""Random histories: every store does what the model does, and the log folds to the snapshot."""

from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from server.records import Outcome, SessionKey, Snapshot, Write, fold
from server.store import Store
from tests.support.dict_store import DictStore
from tests.support.writes import STRANGER, T0_MS, USER, accept, event, log_of, new_session, turn

SESSIONS = 2


class Act(NamedTuple):
    """One write to be: what is done to which session, by whom, at which time."""

    kind: str
    place: int
    user_id: str
    client_id: str | None
    clock_ms: int
    stale: bool
    card: bool
    to: str
    memory: dict[str, Any] | None


acts = st.builds(
    Act,
    kind=st.sampled_from(["accept", "accept", "turn", "turn", "cancel"]),
    place=st.integers(0, SESSIONS - 1),
    user_id=st.sampled_from([USER] * 3 + [STRANGER]),
    client_id=st.sampled_from([None, "a", "b", "c"]),
    clock_ms=st.integers(-5, 20).map(T0_MS.__add__),
    stale=st.sampled_from([False] * 5 + [True]),
    card=st.booleans(),
    to=st.sampled_from(["TALK", "PLAN"]),
    memory=st.none() | st.dictionaries(st.sampled_from("xyz"), st.none() | st.integers(0, 9) | st.just([1, {}])),
)


def _write(act: Act, session_id: str, before: Snapshot | None) -> Write:
    """What the engine would write that last saw `before`."""
    if act.kind == "accept":
        return accept(session_id, act.client_id, user_id=act.user_id, created_at=act.clock_ms)
    is_cancel = act.kind == "cancel" and act.client_id is not None
    said = event(
        session_id,
        "turn_cancelled" if is_cancel else "action_request" if act.card else "chat_message",
        client_id=act.client_id if is_cancel else None,
        created_at=act.clock_ms,
    )
    write = turn(
        before,
        said,
        session_id=session_id,
        user_id=act.user_id,
        answers=before.lined if before else 0,
        to=act.to,
        memory=act.memory,
        client_id=act.client_id if is_cancel else None,
        created_at=act.clock_ms,
    )
    assert write.expected_version is not None
    # Far enough from the present that no turn of the same batch can make it true.
    return structs.replace(write, expected_version=write.expected_version + 9) if act.stale else write


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(acts, min_size=1, max_size=5), max_size=8))
async def test_a_store_does_what_the_model_does(store: Store, batches: list[list[Act]]) -> None:
    model = DictStore()
    session_ids = [new_session() for _ in range(SESSIONS)]
    for batch in batches:
        keys = [SessionKey(user_id=act.user_id, session_id=session_ids[act.place]) for act in batch]
        writes = [_write(act, key.session_id, model.snapshots.get(key)) for act, key in zip(batch, keys, strict=True)]
        expected: list[Outcome] = await model.commit(writes)
        assert await store.commit(writes) == expected
    for session_id in session_ids:
        for user_id in (USER, STRANGER):
            loaded = await store.load(SessionKey(user_id, session_id), 0, 1000)
            assert loaded == await model.load(SessionKey(user_id, session_id), 0, 1000)
            if loaded is not None:
                assert fold(loaded.events, user_id) == loaded.snapshot
                assert await log_of(store, session_id, user_id=user_id) == list(loaded.events)
            for client_id in ("a", "b", "c"):
                found = await store.find(SessionKey(user_id, session_id), client_id)
                assert found == await model.find(SessionKey(user_id, session_id), client_id)
    waiting = {key for key in await store.pending(T0_MS + 10_000, 10_000) if key.session_id in session_ids}
    assert waiting == set(await model.pending(T0_MS + 10_000, 10_000))
