"""Junk from everywhere: outputs of steps, memories, rows, orders of inputs. Each turn ends or is visibly refused.

In every example a neighbour is answered meanwhile. Seeded and bounded, so that a run is the same as the one before.
"""

import asyncio
import contextlib
import datetime
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from server.records import SessionKey, fold
from server.store.sqlite.store import SqliteStore
from server.workflows.table import Ask, Delta, Frame, Output, Progress, Remember, Turn, chat
from tests.engine.test_wrong_steps import tea
from tests.support.rooms import Person, Room, room

bounded = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)
KEY = SessionKey("ann", "fuzzed")
WORDS = st.sampled_from(
    ["", "tea", "\0", "\ud800", "@usage", "@summary", "usage", "summary", "text", "to", "memory", "from", "🫖"]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    WORDS,
    st.binary(max_size=3),
    st.just(datetime.datetime(2025, 1, 1)),
    st.builds(object),
    st.just(10**400),
)
JUNK = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.integers(), inner, max_size=3)
        | st.tuples(inner)
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=8,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | WORDS.filter(lambda word: word != "\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS.filter(lambda word: word != "\ud800"), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = st.sampled_from(["chat_message", "note", "state_update", "ack", "action_request", "slide_update"]) | JUNK
OUTPUTS = st.one_of(
    JUNK,
    st.builds(Frame, TYPES, st.dictionaries(WORDS, JUNK, max_size=3) | JUNK, st.none() | JUNK),
    st.builds(Remember, st.dictionaries(WORDS, JUNK, max_size=3) | JUNK),
    st.builds(Ask, JUNK),
    st.builds(Delta, JUNK),
    st.builds(Progress, JUNK, JUNK, JUNK, JUNK),
    st.builds(chat, WORDS),
    st.builds(SystemExit),
    st.builds(RuntimeError, WORDS),
    st.builds(asyncio.CancelledError),
)


def script(outputs: list[Any], waits: bool) -> Any:
    """A step that says these outputs and raises those that are exceptions."""

    def at_once(turn: Turn) -> Iterator[Output]:
        for output in outputs if turn.line.text == "go" else [chat("fine")]:
            if isinstance(output, BaseException):
                raise output
            yield output

    async def waiting(turn: Turn) -> AsyncIterator[Output]:
        for output in at_once(turn):
            await asyncio.sleep(0)
            yield output

    return waiting if waits else at_once


async def keeps_its_promises(here: Room, user: Person) -> None:
    """Every line that was acknowledged has its one end, the log folds, and what was sent is what is stored."""
    loaded = await here.store.load(user.key, 0, 1_000)
    assert loaded is not None
    assert fold(loaded.events, user.key.user_id) == loaded.snapshot
    lines = [event.seq for event in loaded.events if event.role == "user"]
    assert sorted(event.turn for event in loaded.events if event.type == "state_update") == [0, *lines]
    sent = [(frame["seq"], frame["payload"]) for frame in user.frames if "seq" in frame]
    assert sent == [(event.seq, event.payload) for event in loaded.events]


@seed(1)
@bounded
@given(st.lists(OUTPUTS, max_size=4), st.booleans())
def test_random_outputs_of_a_step(outputs: list[Any], waits: bool) -> None:
    async def run() -> None:
        async with room(tea(script(outputs, waits))) as here:
            user, neighbour = await here.enter("tea"), await here.enter()
            await asyncio.gather(user.turn("go"), neighbour.turn("hello"))
            assert (await user.turn("and now?"))["intent"] == "Say"
            assert user.words[-1] == "fine"
            await keeps_its_promises(here, user)

    asyncio.run(run())


COLUMNS = st.sampled_from(
    ["memory", "state", "card", "workflow", "version", "cursor", "lined", "visible", "updated_at"]
)
EVENT_COLUMNS = st.sampled_from(["payload", "type", "role", "turn", "message_id", "client_id", "created_at"])
VALUES = st.one_of(
    JSON.map(lambda value: msgspec.json.encode(value).decode()),
    st.sampled_from(["", "[", "tea", "BREWING", "user", "state_update", '{"text":"x"}', "[" * 3_000, '{"a":' * 3_000]),
    st.integers(-1, 12),
    st.binary(max_size=3),
    st.floats(allow_nan=False),
)


async def make_session(path: Path) -> None:
    async def never(turn: Turn) -> AsyncIterator[Output]:
        if turn.line.text == "wait":
            await asyncio.sleep(60)
        yield Remember({"cups": 3, "usage": "mine"})
        yield chat("fine")

    async with room(tea(never), store=SqliteStore(str(path), synchronous="NORMAL")) as here:
        user = await here.enter("tea", KEY)
        await user.turn("one")
        user.say("wait", "waiting")
        await user.until("ack", 2)


@seed(2)
@settings(bounded, max_examples=25)
@given(
    st.lists(
        st.tuples(st.just("sessions"), COLUMNS, st.just(0), VALUES)
        | st.tuples(st.just("events"), EVENT_COLUMNS, st.integers(1, 6), VALUES),
        min_size=1,
        max_size=2,
    )
)
def test_random_rows(changes: list[tuple[str, str, int, Any]]) -> None:
    async def run(path: Path) -> None:
        await make_session(path)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            for table, column, seq, value in changes:
                place = f"and seq = {seq}" if seq else ""
                numbers = "number" if table == "sessions" else "session"
                whose = f"{numbers} in (select number from sessions where session_id = ?)"
                statement = f"update or ignore {table} set {column} = ? where {whose} {place}"
                connection.execute(statement, (value, KEY.session_id))
        step = script([chat("fine")], waits=False)
        async with room(tea(step), store=SqliteStore(str(path), synchronous="NORMAL")) as here:
            neighbour, victim = await here.enter(), here.join("tea", KEY)
            async with asyncio.timeout(20):
                while victim.code is None and not victim.of("live"):
                    await asyncio.sleep(0.002)
            if victim.code is None:
                await is_answered_or_refused(victim)
            else:
                assert victim.code in (4100, 4103, 4203), victim.frames
            assert await neighbour.turn("hello")
            assert not here.engine.commit._task.done()  # type: ignore[union-attr]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "fuzz.db"))


async def is_answered_or_refused(user: Person) -> None:
    client_id = user.say("another")
    async with asyncio.timeout(20):
        while user.code is None:
            if [one for one in user.of("ack") + user.of("error") if one["id"] == client_id]:
                return
            await asyncio.sleep(0.002)


ACTIONS = st.sampled_from(["say", "say", "say", "again", "cancel", "leave", "join", "break", "rest"])


@seed(3)
@settings(bounded, max_examples=25)
@given(st.lists(ACTIONS, min_size=3, max_size=14), st.booleans(), st.lists(st.dictionaries(WORDS, JSON), max_size=3))
def test_random_inputs_with_a_machine_that_breaks(
    actions: list[str], waits: bool, memories: list[dict[str, Any]]
) -> None:
    outputs = [*map(Remember, memories), chat("gone")]

    async def run() -> None:
        async with room(tea(script(outputs, waits))) as here:
            user, neighbour = await here.enter("tea", KEY), await here.enter()
            said = 0
            for action in actions:
                match action:
                    case "say":
                        said += 1
                        user.say("go", f"c{said}")
                    case "again":
                        user.say("go", f"c{said}")
                    case "cancel":
                        user.subscriber.receive(cancel(here.engine.running(KEY) or 3))
                    case "leave":
                        user.close(user.code or 4000)  # type: ignore[arg-type]
                    case "join":
                        user = here.join("tea", KEY)
                    case "break" if (machine := here.engine.machine(KEY)) is not None:
                        machine.inbox = None  # type: ignore[assignment]  # whatever comes next raises
                    case "rest":
                        here.engine.let_rest(2**62)
                await asyncio.sleep(0)
            assert await neighbour.turn("hello")
            here.engine.machine(KEY)
            await settles(here)
            user = await here.enter("tea", KEY)
            assert await neighbour.turn("hello")
            loaded = await here.store.load(KEY, 0, 1_000)
            assert loaded is not None
            assert fold(loaded.events, "ann") == loaded.snapshot

    asyncio.run(run())


def cancel(turn: int) -> Any:
    from server.wire.protocol import Cancel

    return Cancel(f"stop{turn}", turn)


async def settles(here: Room) -> None:
    """Every line that is stored has its answer."""
    async with asyncio.timeout(20):
        while True:
            loaded = await here.store.load(KEY, 0, 0)
            if loaded is not None and not loaded.inbox and not here.engine.busy():
                return
            await asyncio.sleep(0.005)
