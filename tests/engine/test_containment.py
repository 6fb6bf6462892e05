"""A session whose machine raises: the others do not notice, and its user hears."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from server.broker import LocalBroker
from server.engine import containment
from server.engine.containment import RECORDS, RECORDS_MS, RETRY_MAX_MS, UNKNOWN, UNREAD, Containment
from server.errors import CloseCode, InvalidWrite
from server.machines.session import Session
from server.machines.turn import turn_write
from server.records import SessionKey, Write, fold
from server.workflows.table import Delta, Output, Remember, Turn, chat
from tests.engine.test_wrong_steps import at_once, tea, waiting
from tests.support.dict_store import DictStore
from tests.support.faulty_store import FaultyStore, poisoned
from tests.support.rooms import Person, Room, room
from tests.support.writes import log_of

KEY = SessionKey("ann", "s1")


@pytest.fixture
def records() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as kept:
        yield kept


def events(records: list[Any], name: str) -> list[Any]:
    return [record for record in records if record["event"] == name]


def breaks(monkeypatch: pytest.MonkeyPatch, name: str, words: str, times: int = 1_000) -> None:
    """A method of the session machine raises in the session where these words are in turn, so many times."""
    real, left = getattr(Session, name), [None] * times

    def broken(self: Session, *args: Any, **kwargs: Any) -> Any:
        running = self.running
        line = running.message.say.text if running is not None and running.message is not None else ""
        said = [event.payload["text"] for event in self.inbox.lines]
        if left and (words in said or words == line):
            left.pop()
            raise AttributeError("'str' object has no attribute 'get'")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Session, name, broken)


async def test_what_a_workflow_calls_usage_is_its_own(records: list[Any]) -> None:
    """It raised in the machine, turn after turn, when it met the sum that the server kept under the same key."""
    from tests.engine.test_overtaken import Counting  # a model that echoes

    async def answer(turn: Turn) -> AsyncIterator[Output]:
        assert not any(key.startswith("@") for key in turn.memory)
        yield Remember({"usage": "three cups", "summary": ["mine"]})
        async for piece in turn.assistant.stream(prompt(turn)):  # type: ignore[union-attr]
            if isinstance(piece, str):
                yield Delta(piece)
        yield chat(f"I had {turn.memory.get('usage')}")

    async with room(tea(answer), assistant=Counting()) as here:
        user = await here.enter("tea")
        for _ in range(2):
            assert (await user.turn("a cup"))["intent"] == "Say"
        assert user.words[-1] == "I had three cups"
        assert (await user.until("token_usage", 2))["session"]["calls"] == 2
        loaded = await here.store.load(user.key, 0, 100)
        assert loaded is not None
        assert loaded.snapshot.memory.keys() == {"usage", "summary", "@usage"}
        assert fold(loaded.events, "ann") == loaded.snapshot
    assert not [record for record in records if record["log_level"] == "error"]


def prompt(turn: Turn) -> Any:
    from server.assistant import Prompt

    return Prompt("Be brief.", turn.window(), task="answer")


@pytest.mark.parametrize("name", ["_commit", "_turn_ended", "_done", "_append"])
@pytest.mark.parametrize("step", [at_once, waiting])
async def test_a_machine_that_raises_once_answers_after_all(
    monkeypatch: pytest.MonkeyPatch, records: list[Any], step: Any, name: str
) -> None:
    async with room(tea(step(lambda: chat("one")))) as here:
        user, neighbour = await here.enter("tea"), await here.enter()
        breaks(monkeypatch, name, "bad", times=1)
        await says_until_answered(user, "bad")
        assert user.words[-1] == "fine"
        assert await neighbour.turn("hello")
        assert (await says_until_answered(user, "good"))["intent"] == "Say"
        assert len(here.engine.troubles) == 0
        await is_sound(here, user)
    for record in events(records, "session_contained"):
        assert (record["session_id"], record["times"]) == (user.key.session_id, 1)
        assert record["input"]
        assert record["correlation_id"]


@pytest.mark.parametrize(("step", "name"), [(at_once, "_commit"), (waiting, "_commit"), (waiting, "_done")])
async def test_a_machine_that_raises_again_and_again_ends_the_turn_visibly(
    monkeypatch: pytest.MonkeyPatch, records: list[Any], step: Any, name: str
) -> None:
    async with room(tea(step(lambda: Remember({"cups": 3})))) as here:
        user, neighbour = await here.enter("tea"), await here.enter()
        await user.turn("good")
        breaks(monkeypatch, name, "bad")
        talk = asyncio.create_task(says_until_answered(user, "bad"))
        for number in range(5):
            assert await neighbour.turn(f"hello {number}")
        ended = await talk
        assert (ended["intent"], ended["to"], ended["memory"]) == ("Failed", "BREWING", {})
        [failed] = user.of("turn_failed")
        assert failed["code"] == "turn_broken"
        assert user.words[-1].endswith(f"(Reference {failed['correlation_id'][:8]}.)")
        assert (await user.turn("good"))["intent"] == "Say"
        loaded = await here.store.load(user.key, 0, 0)
        assert loaded is not None
        assert loaded.snapshot.memory == {"cups": 3}
        assert len(here.engine.troubles) == 0
        await is_sound(here, user)
    contained = events(records, "session_contained")
    assert [record["times"] for record in contained] == [1, 2, 3][: len(contained)]
    [told] = events(records, "turn_broken")
    assert told["correlation_id"] == failed["correlation_id"] == contained[-1]["correlation_id"]


async def test_lines_that_wait_behind_a_broken_turn_have_their_turn(
    monkeypatch: pytest.MonkeyPatch, records: list[Any]
) -> None:
    async with room(tea(waiting(lambda: chat("one")))) as here:
        user = await here.enter("tea")
        breaks(monkeypatch, "_done", "bad")
        for text in ("bad", "second", "third"):
            user.say(text)
        async with asyncio.timeout(20):
            while len(user.of("state_update")) < 1 + len(user.of("ack")) or not user.of("turn_failed"):
                await asyncio.sleep(0.01)
        assert len(user.of("ack")) + len(user.of("error")) == 3, "each has an answer"
        await is_sound(here, user)
    assert events(records, "turn_broken")


async def test_a_session_that_cannot_be_begun_is_begun_with_its_failure(
    monkeypatch: pytest.MonkeyPatch, records: list[Any]
) -> None:
    real = turn_write

    def broken(*args: Any, **kwargs: Any) -> Any:
        if args[2] is None and args[3].name == "tea":
            raise ValueError("on purpose")
        return real(*args, **kwargs)

    monkeypatch.setattr("server.machines.session.turn_write", broken)
    async with room(tea(at_once(lambda: chat("one")))) as here:
        first = here.join("tea", KEY)
        assert await first.until_closed() is CloseCode.INTERNAL
        neighbour = await here.enter()
        await asyncio.sleep(0.05)  # the client's own wait
        second = here.join("tea", KEY)
        assert (await second.until("state_update"))["workflow"] == "tea"
        assert second.of("turn_failed")[0]["code"] == "turn_broken"
        assert (await second.turn("a cup"))["intent"] == "Say"
        assert await neighbour.turn("hello")
        await is_sound(here, second)


async def test_what_can_never_be_stored_is_not_tried_for_ever(records: list[Any]) -> None:
    store = FaultyStore(DictStore())
    async with room(tea(waiting(lambda: chat("one"))), store=store) as here:
        user, neighbour = await here.enter("tea"), await here.enter()

        def refuse(writes: Any) -> None:
            if any(is_turn(write, user.key) for write in writes):
                raise InvalidWrite("on purpose")

        store.before = refuse
        ended = await user.turn("a cup")
        assert ended["intent"] == "Failed"
        assert user.of("turn_failed")[0]["code"] == "turn_broken"
        assert await neighbour.turn("hello")
    assert len(events(records, "turn_broken")) == 1


def is_turn(write: Write, key: SessionKey) -> bool:
    mine = write.session_id == key.session_id and write.update is not None
    return mine and all(event.type != "turn_failed" for event in write.events)


async def test_an_effect_that_raises_is_contained_too(monkeypatch: pytest.MonkeyPatch, records: list[Any]) -> None:
    real, left = LocalBroker.publish, [None]

    def publish(self: LocalBroker, *args: Any) -> None:
        if left and any(event.payload.get("text") == "bad" for event in args[1]):
            left.pop()
            raise TypeError("on purpose")
        real(self, *args)

    monkeypatch.setattr(LocalBroker, "publish", publish)
    async with room(tea(waiting(lambda: chat("one")))) as here:
        user, neighbour = await here.enter("tea"), await here.enter()
        await says_until_answered(user, "bad")
        assert await neighbour.turn("hello")
        await is_sound(here, user)
    [record] = events(records, "session_contained")
    assert record["input"] == "Appended"


async def says_until_answered(user: Person, text: str) -> dict[str, Any]:
    """As a client does: a line that is refused for now is said again under its id, until its turn has ended."""
    before, refused = len(user.of("state_update")), len(user.of("error"))
    client_id = user.say(text)
    async with asyncio.timeout(20):
        while len(user.of("state_update")) == before:
            if len(user.of("error")) > refused:
                refused = len(user.of("error"))
                assert user.of("error")[-1]["temporary"]
                assert user.of("error")[-1]["id"] == client_id
                await asyncio.sleep(0.03)
                user.say(text, client_id)
            await asyncio.sleep(0.005)
    ended: dict[str, Any] = user.of("state_update")[-1]
    return ended


async def is_sound(here: Room, user: Person) -> None:
    """Every line of the log has one end, and the log folds to the session; the user was sent all of it."""
    loaded = await here.store.load(user.key, 0, 1_000)
    assert loaded is not None
    assert fold(loaded.events, user.key.user_id) == loaded.snapshot
    log = await log_of(here.store, user.key.session_id)
    lines = [event.seq for event in log if event.role == "user"]
    assert [event.turn for event in log if event.type == "state_update"] == [0, *lines]
    sent = [frame["seq"] for frame in user.frames if "seq" in frame]
    assert sent == sorted(set(sent))
    assert sent[-1] == log[-1].seq


# ------------------------------------------------------------ the book of troubles


def test_the_wait_doubles_up_to_its_bound_and_begins_anew_with_the_next_turn() -> None:
    book = Containment(limit=9, retry_ms=500)
    waits = [book.note(KEY, 5, 1_000).until_ms - 1_000 for _ in range(10)]
    assert waits == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, *[RETRY_MAX_MS] * 3]
    assert book.is_resting(KEY, 1_000 + RETRY_MAX_MS - 1)
    assert not book.is_resting(KEY, 1_000 + RETRY_MAX_MS)
    assert book.note(KEY, 6, 0).times == 1
    book.settle(KEY)
    assert not book.is_resting(KEY, 0)
    assert [book.note(KEY, version, 0).times for version in (UNREAD, 3, UNKNOWN, 3, 4)] == [1, 1, 2, 3, 1]


def test_troubles_are_bounded() -> None:
    book = Containment(limit=3, retry_ms=1)
    for number in range(10):
        book.note(SessionKey("ann", str(number)), 1, 0)
    assert len(book) == 3
    assert book.get(SessionKey("ann", "9")) is not None
    assert book.get(SessionKey("ann", "6")) is None


def test_records_are_bounded_and_say_what_was_left_out() -> None:
    book = Containment(limit=3, retry_ms=1)
    admitted = [book.admit_record(100) for _ in range(RECORDS + 7)]
    assert admitted == [*[0] * RECORDS, *[None] * 7]
    assert book.admit_record(100 + RECORDS_MS) == 7
    assert book.admit_record(100 + RECORDS_MS) == 0


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", [RuntimeError("x" * 100_000), Mute()])
def test_a_traceback_has_a_bound(error: Exception) -> None:
    said = str(containment.brief(error))
    assert type(error).__name__ in said
    assert len(said) < 200


async def test_a_store_that_is_away_does_not_end_a_turn(records: list[Any]) -> None:
    store = FaultyStore(DictStore())
    async with room(tea(waiting(lambda: chat("one"))), store=store) as here:
        user = await here.enter("tea")
        user.say("a cup")
        await user.until("ack")
        store.before = poisoned(user.key.session_id)
        await asyncio.sleep(0.1)
        store.before = lambda _: None
        assert (await user.until("state_update", 2))["intent"] == "Say"
    assert not events(records, "turn_broken")
