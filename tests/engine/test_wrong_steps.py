"""Steps that do what no step may: the turn ends visibly, the log says what and where, and no neighbour notices."""

import asyncio
import datetime
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from server.engine.at_reconnect import name_legacy_state
from server.workflows.outputs import SERVER_TYPES
from server.workflows.table import (
    STAY,
    Ask,
    Delta,
    Frame,
    Output,
    Progress,
    Remember,
    State,
    Turn,
    Workflow,
    chat,
)
from tests.support.builders import snapshot
from tests.support.rooms import room

Yields = Callable[[], Any]


def greet(turn: Turn) -> Iterator[Output]:
    yield chat("Welcome.")


def tea(answer: Any, *, classify: Any = lambda _turn, _intents: "Say", **fields: Any) -> Workflow:
    state = State("BREWING", run=greet, final=True)
    return Workflow("tea", "BREWING", [state], answer, classify, "Say", always={"Say": STAY}, **fields)


def at_once(make: Yields) -> Any:
    def answer(turn: Turn) -> Iterator[Any]:
        yield make()
        yield chat("fine")

    return answer


def waiting(make: Yields) -> Any:
    async def answer(turn: Turn) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield make()
        yield chat("fine")

    return answer


async def fails(workflow: Workflow, code: str = "step_failed") -> dict[str, Any]:
    """The one record of a turn that fails, while a neighbour is answered."""
    with structlog.testing.capture_logs() as records:
        async with room(workflow) as here:
            user, neighbour = await here.enter("tea"), await here.enter()
            ended, other = await asyncio.gather(user.turn("a cup"), neighbour.turn("are you there?"))
            assert neighbour.words[-1] == "you said are you there?"
            assert (other["intent"], ended["intent"], ended["to"]) == ("Say", "Failed", "BREWING")
            failed = user.of("turn_failed")[-1]
            assert failed["code"] == code
            assert user.words[-1].endswith(f"(Reference {failed['correlation_id'][:8]}.)")
            assert await neighbour.turn("still?")
    [record] = [one for one in records if one["log_level"] == "error"]
    assert (record["event"], record["correlation_id"]) == ("step_failed", failed["correlation_id"])
    assert (record["workflow"], record["state"]) == ("tea", "BREWING")
    return dict(record)


def bomb(depth: int) -> Any:
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    return nested


