"""The library of a store: what people do with stored conversations, the same over every kind."""

from server.records import Missing, SessionKey, Summary
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
    open_session,
    snapshot,
    turn,
)


async def test_a_published_page_is_a_workflows_own_frame_of_the_type_that_is_asked_for(store: FullStore) -> None:
    before = await open_session(store)
    said, card = event(before.session_id), event(before.session_id, "action_request")
    slides = event(before.session_id, "slide_update", payload={"slides": [{"n": 1}]})
    drawing = event(before.session_id, "drawing", payload={"of": "a bee"})
    events = await committed(store, turn(before, said, card, slides, drawing))
    [line] = await committed(store, accept(before.session_id, "c1", type="drawing"))
    assert await store.published(slides.message_id, "slide_update") == events[2]
    assert await store.published(drawing.message_id, "drawing") == events[3]
    assert await store.published(drawing.message_id, "slide_update") is None
    assert await store.published("unknown", "slide_update") is None
    for private in (said, card, events[-1], line):  # no caller can publish what was said in a conversation
        assert await store.published(private.message_id, private.type) is None


async def test_list_has_the_users_sessions_latest_first(store: FullStore) -> None:
    opened = [await open_session(store) for _ in range(3)]
    await open_session(store, user_id=STRANGER)
    for place, before in enumerate([opened[1], opened[0], opened[2]]):
        await committed(store, accept(before.session_id, created_at=T0_MS + 100 * place + 100))
    after = [await snapshot(store, before.session_id) for before in (opened[2], opened[0], opened[1])]
    summaries = [
        Summary(
            session_id=session.session_id,
            user_id=USER,
            workflow="echo",
            state="TALK",
            seq=3,
            created_at=session.created_at,
            updated_at=session.updated_at,
        )
        for session in after
    ]
    assert list(await store.list(USER, 10)) == summaries
    assert list(await store.list(USER, 2)) == summaries[:2]
    assert list(await store.list("nobody", 10)) == []


async def test_delete_leaves_nothing(store: FullStore) -> None:
    gone, kept = await open_session(store), await open_session(store)
    slides = event(gone.session_id, "slide_update")
    await store.commit([accept(gone.session_id, "c1"), turn(gone, slides, answers=3), accept(gone.session_id, "c2")])
    await committed(store, accept(kept.session_id, "c1"))
    assert await store.delete(SessionKey(USER, gone.session_id)) is True
    assert await store.load(SessionKey(USER, gone.session_id), 0, 10) is None
    assert await log_of(store, gone.session_id) == []
    assert await store.find(SessionKey(USER, gone.session_id), "c1") is None
    assert await store.published(slides.message_id, "slide_update") is None
    assert await store.pending(T0_MS + 10_000, 10) == [kept.key]
    assert [summary.session_id for summary in await store.list(USER, 10)] == [kept.session_id]
    assert await store.delete(SessionKey(USER, gone.session_id)) is False
    assert [await commit(store, accept(gone.session_id, "c1")), await commit(store, turn(gone))] == [Missing()] * 2


async def test_after_delete_the_session_begins_anew_and_its_ids_are_free(store: FullStore) -> None:
    before = await open_session(store)
    await committed(store, accept(before.session_id, "c1"))
    await store.delete(SessionKey(USER, before.session_id))
    await committed(store, greeting(before.session_id, user_id=STRANGER))
    [line] = await committed(store, accept(before.session_id, "c1", user_id=STRANGER))
    assert line.seq == 3
