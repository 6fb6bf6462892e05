"""Live answers in several processes: one vendor call, one final text, whichever process a tab is on."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest

from server.store.postgres.store import PostgresStore
from tests.e2e.live import assembled, environment, talk
from tests.processes.conftest import Start
from tests.processes.test_takeover import answered, texts
from tests.support.process import ServerProcess
from tests.support.wire import Client, Frame
from tests.vendors import Vendors, say

USER: Final = "anonymous"
ANSWER: Final = " ".join(f"word{number}" for number in range(120))
PER_S: Final = 50
#: As people run it; a step of these tests lasts longer than the others' TAKEOVER_MS.
DEFAULTS: Final = {"TAKEOVER_MS": "", "SWEEP_MS": ""}
#: A line whose process died has its answer by then: the lease's rest, a sweep, and a short answer.
TAKEN_OVER_S: Final = 10.0

with_redis = pytest.mark.parametrize("between", ["redis"], indirect=True)
with_and_without = pytest.mark.parametrize("between", ["redis", "redis-dead"], indirect=True)


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    with Vendors() as vendors:
        yield vendors


@pytest.fixture
def environ(vendors: Vendors, between: dict[str, str]) -> dict[str, str]:
    return {**environment(vendors), **DEFAULTS, **between}


@pytest.fixture
def redis_hears(request: pytest.FixtureRequest) -> bool:
    """Whether news reach the other process at once, and the pieces of an answer at all."""
    return bool(request.node.callspec.params["between"] == "redis")


async def pair(start: Start, environ: dict[str, str]) -> tuple[ServerProcess, ServerProcess]:
    first, second = await asyncio.gather(start(**environ), start(**environ))
    return first, second


async def begin(tab: Client, text: str = "Go on.") -> int:
    """Say a line and see its answer begin; the turn."""
    await tab.until_type("live")
    await tab.say(text)
    turn: int = (await tab.until_type("ack"))["payload"]["seq"]
    await tab.until_type("stream_delta", turn=turn, n=3)
    return turn


def pieces(tab: Client) -> list[dict[str, Any]]:
    return [frame["payload"] for frame in tab.frames if frame.get("type") == "stream_delta"]


def log(tab: Client) -> list[tuple[int, str]]:
    return [(frame["seq"], frame["message_id"]) for frame in tab.durable]


@with_and_without
async def test_five_refreshes_on_two_processes_during_one_answer(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str, store: PostgresStore, *, redis_hears: bool
) -> None:
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER, per_s=PER_S))
    async with talk(first.port, session_id) as one, talk(second.port, session_id) as other:
        await other.until_type("live")
        await begin(one)
        here, there = [one], [other]
        for _ in range(5):
            await one.until_type("stream_delta")
            await asyncio.sleep(0.2)
            here.append(await talk(first.port, session_id).__aenter__())
            there.append(await talk(second.port, session_id).__aenter__())
        tabs = here + there
        finals = await asyncio.gather(*(tab.until_type("chat_message", text=ANSWER) for tab in tabs))
        for tab in here[1:] + there[1:]:
            await tab.close()
    stored = await answered(store, session_id, 1)
    assert texts(stored)[1:] == [ANSWER]
    assert {frame["message_id"] for frame in finals} == {stored[-2].message_id}
    for tab in here + (there if redis_hears else []):
        assert assembled(tab) == ANSWER
    for tab in there:
        assert assembled(tab) in ("", ANSWER)
    assert [call.outcome for call in vendors.calls] == ["answered"]


@with_and_without
async def test_a_killed_process_leaves_its_answer_to_one_that_nobody_is_connected_to(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str, store: PostgresStore
) -> None:
    """Nobody comes back: the other process finds the line by itself."""
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER * 3, per_s=PER_S), say("All of it.", per_s=PER_S))
    async with talk(first.port, session_id) as one, talk(first.port, session_id) as other:
        await other.until_type("live")
        await begin(one)
        await vendors.until(lambda: len(vendors.calls[0].sent) >= 3 * PER_S, "the process has a lease")
        await first.kill()
        died = time.monotonic()
        await asyncio.gather(one.until_closed(), other.until_closed())
    events = await answered(store, session_id, 1)
    took_s = time.monotonic() - died
    print(f"answered {took_s:.1f} s after the death")  # noqa: T201  a figure
    assert texts(events)[1:] == ["All of it."]
    assert [call.outcome for call in vendors.calls] == ["left", "answered"]
    assert took_s < TAKEN_OVER_S
    async with talk(second.port, session_id) as late:
        await late.until_type("live")
        assert late.texts()[1:] == ["All of it."]


@with_and_without
async def test_a_tab_elsewhere_sees_the_killed_answer_begin_anew(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str, store: PostgresStore, *, redis_hears: bool
) -> None:
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER * 3, per_s=PER_S), say(ANSWER, per_s=2 * PER_S))
    async with talk(second.port, session_id) as other:
        await other.until_type("live")
        async with talk(first.port, session_id) as one:
            await begin(one)
            await vendors.until(lambda: len(vendors.calls[0].sent) >= 3 * PER_S, "the process has a lease")
            await first.kill()
            died = time.monotonic()
        await other.until_type("stream_delta", attempt=2)
        print(f"begun anew {time.monotonic() - died:.1f} s after the death")  # noqa: T201  a figure
        await other.until_type("chat_message", text=ANSWER)
        assert assembled(other) == ANSWER
        assert {piece["attempt"] for piece in pieces(other)} == ({1, 2} if redis_hears else {2})
        again = next(piece for piece in pieces(other) if piece["attempt"] == 2)
        assert (again["n"], again["reset"]) == (1, True)
    assert texts(await answered(store, session_id, 1))[1:] == [ANSWER]
    assert len(vendors.calls) == 2


@with_redis
async def test_an_answer_that_breaks_off_is_begun_again_before_tabs_of_both_processes(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str
) -> None:
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER[:100], per_s=PER_S, ending="cut"), say(ANSWER, per_s=PER_S))
    async with talk(first.port, session_id) as one, talk(second.port, session_id) as other:
        await other.until_type("live")
        await begin(one)
        await other.until_type("stream_delta", attempt=2, n=3)
        async with talk(second.port, session_id) as late:
            for tab in (one, other, late):
                await tab.until_type("chat_message", text=ANSWER)
                assert assembled(tab) == ANSWER
            assert {piece["attempt"] for piece in pieces(late)} == {2}
        for tab in (one, other):
            assert {piece["attempt"] for piece in pieces(tab)} == {1, 2}
    assert [call.outcome for call in vendors.calls] == ["cut", "answered"]


@with_and_without
async def test_a_line_sent_to_both_processes_is_one_call(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str
) -> None:
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER, per_s=PER_S))
    async with talk(first.port, session_id) as one, talk(second.port, session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await one.say("Go on.", "same")
        turn = (await one.until_type("ack"))["payload"]["seq"]
        await one.until_type("stream_delta", n=3)
        await other.say("Go on.", "same")
        acked = await other.until_type("ack", id="same")
        assert (acked["payload"]["duplicate"], acked["payload"]["seq"]) == (True, turn)
        for tab in (one, other):
            await tab.until_type("state_update", turn=turn)
        await other.turn("Next.")
        assert one.texts("user")[0] == "Go on."
    assert [call.said[-1][1] for call in vendors.calls] == ["Go on.", "Next."]


@with_and_without
async def test_a_cancel_from_another_process_stops_the_vendor(
    start: Start, environ: dict[str, str], vendors: Vendors, session_id: str, store: PostgresStore, *, redis_hears: bool
) -> None:
    first, second = await pair(start, environ)
    vendors.next(say(ANSWER * 10, per_s=PER_S))
    async with talk(first.port, session_id) as one, talk(second.port, session_id) as other:
        await other.until_type("live")
        turn = await begin(one)
        await other.until_type("chat_message", text="Go on.")
        if redis_hears:
            await other.until_type("stream_delta", n=5)
        while not await cancel(other, turn):
            pass  # this process has not heard yet that the turn runs
        await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
        tabs = [one, other]
        for process in (first, second):  # a refresh on either process
            tabs.append(await talk(process.port, session_id).__aenter__())
        for tab in (one, *tabs[2:]):  # the one that cancelled has seen it before the ack
            await tab.until_type("state_update", turn=turn)
        kept = texts(await answered(store, session_id, 1))[1:]
        assert len(kept) == redis_hears  # without news, the other process has nothing that was said
        for tab in tabs:
            assert list(tab.texts()[1:]) == kept
            assert log(tab) == log(one)
            assert [frame["payload"]["text"] for frame in tab.durable if is_cancelled(frame)] == kept
        for text in kept:
            assert ANSWER.startswith(text)
        for tab in tabs[2:]:
            await tab.close()
        await other.turn("Next.")
    assert len(vendors.calls) == 2


async def cancel(tab: Client, turn: int) -> bool:
    await tab.send({"type": "cancel", "id": str(uuid.uuid4()), "turn": turn})
    answer = await tab.until(lambda frame: frame.get("type") in ("ack", "error"), "an answer to the cancel")
    return bool(answer["type"] == "ack")


def is_cancelled(frame: Frame) -> bool:
    return frame["payload"].get("cancelled") is True
