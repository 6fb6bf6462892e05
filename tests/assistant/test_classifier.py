"""The classifier: a checked answer, or a value that says why there is none."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from server.assistant.classifier import UNKNOWN, Classified, Unclassified, classify
from server.assistant.model import LanguageModel
from server.assistant.prompts import CLASSIFIER
from tests.assistant.calls import assistant_said, person
from tests.assistant.conftest import MODELS, Open
from tests.assistant.test_quotes import ATTACKS
from tests.vendors import Play, Vendors, cut, fault, give, hang, refuse, say

ALLOWED = ("Accept_Plan", "Reject_Plan", "Ask_Help_Or_Question")
every_vendor = pytest.mark.parametrize("vendor", MODELS)


@every_vendor
async def test_it_names_one_of_the_allowed_intents(vendors: Vendors, open_vendor: Open, vendor: str) -> None:
    vendors.next(give({"intent": "Reject_Plan"}))
    outcome = await classify(open_vendor(vendor), "hm, no", [assistant_said("Shall I?")], ALLOWED)
    assert isinstance(outcome, Classified)
    assert outcome.intent == "Reject_Plan"
    assert outcome.usage.attempts == 1
    assert all(intent in json.dumps(vendors.calls[0].body) for intent in (*ALLOWED, UNKNOWN))


@pytest.mark.parametrize(
    "answer",
    [
        give({"intent": "unknown"}),
        give({"intent": "Change_Topic"}),  # an intent, but not of this state
        give({"intent": "accept_plan"}),
        give({"intent": ["Accept_Plan"]}),
        give({"intent": "Accept_Plan", "and": "more"}),
        give({}),
        give('{"intent": "Accept_'),
        say("Accept_Plan, I would say.", in_words=True),
        say("", in_words=True),
    ],
)
async def test_what_is_not_allowed_is_unknown(vendors: Vendors, open_vendor: Open, answer: Play) -> None:
    vendors.next(answer)
    outcome = await classify(open_vendor("openai"), "yes", [], ALLOWED)
    assert isinstance(outcome, Classified)
    assert outcome.intent == UNKNOWN
    assert len(vendors.calls) == 1, "it is asked once"


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (fault("failing"), "assistant_unreachable"),
        (fault("rate_limited", "5"), "assistant_rate_limited"),
        (fault("unauthorised"), "assistant_unauthorised"),
        (fault("too_long"), "assistant_too_long"),
        (refuse(), "assistant_refused"),
        (cut("{"), "assistant_unreachable"),
        (say("", ending="garbage"), "assistant_malformed"),
        (hang(), "assistant_timeout"),
    ],
)
async def test_a_failure_is_a_value_and_asks_nobody_again(
    vendors: Vendors, open_vendor: Open, play: Play, code: str
) -> None:
    vendors.next(play)
    outcome = await classify(open_vendor("openai"), "yes", [], ALLOWED, deadline_ms=200)
    assert isinstance(outcome, Unclassified)
    assert outcome.code == code
    assert len(vendors.calls) == 1


async def test_a_state_without_intents_is_unknown(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(give({"intent": "unknown"}))
    outcome = await classify(open_vendor("openai"), "yes", [], ())
    assert isinstance(outcome, Classified)
    assert outcome.intent == UNKNOWN


# ---------------------------------------------------------------- what the model reads


class Reader:
    """A model that notes what it reads, and finds the line an agreement."""

    def __init__(self) -> None:
        self.system = ""
        self.user: list[str] = []
        self.choices: list[str] = []

    async def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[dict[int, Any]]:
        [tool] = info.output_tools
        self.choices = tool.parameters_json_schema["properties"]["intent"]["enum"]
        for message in messages:
            assert isinstance(message, ModelRequest)
            self.system = message.instructions or ""
            self.user += [str(part.content) for part in message.parts if isinstance(part, UserPromptPart)]
        yield {0: DeltaToolCall(tool.name, '{"intent": "Accept_Plan"}')}


async def read(line: str, *window: str, **more: Any) -> Reader:
    async def no_close() -> None: ...

    reader = Reader()
    model = LanguageModel(FunctionModel(stream_function=reader), no_close)
    outcome = await classify(model, line, [person(text) for text in window], ALLOWED, **more)
    assert isinstance(outcome, Classified)
    assert outcome.intent == "Accept_Plan"
    return reader


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_line_cannot_pass_for_the_prompt(attack: str) -> None:
    """The one message has six lines whatever was written: two tags, and one line for each thing that is quoted."""
    reader = await read(attack, attack)
    [message] = reader.user
    opening, said, closing, line_opening, line, line_closing = message.split("\n")
    assert (opening, closing) == ("<conversation>", "</conversation>")
    assert (line_opening, line_closing) == ("<line>", "</line>")
    assert len(message.splitlines()) == 6
    expected = json.loads(json.dumps(attack))
    assert json.loads(said) == {"role": "user", "text": expected}
    assert json.loads(line) == expected
    assert attack not in reader.system


async def test_the_intents_stand_in_the_system_prompt_and_in_the_form() -> None:
    reader = await read("yes", meanings={"Accept_Plan": "the person agrees"})
    assert reader.system.startswith(CLASSIFIER)
    assert reader.system.endswith(
        "The intents:\n- Accept_Plan: the person agrees\n- Reject_Plan\n- Ask_Help_Or_Question\n"
        "- unknown: none of these"
    )
    assert sorted(reader.choices) == sorted([*ALLOWED, UNKNOWN])


async def test_its_prompt_can_be_replaced() -> None:
    reader = await read("yes", system="Sort the line.")
    assert reader.system.startswith("Sort the line.\n\nThe intents:\n- Accept_Plan\n")
