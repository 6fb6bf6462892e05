"""What goes into a store comes out of it, to the letter; what is not JSON does not go in.

A NUL is part of a text and stays, in a payload and in the memory. In ids and names it is refused: not every database
keeps it there. NaN and the infinities are no JSON; they become null, as they do on the wire.
"""

from typing import Any, Final

import msgspec
import pytest
from msgspec import structs

from server.errors import InvalidWrite
from server.records import Duplicate, SessionKey, Write
from server.store.library import FullStore
from tests.support.writes import (
    USER,
    accept,
    commit,
    committed,
    event,
    greeting,
    new_session,
    open_session,
    snapshot,
    turn,
)


def _nested(depth: int) -> Any:
    value: Any = "the bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"down": value}
    return value


VALUES: Final[dict[str, Any]] = {
    "plain": "hello",
    "empty": ["", {}, [], {"": ""}],
    "literals": [None, True, False, 0, -1, 1],
    "accents": "Grüße, Ærøskøbing, ñandú",
    "scripts": "中文 العربية עברית हिन्दी ไทย",
    "emoji": "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "combining": "e\u0301 is not \u00e9",
    "line separators": "a\u2028b\u2029c\r\nd\u0085e",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "nul": "before\0after",
    "byte order mark": "\ufeffx\ufffe\uffff",
    "quotes": "\"'`\\/<>&%s {} $1 :name ? -- ;",
    "escapes": r"\u0000 \n \\ \"",
    "beyond 2^53": [2**53 + 1, -(2**53) - 1, 2**63, -(2**63), 2**64 - 1],
    "beyond 2^64": [2**64, 2**64 + 1, -(2**70), 10**300],
    "floats": [0.1, -0.0, 1.0, 1e-320, 5e-324, 1.7976931348623157e308, 1 / 3, 1e15, 123456789.123456789],
    "deep": _nested(50),
    "long": "x" * 300_000,
    "wide": {f"key {number}": number for number in range(1000)},
    "odd keys": {"a.b": 1, "$[0]": 2, '"': 3, " ": 4, "\0": 5, "😀": 6, "payload": 7},
}
NOT_JSON: Final[dict[str, Any]] = {
    "a lone surrogate": "\ud800",
    "a lone surrogate as a key": {"\udfff": 1},
    "an object": object(),
    "a key that is an object": {object(): 1},
    "a nesting without end": _nested(100_000),
}


def text_of(value: Any) -> bytes:
    """JSON text tells 1 from 1.0 and from true, and one order of keys from another."""
    return msgspec.json.encode(value)


@pytest.mark.parametrize("name", VALUES)
async def test_what_goes_in_comes_out(store: FullStore, name: str) -> None:
    payload = {"value": VALUES[name]}
    session_id = new_session()
    slides = event(session_id, "slide_update", payload=payload)
    await committed(store, turn(None, slides, session_id=session_id, memory=payload))
    [line] = await committed(store, accept(session_id, "c1", payload=payload))
    duplicate = await commit(store, accept(session_id, "c1"))
    loaded = await store.load(SessionKey(USER, session_id), 0, 10)
    found, deck = (
        await store.find(SessionKey(USER, session_id), "c1"),
        await store.published(slides.message_id, "slide_update"),
    )
    assert isinstance(duplicate, Duplicate)
    assert loaded is not None
    assert found is not None
    assert deck is not None
    read = await store.read(SessionKey(USER, session_id), 2, 10)
    seen = [line, duplicate.event, loaded.events[0], loaded.inbox[0], found, deck, *read]
    assert {text_of(said.payload) for said in seen} == {text_of(payload)}
    assert text_of(loaded.snapshot.memory) == text_of(payload)


async def test_what_is_no_number_becomes_null(store: FullStore) -> None:
    before = await open_session(store)
    await committed(store, accept(before.session_id, payload={"a": float("nan"), "b": [float("-inf")]}))
    [line] = await store.read(SessionKey(USER, before.session_id), 2, 1)
    assert line.payload == {"a": None, "b": [None]}


@pytest.mark.parametrize("text", ["é", "😀", "a b", "'\"\\", "\u2028", "%", "?", "[0]", "x" * 64])
async def test_ids_are_any_text(store: FullStore, text: str) -> None:
    session_id, user_id = text + new_session(), text + "u"
    await committed(store, greeting(session_id, user_id=user_id, to=text))
    [line] = await committed(store, accept(session_id, text, user_id=user_id, message_id=text))
    assert await commit(store, accept(session_id, text, user_id=user_id)) == Duplicate(line)
    assert await store.find(SessionKey(user_id, session_id), text) == line
    assert (await snapshot(store, session_id, user_id=user_id)).state == text
    assert [summary.session_id for summary in await store.list(user_id, 1)] == [session_id]


@pytest.mark.parametrize("where", ["payload", "memory"])
@pytest.mark.parametrize("name", NOT_JSON)
async def test_what_is_not_json_is_refused_with_its_batch(store: FullStore, name: str, where: str) -> None:
    good, bad = await open_session(store), await open_session(store)
    value = {"value": NOT_JSON[name]}
    poison: Write = turn(bad, event(bad.session_id, payload=value if where == "payload" else {}))
    if where == "memory":
        assert poison.update is not None
        poison = structs.replace(poison, update=structs.replace(poison.update, memory=value))
    with pytest.raises(InvalidWrite):
        await store.commit([accept(good.session_id, "c1"), poison, turn(good)])
    assert await snapshot(store, good.session_id) == good
    assert await snapshot(store, bad.session_id) == bad
    [line] = await committed(store, accept(good.session_id, "c1"))
    assert line.seq == 3


async def test_what_the_writer_does_afterwards_changes_nothing(store: FullStore) -> None:
    before = await open_session(store)
    payload, memory = {"list": ["as it was"]}, {"list": ["as it was"]}
    await committed(store, turn(before, event(before.session_id, payload=payload), memory=memory))
    payload["list"][0] = memory["list"][0] = "changed"
    [said, _] = await store.read(SessionKey(USER, before.session_id), 2, 2)
    said.payload["list"].append("changed")
    loaded = await store.load(SessionKey(USER, before.session_id), 2, 1)
    assert loaded is not None
    assert loaded.events[0].payload == loaded.snapshot.memory == {"list": ["as it was"]}