#: What is yielded, and what the log says of it.
WRONG: list[tuple[Yields, str]] = [
    (lambda: "hello", "yielded str 'hello': write `yield chat('hello')`"),
    (lambda: {"text": "hello"}, "yielded a value of type dict: write `yield Remember(…)`"),
    (lambda: None, "yielded None, expected chat"),
    (lambda: 7, "yielded int 7, expected chat"),
    (lambda: 10**5000, "yielded a value of type int, expected chat"),
    (lambda: Frame("chat_message", ["hello"]), "a Frame (chat_message) whose payload is a value of type list"),  # type: ignore[arg-type]
    (lambda: Frame("chat_message", {"text": 5}), "a Frame (chat_message) whose text is int 5, expected a str"),
    (lambda: Frame("note", None), "a Frame (note) whose payload is None, expected a dict"),  # type: ignore[arg-type]
    (lambda: Frame("note", {"x": object()}), "frame 1 of the answer (note) is not JSON"),
    (lambda: chat("\ud800"), "frame 1 of the answer (chat_message) is not JSON"),
    (lambda: Frame("a\0b", {}), "a Frame whose type is str 'a\\x00b'"),
    (lambda: Frame(b"note", {}), "a Frame whose type is bytes b'note'"),  # type: ignore[arg-type]
    (lambda: Frame("", {}), "a Frame whose type is str ''"),
    (lambda: Frame("note", {}, "a\0b"), "a Frame (note) whose message_id is str 'a\\x00b'"),
    (lambda: Frame("note", {}, 5), "a Frame (note) whose message_id is int 5"),  # type: ignore[arg-type]
    (lambda: Remember({1: "one"}), "a Remember of the key int 1, expected a str"),  # type: ignore[dict-item]
    (lambda: Remember({"@usage": {}}), "a Remember of the key '@usage': keys that begin with @ are the server's own"),
    (lambda: Remember({"@x": None}), "a Remember of the key '@x'"),
    (lambda: Remember(["a"]), "a Remember of a value of type list, expected a dict"),  # type: ignore[arg-type]
    (lambda: Remember({"cup": object()}), "what is remembered as 'cup' is not JSON"),
    (lambda: Delta(5), "a Delta of int 5, expected a str"),  # type: ignore[arg-type]
    (lambda: Ask(5), "an Ask of int 5, expected a str"),  # type: ignore[arg-type]
    (lambda: Progress(5), "a Progress whose text is int 5, expected a str"),  # type: ignore[arg-type]
    (lambda: Progress("\ud800"), "a Progress whose text is str '\\ud800', expected a str"),
    (lambda: Progress("x", status=b"y"), "a Progress whose status is bytes b'y'"),  # type: ignore[arg-type]
    (lambda: Progress("x", progress=math.nan), "a Progress whose progress is float nan"),  # type: ignore[arg-type]
    (lambda: Progress("x", estimated_time="soon"), "a Progress whose estimated_time is str 'soon'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("step", [at_once, waiting])
@pytest.mark.parametrize(("make", "reason"), WRONG)
async def test_a_wrong_output_ends_its_turn_and_is_named(step: Any, make: Yields, reason: str) -> None:
    record = await fails(tea(step(make)))
    assert reason in record["reason"]
    assert len(record["reason"]) <= 500
    if "yielded" in record["reason"]:
        assert record["reason"].startswith("workflow tea, state BREWING: yielded ")


@pytest.mark.parametrize("kind", sorted(SERVER_TYPES))
async def test_a_step_cannot_speak_for_the_server(kind: str) -> None:
    record = await fails(tea(at_once(lambda: Frame(kind, {"to": "X"}))))
    assert f"a Frame of the type {kind}, which is the server's own" in record["reason"]


@pytest.mark.parametrize("step", [at_once, waiting])
@pytest.mark.parametrize(
    "make",
    [
        lambda: chat("x" * 10_000_000),
        lambda: Remember({"much": "x" * 10_000_000}),
        lambda: Frame("note", {"deep": bomb(300)}),
    ],
)
async def test_what_is_too_large_or_too_deep_ends_its_turn(step: Any, make: Yields) -> None:
    await fails(tea(step(make)), "answer_too_large")


@pytest.mark.parametrize("step", [at_once, waiting])
async def test_a_bomb_of_nesting_ends_its_turn(step: Any) -> None:
    await fails(tea(step(lambda: Frame("note", {"deep": bomb(10_000)}))))


@pytest.mark.parametrize("step", [at_once, waiting])
async def test_brackets_in_words_are_no_nesting(step: Any) -> None:
    async with room(tea(step(lambda: chat('["{' * 300)))) as here:
        user = await here.enter("tea")
        assert (await user.turn("a cup"))["intent"] == "Say"


def endless(turn: Turn) -> Iterator[Output]:
    while True:
        yield Delta("")


async def test_a_step_that_never_ends_its_talk_is_ended() -> None:
    assert "more than 100000 outputs" in (await fails(tea(endless), "answer_too_large"))["reason"]


@pytest.mark.parametrize("step", [at_once, waiting])
async def test_what_json_writes_in_another_way_is_sent_as_it_is_stored(step: Any) -> None:
    at = datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC)
    odd = {"nan": math.nan, "pair": (1, 2), "set": {1}, "bytes": b"tea", "at": at}
    async with room(tea(step(lambda: Frame("note", odd)))) as here:
        user = await here.enter("tea")
        await user.turn("a cup")
        again = await here.enter("tea", user.key)
        kept = {"nan": None, "pair": [1, 2], "set": [1], "bytes": "dGVh", "at": "2025-01-02T00:00:00Z"}
        assert user.of("note") == again.of("note") == [kept]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def recurse() -> None:
    recurse()


def raising(error: BaseException) -> Yields:
    def make() -> None:
        raise error

    return make


@pytest.mark.parametrize("step", [at_once, waiting])
@pytest.mark.parametrize(
    "make",
    [
        raising(SystemExit(1)),
        raising(KeyboardInterrupt()),
        raising(GeneratorExit()),
        raising(MemoryError()),
        raising(asyncio.CancelledError()),
        raising(BaseException("the secret")),
        raising(RuntimeError("x" * 10_000_000)),
        raising(Unspeakable()),
        raising(StopIteration()),
        raising(ExceptionGroup("many", [ValueError("one")])),
        recurse,
        lambda: asyncio.get_running_loop().stop(),
        lambda: asyncio.get_running_loop().close(),
    ],
)
async def test_whatever_a_step_raises_ends_its_turn(step: Any, make: Yields) -> None:
    record = await fails(tea(step(make)))
    assert len(str(record["exc_info"])) < 5_000 if not isinstance(record["exc_info"], Unspeakable) else True


async def cancels_itself(turn: Turn) -> AsyncIterator[Output]:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    yield chat("never")


async def leaves_a_task_that_stops_the_loop(turn: Turn) -> AsyncIterator[Output]:
    async def stop() -> None:
        asyncio.get_running_loop().stop()

    await asyncio.create_task(stop())
    yield chat("never")


def says_nothing(turn: Turn) -> Iterator[Output]:
    yield from ()


async def is_no_generator(turn: Turn) -> None:
    return None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (cancels_itself, "CancelledError"),
        (leaves_a_task_that_stops_the_loop, "RuntimeError"),
        (says_nothing, "said nothing"),
        (lambda turn: is_no_generator(turn), "the step gave a value of type coroutine, expected a generator"),  # noqa: PLW0108  # the table refuses the function itself
        (lambda _: None, "the step gave None, expected a generator"),
        (lambda _: [chat("a list")], "the step gave a value of type list, expected a generator"),
    ],
)
async def test_a_step_that_is_none_or_ends_itself(answer: Any, reason: str) -> None:
    assert reason in (await fails(tea(answer)))["reason"]


