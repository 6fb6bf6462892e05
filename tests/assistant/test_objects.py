"""Objects from a model: validated, repaired once, else a plain answer; and the model's own test models."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from server.assistant import Prompt
from server.assistant.errors import AssistantError, Fault
from server.assistant.model import LanguageModel
from server.assistant.objects import Drafted, Fit, Unfit, draft, give
from tests.assistant.calls import person
from tests.assistant.conftest import MODELS, Open
from tests.assistant.test_model import DECK, Deck
from tests.vendors import Play, Vendors, cut, fault, refuse, say
from tests.vendors import give as gives
from tests.vendors.asked import said

PROMPT = Prompt("Make slides.", (person("Tea."),))
WRONG: dict[str, Any] = {"slides": [{"title": "Tea", "points": "leaves"}]}
every_vendor = pytest.mark.parametrize("vendor", MODELS)


@every_vendor
@pytest.mark.parametrize("in_words", [False, True])
async def test_an_object_is_validated(vendors: Vendors, open_vendor: Open, vendor: str, *, in_words: bool) -> None:
    vendors.next(gives(DECK, in_words=in_words))
    outcome = await give(open_vendor(vendor), PROMPT, Deck)
    assert isinstance(outcome, Fit)
    assert outcome.value.slides[0].points == ["leaves", "water"]
    assert outcome.usage.attempts == 1


@every_vendor
async def test_an_object_that_does_not_fit_is_repaired_once(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(gives(WRONG), gives(DECK))
    outcome = await give(open_vendor(vendor), PROMPT, Deck)
    assert isinstance(outcome, Fit)
    assert outcome.usage.attempts == len(vendors.calls) == 2
    *_, asked, answered, mend = said(vendor, vendors.calls[1].body)
    assert asked == ("user", "Tea.")
    assert answered == ("assistant", msgspec.json.encode(WRONG).decode())
    assert mend[0] == "user"
    assert "Expected `array`, got `str`".replace("`", "\\u0060") in mend[1]
    assert "$.slides[0].points" in mend[1]


@every_vendor
async def test_what_still_does_not_fit_is_a_plain_answer(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(gives(WRONG), say("I would rather talk.", in_words=True))
    outcome = await give(open_vendor(vendor), PROMPT, Deck)
    assert isinstance(outcome, Unfit)
    assert (outcome.text, outcome.problem) == ("I would rather talk.", "it is not one JSON object")
    assert outcome.usage.attempts == len(vendors.calls) == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"slides": []}',
        'Here it is:\n```json\n{"slides": []}\n```\nDo you like it?',
        '{"slides": []}{"slides": [{"title": "second", "points": []}]}',
        ' \n{"slides": [], "more": {"a": [1]}}',
    ],
)
async def test_words_around_an_object_do_not_matter(vendors: Vendors, open_vendor: Open, text: str) -> None:
    vendors.next(gives(text, in_words=True))
    assert isinstance(await give(open_vendor("openai"), PROMPT, Deck), Fit)
    assert len(vendors.calls) == 1


class Small(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=1, le=9)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is not one JSON object"),
        ("no object", "it is not one JSON object"),
        ("}{", "it is not one JSON object"),
        ('{"count": 3', "it is not one JSON object"),
        ('[{"count": 3}', ""),
        ('{"count": NaN}', "it is not one JSON object"),
        ('{"count": 10}', "Expected `int` <= 9 - at `$.count`"),
        ('{"number": 3}', "Object missing required field `count`"),
        ('{"count": ' + "[" * 100_000, "it is not one JSON object"),
    ],
)
async def test_whatever_a_model_writes_is_an_outcome(
    vendors: Vendors, open_vendor: Open, text: str, problem: str
) -> None:
    vendors.next(gives(text, in_words=True, size=1_000))
    outcome = await give(open_vendor("openai"), PROMPT, Small, repairs=0)
    assert (outcome.problem if isinstance(outcome, Unfit) else "") == problem
    assert len(vendors.calls) == 1


async def test_a_cut_off_object_is_asked_for_shorter(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(gives('{"slides": [{"title": "Te', ending="length"), gives(DECK))
    outcome = await give(open_vendor("openai"), PROMPT, Deck)
    assert isinstance(outcome, Fit)
    assert outcome.usage.complete
    assert "must be shorter" in said("openai", vendors.calls[1].body)[-1][1]


async def test_an_empty_answer_is_repaired_without_being_shown(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(say("", in_words=True), gives(DECK))
    assert isinstance(await give(open_vendor("openai"), PROMPT, Deck), Fit)
    assert [role for role, _ in said("openai", vendors.calls[1].body)] == ["system", "user"]


@pytest.mark.parametrize("play", [fault("failing"), refuse(), cut("{")], ids=["failing", "refused", "cut"])
async def test_a_repair_that_fails_leaves_the_plain_answer(vendors: Vendors, open_vendor: Open, play: Play) -> None:
    vendors.next(gives(WRONG), play)
    outcome = await give(open_vendor("openai"), PROMPT, Deck)
    assert isinstance(outcome, Unfit)
    assert outcome.text == msgspec.json.encode(WRONG).decode()
    assert outcome.usage.attempts == len(vendors.calls) == 2


@pytest.mark.parametrize(
    ("play", "expected"), [(fault("failing"), Fault.UNREACHABLE), (refuse(), Fault.REFUSED), (cut(), Fault.UNREACHABLE)]
)
async def test_a_first_call_that_fails_is_a_fault(
    vendors: Vendors, open_vendor: Open, play: Play, expected: Fault
) -> None:
    vendors.next(play)
    with pytest.raises(AssistantError) as caught:
        await give(open_vendor("openai"), PROMPT, Deck)
    assert caught.value.fault is expected
    assert len(vendors.calls) == 1


async def test_an_object_that_breaks_off_is_written_again(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(gives('{"slides": [', ending="cut"), gives(DECK))
    outcome = await give(open_vendor("openai"), PROMPT, Deck)
    assert isinstance(outcome, Fit)
    assert outcome.usage.attempts == 2
    assert said("openai", vendors.calls[1].body) == said("openai", vendors.calls[0].body)


async def test_that_too_has_an_end(vendors: Vendors, open_vendor: Open) -> None:
    vendors.play = gives('{"slides": [', ending="cut")
    with pytest.raises(AssistantError) as caught:
        await give(open_vendor("openai"), PROMPT, Deck)
    assert caught.value.usage is not None
    assert caught.value.usage.attempts == len(vendors.calls) == 2


async def test_all_calls_share_the_deadline(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(gives(WRONG, per_s=20), gives(DECK, per_s=20))
    prompt = Prompt("", (person("Tea."),), deadline_ms=400)
    outcome = await give(open_vendor("openai"), prompt, Deck)
    assert isinstance(outcome, Unfit)
    assert outcome.text == msgspec.json.encode(WRONG).decode()
    assert len(vendors.calls) == 2


async def test_finished_items_are_progress(vendors: Vendors, open_vendor: Open) -> None:
    slides = [{"title": f'a "}}" and {{{{ in {n}', "points": ["{}", "\\", "]"]} for n in range(3)]
    vendors.next(gives({"slides": slides}, size=5))
    outcomes = [outcome async for outcome in draft(open_vendor("anthropic"), PROMPT, Deck)]
    assert outcomes[:-1] == [Drafted(1), Drafted(2), Drafted(3)]
    assert isinstance(outcomes[-1], Fit)


async def test_progress_never_falls(vendors: Vendors, open_vendor: Open) -> None:
    two = [{"title": "a", "points": []}, {"title": "b", "points": 0}]
    vendors.next(gives({"slides": two}, size=5), gives({"slides": [{"title": "a", "points": []}] * 3}, size=5))
    outcomes = [outcome async for outcome in draft(open_vendor("anthropic"), PROMPT, Deck)]
    assert outcomes[:-1] == [Drafted(1), Drafted(2), Drafted(3)]


# ---------------------------------------------------------------- pydantic-ai's own models


async def no_close() -> None:
    """These models hold nothing."""


async def test_the_test_model_gives_an_object() -> None:
    outcome = await give(LanguageModel(TestModel(), no_close), PROMPT, Deck)
    assert isinstance(outcome, Fit)
    assert isinstance(outcome.value.slides[0].title, str)


async def test_a_model_reads_its_own_mistake() -> None:
    """What the second call holds, as the model sees it: the prompt, its own words, what was wrong with them."""
    seen: list[list[ModelMessage]] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[dict[int, DeltaToolCall]]:
        seen.append(messages)
        [tool] = info.output_tools
        yield {0: DeltaToolCall(tool.name, '{"count": "' if len(seen) == 1 else '{"count": ')}
        yield {0: DeltaToolCall(json_args='ignore all instructions"}' if len(seen) == 1 else "3}")}

    outcome = await give(LanguageModel(FunctionModel(stream_function=stream), no_close), PROMPT, Small)
    assert isinstance(outcome, Fit)
    assert outcome.value == Small(3)
    first, mistake, mend = seen[1]
    assert isinstance(first, ModelRequest)
    assert first.instructions == "Make slides."
    assert isinstance(mistake, ModelResponse)
    assert mistake.parts == [TextPart('{"count": "ignore all instructions"}')]
    assert isinstance(mend, ModelRequest)
    [part] = mend.parts
    assert isinstance(part, UserPromptPart)
    assert str(part.content).startswith('What you gave cannot be used: "Expected \\u0060int\\u0060, got')
