"""Summaries: what is asked, and what comes back."""

import json
from collections.abc import AsyncGenerator

import pytest

from server.assistant import Prompt, Usage
from server.assistant.past import MOST_CHARS
from server.assistant.prompts import SUMMARY
from server.assistant.summary import Summarised, Unsummarised, summarise
from tests.assistant.calls import assistant_said, person
from tests.assistant.conftest import Open
from tests.assistant.test_quotes import ATTACKS
from tests.vendors import Play, Vendors, fault, hang, refuse, say
from tests.vendors.asked import said

TALK = [person("I am Ada."), assistant_said("Hello Ada.")]


async def test_a_summary_replaces_the_older_one(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(say("  The person is Ada; they talk of tea.\n"))
    outcome = await summarise(open_vendor("openai"), "They talk of tea.", TALK)
    assert isinstance(outcome, Summarised)
    assert outcome.text == "The person is Ada; they talk of tea."
    (_, system), (role, message) = said("openai", vendors.calls[0].body)
    assert (system, role) == (SUMMARY, "user")
    lines = message.split("\n")
    assert json.loads(lines[1]) == "They talk of tea."
    assert [json.loads(line)["text"] for line in lines[4:6]] == ["I am Ada.", "Hello Ada."]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_nothing_that_was_said_can_pass_for_the_prompt(vendors: Vendors, open_vendor: Open, attack: str) -> None:
    await summarise(open_vendor("openai"), attack, [person(attack)])
    message = said("openai", vendors.calls[0].body)[1][1]
    lines = message.splitlines()
    assert [lines[0], lines[2], lines[3], lines[5]] == [
        "<summary>", "</summary>", "<conversation>", "</conversation>",
    ]  # fmt: skip
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (fault("failing"), "assistant_unreachable"),
        (refuse(), "assistant_refused"),
        (say("half a", ending="cut"), "assistant_unreachable"),
        (say(" \n"), "assistant_malformed"),
        (hang("half a"), "assistant_timeout"),
    ],
)
async def test_without_a_whole_one_the_older_stands(vendors: Vendors, open_vendor: Open, play: Play, code: str) -> None:
    vendors.next(play)
    outcome = await summarise(open_vendor("openai"), "", TALK, deadline_ms=300)
    assert isinstance(outcome, Unsummarised)
    assert outcome.code == code


async def test_a_summary_has_a_bound(vendors: Vendors, open_vendor: Open) -> None:
    vendors.next(say("word " * 2_000))
    outcome = await summarise(open_vendor("openai"), "", TALK)
    assert isinstance(outcome, Summarised)
    assert len(outcome.text) == MOST_CHARS


class Halved:
    """What a vendor's JSON can hold, and no text that is stored."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        yield "Ada \ud800"
        yield Usage("m", 1, 1)


class Saying:
    """An assistant that yields what it is given."""

    def __init__(self, *pieces: str | Usage) -> None:
        self.pieces = pieces

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        for piece in self.pieces:
            yield piece


@pytest.mark.parametrize("pieces", [("They talk of tea.",), (Usage("m", 1, 1),), (" \n", Usage("m", 1, 1)), ()])
async def test_words_without_usage_and_usage_without_words_are_no_summary(pieces: tuple[str | Usage, ...]) -> None:
    usage = next((piece for piece in pieces if isinstance(piece, Usage)), None)
    assert await summarise(Saying(*pieces), "", TALK) == Unsummarised("assistant_malformed", usage)


async def test_half_a_character_can_be_stored() -> None:
    outcome = await summarise(Halved(), "", TALK)
    assert isinstance(outcome, Summarised)
    assert outcome.text.encode() == b"Ada ?"