async def clings(turn: Turn) -> AsyncIterator[Output]:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            continue
    yield chat("late")


async def test_a_step_that_swallows_its_cancellation_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engine.engine.OVERDUE_MS", 100)
    async with room(tea(clings), step_timeout_ms=100) as here:
        user, began = await here.enter("tea"), time.monotonic()
        ended = await user.turn("a cup")
        assert (ended["intent"], user.of("turn_failed")[-1]["code"]) == ("Failed", "step_timeout")
        assert time.monotonic() - began < 2


async def ignores_its_closing(turn: Turn) -> AsyncIterator[Output]:
    try:
        yield Frame("note", {"deep": object()})
        yield "wrong"  # type: ignore[misc]
    except GeneratorExit:
        yield chat("I will not go")


async def test_a_step_that_goes_on_when_it_is_closed() -> None:
    await fails(tea(ignores_its_closing))


def odd_awaitable(value: Any) -> Any:
    async def classify(turn: Turn, intents: Any) -> Any:
        return value

    return classify


@pytest.mark.parametrize("value", [None, 5, ["Say"], {"Say": 1}, b"Say"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_classifier_that_names_no_intent(value: Any, waits: bool) -> None:
    classify = odd_awaitable(value) if waits else lambda _turn, _intents: value
    record = await fails(tea(at_once(lambda: chat("never")), classify=classify))
    assert record["reason"].startswith("workflow tea, state BREWING: classify gave ")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError()])
async def test_a_classifier_that_raises(error: BaseException) -> None:
    def classify(turn: Turn, intents: Any) -> str:
        raise error

    await fails(tea(at_once(lambda: chat("never")), classify=classify))


async def test_an_intent_that_is_not_in_the_table_is_the_fallback() -> None:
    async with room(tea(at_once(lambda: chat("one")), classify=lambda _turn, _intents: "Fly")) as here:
        assert (await (await here.enter("tea")).turn("a cup"))["intent"] == "Say"


@pytest.mark.parametrize("step", [at_once, waiting])
async def test_a_step_that_blocks_the_loop_is_named(step: Any) -> None:
    with structlog.testing.capture_logs() as records:
        async with room(tea(step(lambda: time.sleep(0.6) or chat("slow")))) as here:  # type: ignore[func-returns-value]
            user, neighbour = await here.enter("tea"), await here.enter()
            await asyncio.gather(user.turn("a cup"), neighbour.turn("are you there?"))
            assert user.words[-2:] == ["slow", "fine"]
    [record] = [one for one in records if one["event"] == "loop_blocked"]
    assert (record["session_id"], record["workflow"]) == (user.key.session_id, "tea")
    assert 600 <= record["held_ms"] < 10_000


def refuses(memory: Any) -> dict[str, Any]:
    raise SystemExit(1)


@pytest.mark.parametrize("summary", [refuses, lambda _: 5, lambda _: {1: 2}, lambda _: {"x": object()}])
async def test_a_summary_that_cannot_be_told_is_left_out(summary: Any) -> None:
    with structlog.testing.capture_logs() as records:
        async with room(tea(at_once(lambda: chat("one")), summary=summary)) as here:
            user = await here.enter("tea")
            assert await user.turn("a cup")
            assert (await here.enter("tea", user.key)).of("sync_response")[0]["workflow"] == "tea"
    broken = [one for one in records if one["event"] == "summary_broken"]
    assert broken
    assert all(one["workflow"] == "tea" and one["correlation_id"] for one in broken)


def test_a_legacy_state_that_cannot_be_told_is_the_states_own_name() -> None:
    known = snapshot(workflow="tea", state="BREWING", memory={"@usage": {}, "cups": 3})
    workflow = tea(at_once(lambda: chat("one")))
    wrong: list[Any] = [lambda *_: 5, lambda *_: "\ud800", lambda _state, memory: memory["@usage"]]
    for legacy_state in wrong:
        with structlog.testing.capture_logs() as records:
            assert name_legacy_state(replace(workflow, legacy_state=legacy_state), known) == "BREWING"
        assert [(one["event"], one["what"]) for one in records] == [("summary_broken", "legacy_state")]
    assert name_legacy_state(None, known) == "BREWING"
    assert name_legacy_state(replace(workflow, legacy_state=lambda state, memory: f"{state} {memory}"), known) == (
        "BREWING {'cups': 3}"
    )


async def test_half_a_character_that_is_streamed_is_shown_and_kept_as_a_question_mark() -> None:
    async def answer(turn: Turn) -> AsyncIterator[Output]:
        yield Delta("a\ud800b")
        await asyncio.sleep(60)

    async with room(tea(answer), delta_ms=0) as here:
        user = await here.enter("tea")
        user.say("a cup")
        assert (await user.until("stream_delta"))["text"] == "a?b"
