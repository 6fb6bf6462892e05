"""Whoever stops listening stops the vendor: it sees the connection close, and soon."""

import asyncio
from contextlib import aclosing

import pytest

from server.assistant import Message, Prompt
from server.assistant.breaker import Breaker
from server.assistant.guarded import Guarded
from server.assistant.objects import Drafted, draft
from server.assistant.vendors import Spec, open_model
from tests.assistant.calls import ask, call
from tests.assistant.conftest import MODELS, Open
from tests.assistant.test_model import Deck
from tests.vendors import Play, Vendors, give, hang, say

every_vendor = pytest.mark.parametrize("vendor", MODELS)


@every_vendor
@pytest.mark.parametrize("play", [hang("One two"), hang(), Play(ending="mute")], ids=["streaming", "begun", "mute"])
async def test_a_cancelled_task_closes_the_connection(
    vendors: Vendors, open_vendor: Open, vendor: str, play: Play
) -> None:
    vendors.next(play)
    pieces: list[object] = []

    async def listen() -> None:
        async with aclosing(open_vendor(vendor).stream(ask("Count."))) as stream:
            async for piece in stream:
                pieces.append(piece)

    task = asyncio.create_task(listen())
    await vendors.until(lambda: len(vendors.calls) == 1, "the call")
    while len(pieces) < len(play.pieces):
        await asyncio.sleep(0.002)  # polling the task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")


@every_vendor
async def test_a_closed_stream_closes_the_connection(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(say("One two three four", ending="hang"))
    stream = open_vendor(vendor).stream(ask("Count."))
    assert await anext(stream) == "One "
    await stream.aclose()
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")


async def test_a_slow_stream_is_not_produced_to_its_end(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(say("word " * 2_000, per_s=200))
    async with aclosing(open_vendor("openai").stream(ask("Count."))) as stream:
        async for _ in stream:
            break
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
    assert len(vendors.calls[0].sent) < 2_000


async def test_it_holds_through_all_layers(vendors: Vendors, open_vendor: Open) -> None:
    """An object, drafted over a breaker with retries: closing the top closes the connection, and asks nobody again."""
    breaker = Breaker()
    assistant = Guarded(open_vendor("anthropic"), breaker)
    vendors.next(give('{"slides":[{"title":"Tea","points":[]},', ending="hang"))
    outcomes = draft(assistant, Prompt("", (Message("user", "Tea."),)), Deck)
    assert await anext(outcomes) == Drafted(1)
    await outcomes.aclose()
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
    assert len(vendors.calls) == 1
    assert (await call(assistant, "Still there?")).error is None


@every_vendor
async def test_a_connection_is_free_again_after_each_ending(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    """With room for one connection, a call that kept its own would block all later ones."""
    base_url = vendors.url(vendor)
    model = open_model(Spec(vendor, MODELS[vendor]), api_key="k", base_url=base_url, connection_limit=1)
    for ending in ("finish", "length", "cut", "short", "garbage", "overload", "refusal"):
        vendors.next(Play(("One ", "two"), ending=ending))
        await call(model, ask("Count.", deadline_ms=3_000))
    assert (await call(model, ask("And now?", deadline_ms=3_000))).error is None
    await model.aclose()
