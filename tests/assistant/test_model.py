"""A language model over real HTTP, at every vendor: streaming, usage, faults, limits, and what was sent."""

import asyncio
import json
import traceback
from typing import Any

import msgspec
import pytest

from server.assistant import Prompt
from server.assistant.errors import Fault
from server.assistant.model import describe_schema
from server.assistant.vendors import Spec, open_model
from tests.assistant.calls import ask, assistant_said, call, person
from tests.assistant.conftest import MODELS, Open
from tests.vendors import Play, Vendors, cut, fault, give, hang, refuse, say
from tests.vendors.asked import said

every_vendor = pytest.mark.parametrize("vendor", MODELS)


class Slide(msgspec.Struct):
    title: str
    points: list[str]


class Deck(msgspec.Struct):
    """A presentation."""

    slides: list[Slide]


DECK: dict[str, Any] = {"slides": [{"title": "Tea", "points": ["leaves", "water"]}]}


@every_vendor
async def test_text_comes_in_pieces_and_the_usage_last(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(say("One two three"))
    answer = await call(open_vendor(vendor), "Count.")
    assert answer.pieces == ["One ", "two ", "three"]
    assert answer.usage is not None
    assert answer.usage.model == MODELS[vendor]
    assert answer.usage.output_tokens == 3
    assert answer.usage.input_tokens > 0
    assert answer.usage.measured
    assert answer.usage.complete
    assert answer.usage.attempts == 1
    assert answer.usage.first_token_ms is not None
    assert answer.usage.first_token_ms <= answer.usage.took_ms
    assert len(vendors.calls) == 1


@every_vendor
async def test_the_prompt_is_sent_as_it_is(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    window = (person("My name is Ada."), assistant_said("Hello Ada."), person("Who am I?"))
    await call(open_vendor(vendor), Prompt("Be brief.", window, max_tokens=77))
    body = vendors.calls[0].body
    assert said(vendor, body) == [
        ("system", "Be brief."), ("user", "My name is Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?"),
    ]  # fmt: skip
    assert 77 in (*body.values(), *body.get("generationConfig", {}).values())
    assert "secret" not in json.dumps(body)


@every_vendor
async def test_sides_are_sent_in_turn_a_persons_first(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    window = (assistant_said("Welcome."), person("Hi."), person("Are you there?"), assistant_said(""), person("Well?"))
    await call(open_vendor(vendor), Prompt("", window))
    assert said(vendor, vendors.calls[0].body) == [
        ("user", "(The conversation begins.)"), ("assistant", "Welcome."),
        ("user", "Hi.\n\nAre you there?\n\nWell?"),
    ]  # fmt: skip


async def test_a_prompt_ends_with_a_persons_message(vendors: Vendors, open_vendor: Open) -> None:
    for window in ((), (assistant_said("Welcome."),)):
        with pytest.raises(ValueError, match="ends with a user's message"):
            await call(open_vendor("openai"), Prompt("", window))
    assert vendors.calls == []


@every_vendor
@pytest.mark.parametrize("in_words", [False, True])
async def test_an_object_comes_as_its_json(vendors: Vendors, open_vendor: Open, vendor: str, *, in_words: bool) -> None:
    vendors.next(give(DECK, in_words=in_words))
    answer = await call(open_vendor(vendor), Prompt("", (person("Tea."),), schema=Deck))
    assert msgspec.json.decode(answer.text, type=Deck) == msgspec.convert(DECK, Deck)
    sent = json.dumps(vendors.calls[0].body)
    assert "A presentation." in sent
    assert "points" in sent


@every_vendor
async def test_the_limit_of_tokens_is_told(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(say("One two", ending="length"))
    answer = await call(open_vendor(vendor), "Count.")
    assert answer.text == "One two"
    assert answer.usage is not None
    assert not answer.usage.complete


@pytest.mark.parametrize("vendor", ["openai", "openai-responses", "google"])
async def test_without_the_vendors_count_tokens_are_estimated(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(say("Twelve chars", uncounted=True))
    answer = await call(open_vendor(vendor), "Eight ch")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3 + 2, 3)  # "Be brief." and the line
    assert not answer.usage.measured


@every_vendor
async def test_nothing_at_all_is_an_answer(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(say(""))
    answer = await call(open_vendor(vendor), "Say nothing.")
    assert answer.text == ""
    assert answer.usage is not None
    assert answer.usage.first_token_ms is None


FAULTS: list[tuple[Play, Fault, int | None]] = [
    (fault("rate_limited", "7"), Fault.RATE_LIMITED, 7_000),
    (fault("rate_limited"), Fault.RATE_LIMITED, None),
    (fault("failing"), Fault.UNREACHABLE, None),
    (fault("overloaded"), Fault.UNREACHABLE, None),
    (fault("html"), Fault.UNREACHABLE, None),
    (fault("unauthorised"), Fault.UNAUTHORISED, None),
    (fault("no_credit"), Fault.UNAUTHORISED, None),
    (fault("too_long"), Fault.TOO_LONG, None),
    (fault("no_model"), Fault.REJECTED, None),
    (fault("blocked"), Fault.REFUSED, None),
    (refuse(), Fault.REFUSED, None),
    (cut(), Fault.UNREACHABLE, None),
    (say("", ending="garbage"), Fault.MALFORMED, None),
    (say("", ending="overload"), Fault.UNREACHABLE, None),
]


def name_of(value: object) -> str | None:
    return (value.fault or value.ending) if isinstance(value, Play) else None


@every_vendor
@pytest.mark.parametrize("row", FAULTS, ids=lambda row: name_of(row[0]))
async def test_each_fault_has_its_code_and_is_not_tried_again(
    vendors: Vendors, open_vendor: Open, vendor: str, row: tuple[Play, Fault, int | None]
) -> None:
    play, *expected = row
    vendors.next(play)
    model = open_vendor(vendor)
    answer = await call(model, "Hello?")
    assert answer.error is not None
    assert [answer.error.fault, answer.error.retry_after_ms] == expected
    assert not answer.error.streamed
    assert len(vendors.calls) == 1, "somebody below the turn retries"
    assert (await call(model, "And now?")).text == "Hello there, this is an answer.", "the next line works"


BROKEN = [
    (cut("One two"), Fault.UNREACHABLE),
    (say("One two", ending="short"), Fault.UNREACHABLE),
    (say("One two", ending="overload"), Fault.UNREACHABLE),
    (say("One two", ending="garbage"), Fault.MALFORMED),
]


@every_vendor
@pytest.mark.parametrize(("play", "expected"), BROKEN, ids=name_of)
async def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(
    vendors: Vendors, open_vendor: Open, vendor: str, play: Play, expected: Fault
) -> None:
    vendors.next(play)
    answer = await call(open_vendor(vendor), "Count.")
    assert answer.text == "One two"
    assert answer.error is not None
    assert answer.error.fault is expected
    assert answer.error.streamed
    assert answer.error.usage is not None
    assert answer.error.usage.output_tokens == 2, "7 characters"
    assert not answer.error.usage.measured
    assert len(vendors.calls) == 1


@every_vendor
@pytest.mark.parametrize("play", [hang("One "), hang(), Play(ending="mute")], ids=["streamed", "begun", "mute"])
async def test_the_deadline_ends_a_call_and_its_connection(
    vendors: Vendors, open_vendor: Open, vendor: str, play: Play
) -> None:
    vendors.next(play)
    answer = await call(open_vendor(vendor), ask("Hello?", deadline_ms=1_500))
    assert answer.error is not None
    assert answer.error.fault is Fault.TIMEOUT
    assert answer.error.streamed == bool(play.pieces)
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")


async def test_a_deadline_that_is_over_begins_no_answer(vendors: Vendors, open_vendor: Open) -> None:
    answer = await call(open_vendor("openai"), ask("Hello?", deadline_ms=-5))
    assert answer.error is not None
    assert answer.error.fault is Fault.TIMEOUT


@every_vendor
async def test_nobody_there_is_unreachable(vendors: Vendors, vendor: str) -> None:
    model = open_model(Spec(vendor, MODELS[vendor]), api_key="secret", base_url="http://127.0.0.1:9")
    answer = await call(model, "Hello?")
    await model.aclose()
    assert answer.error is not None
    assert answer.error.fault is Fault.UNREACHABLE
    assert "at connect" in str(answer.error)


@every_vendor
@pytest.mark.parametrize("play", [fault("too_long"), fault("blocked"), cut("One"), say("One", ending="garbage")])
async def test_an_error_holds_nothing_that_anybody_wrote(
    vendors: Vendors, open_vendor: Open, vendor: str, play: Play
) -> None:
    """The log has the exception with its causes: none of them may bring a vendor's sentences, or the prompt, along."""
    vendors.next(play)
    answer = await call(open_vendor(vendor), "my very private line")
    assert answer.error is not None
    printed = "".join(traceback.format_exception(answer.error))
    for word in ("private", "tokens", "flagged", "filtering", "Be brief", "secret", "chatcmpl"):
        assert word not in printed


@every_vendor
async def test_many_at_once_get_their_own_answers(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.play = lambda call: say(f"You said: {said(vendor, call.body)[-1][1]} and nothing else.", per_s=100)
    model = open_vendor(vendor)
    answers = await asyncio.gather(*(call(model, f"line {number}") for number in range(30)))
    assert [answer.text for answer in answers] == [f"You said: line {n} and nothing else." for n in range(30)]
    assert all(answer.usage is not None and answer.usage.output_tokens == 7 for answer in answers)


async def test_the_bound_on_connections_makes_calls_wait_in_their_deadlines(vendors: Vendors) -> None:
    model = open_model(Spec("openai", "m"), api_key="k", base_url=vendors.url("openai"), connection_limit=1)
    vendors.next(hang("One "))
    first = model.stream(ask("Count."))
    assert await anext(first) == "One "
    answer = await call(model, ask("Me too.", deadline_ms=100))
    assert answer.error is not None
    assert answer.error.fault is Fault.TIMEOUT
    assert len(vendors.calls) == 1
    await first.aclose()
    assert (await call(model, "Now?")).error is None
    await model.aclose()


class Tree(msgspec.Struct):
    name: str
    children: list["Tree"]


class Twig(msgspec.Struct):
    name: str


def test_a_schema_has_the_object_at_its_root() -> None:
    assert describe_schema(Twig) == {
        "title": "Twig", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"],
    }  # fmt: skip
    deck = describe_schema(Deck)
    assert (deck["type"], deck["description"], list(deck["$defs"])) == ("object", "A presentation.", ["Slide"])
    tree = describe_schema(Tree)
    assert (tree["type"], list(tree["$defs"])) == ("object", ["Tree"])
