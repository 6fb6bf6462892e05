"""The builder on a model: from a topic to a deck, what is seen on the way, and what holds when the model is bad."""

import uuid
from typing import Any

import pytest

from tests.e2e.live import assembled, ended
from tests.support.process import ServerProcess
from tests.support.wire import Client, Frame
from tests.vendors import Play, Vendors, fault, give, say
from tests.workflows.builder.test_writer import PLAN, SLIDES

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTIONS = {"topic": "green tea", "introduction": "Lovely.", "questions": ["For whom?", "How long?"]}
DRAFTS: Any = SLIDES["slides"]
CHANGED = [
    {**draft, "slide_id": f"slide_{n:03}", "title": "Leaves" if n == 2 else draft["title"]}
    for n, draft in enumerate(DRAFTS, 1)
]


def intent(name: str) -> Play:
    return give({"intent": name})


def builder(live: ServerProcess) -> Client:
    return Client(live.port, session_id=str(uuid.uuid4()), workflow="builder")


async def talk(client: Client, text: str, **line: Any) -> list[Frame]:
    """What a turn put into the log behind its line."""
    end = await client.turn(text, **line)
    return [frame for frame in client.durable if end["payload"]["turn"] < frame["seq"] <= end["seq"]]


def calls(client: Client) -> list[str]:
    return [entry["name"] for entry in ended(client)["payload"].get("trace", [])]


async def to_plan(vendors: Vendors, client: Client) -> None:
    vendors.next(intent("Submit_Initial_Topic"), give(QUESTIONS))
    vendors.next(intent("Submit_Clarification_Answers"), give(PLAN))
    await client.until_type("live")
    await talk(client, "green tea")
    await talk(client, "children, 10 minutes")


async def to_slides(vendors: Vendors, client: Client) -> None:
    await to_plan(vendors, client)
    vendors.next(give(SLIDES))
    await talk(client, "Yes, let's build it!", action_value="accept_plan")


async def test_from_a_topic_to_a_deck(vendors: Vendors, live: ServerProcess) -> None:
    async with builder(live) as client:
        await client.until_type("live")
        vendors.next(intent("Submit_Initial_Topic"), give(QUESTIONS))
        said = await talk(client, "green tea")
        assert said[0]["payload"]["list_items"] == QUESTIONS["questions"]
        assert calls(client) == ["classify", "questions"]

        vendors.next(intent("Submit_Clarification_Answers"), give(PLAN))
        plan = await talk(client, "children, 10 minutes")
        assert [frame["type"] for frame in plan] == ["chat_message", "action_request", "state_update"]
        assert plan[0]["payload"]["list_items"] == PLAN["assumptions"]

        vendors.next(give(SLIDES, per_s=100))
        built = await talk(client, "Yes, let's build it!", action_value="accept_plan")
        assert calls(client) == ["slides"], "a button is nobody's guess"
        update = next(frame for frame in built if frame["type"] == "slide_update")
        assert [slide["title"] for slide in update["payload"]["slides"]] == ["Slide 1", "Slide 2", "Slide 3"]
        shown = [f["payload"]["text"] for f in client.frames if f.get("type") == "status_update"]
        assert [text for text in shown if text.startswith("Slide ")] == [f"Slide {n} of 6" for n in (1, 2, 3)]

        vendors.next(
            intent("Submit_Refinement_Request"), give({"done": ["Renamed slide 2."], "not_done": [], "slides": CHANGED})
        )
        refined = await talk(client, "call slide 2 Leaves")
        update = next(frame for frame in refined if frame["type"] == "slide_update")
        assert update["payload"]["affected_slides"] == ["slide_002"]

        vendors.next(intent("Ask_Help_Or_Question"), say("It is a leaf. Shall we go on?"))
        answered = await talk(client, "what is tea, by the way, in a word or two")
        assert [frame["type"] for frame in answered] == ["chat_message", "action_request", "state_update"]
        assert answered[0]["payload"]["text"] == assembled(client) == "It is a leaf. Shall we go on?"

        asked = len(vendors.calls)
        final = await talk(client, "yes")
        assert any(frame["type"] == "presentation_url" for frame in final)
        assert len(vendors.calls) == asked, "yes can mean only one thing"


async def test_an_intent_that_the_state_does_not_allow_moves_nothing(vendors: Vendors, live: ServerProcess) -> None:
    async with builder(live) as client:
        await client.until_type("live")
        vendors.next(intent("Accept_Strawman"), say("Tell me a topic."))
        said = await talk(client, "green tea")
        assert (said[-1]["payload"]["from"], said[-1]["payload"]["to"]) == ("PROVIDE_GREETING", "PROVIDE_GREETING")
        assert said[0]["payload"]["text"] == "Tell me a topic."


async def test_a_classifier_that_fails_begins_nothing_again(vendors: Vendors, live: ServerProcess) -> None:
    async with builder(live) as client:
        await to_slides(vendors, client)
        before = ended(client)["payload"]["to"]
        vendors.next(fault("no_model"), say("What should I change?"))
        said = await talk(client, "now a presentation about coffee and its history")
        assert said[-1]["payload"]["to"] == before
        assert said[-1]["payload"]["intent"] == "Ask_Help_Or_Question"
        assert said[-1]["payload"]["memory"].keys() == {"@usage"}


@pytest.mark.parametrize("bad", ["no object at all", {"slides": []}])
async def test_slides_that_do_not_fit_are_the_rules(vendors: Vendors, live: ServerProcess, bad: Any) -> None:
    async with builder(live) as client:
        await to_plan(vendors, client)
        vendors.next(give(bad), give(bad))
        built = await talk(client, "Yes, let's build it!", action_value="accept_plan")
        assert "by my own rules" in built[0]["payload"]["text"]
        assert any(frame["type"] == "slide_update" for frame in built)
        assert calls(client) == ["slides", "slides"]


async def test_a_change_that_does_not_fit_leaves_the_slides(vendors: Vendors, live: ServerProcess) -> None:
    async with builder(live) as client:
        await to_slides(vendors, client)
        vendors.next(intent("Submit_Refinement_Request"), give("{"), give("{"))
        said = await talk(client, "make slide 2 about leaves")
        assert [frame["type"] for frame in said] == ["chat_message", "action_request", "state_update"]
        assert "left the slides" in said[0]["payload"]["text"]


async def test_a_fault_in_mid_work_leaves_the_state_and_the_buttons_work(vendors: Vendors, live: ServerProcess) -> None:
    async with builder(live) as client:
        await to_plan(vendors, client)
        vendors.next(fault("too_long"))
        failed = await talk(client, "Yes, let's build it!", action_value="accept_plan")
        assert failed[0]["payload"]["code"] == "assistant_too_long"
        assert failed[-1]["payload"]["to"] == "CREATE_CONFIRMATION_PLAN"
        vendors.next(give(SLIDES))
        built = await talk(client, "Yes, let's build it!", action_value="accept_plan")
        assert any(frame["type"] == "slide_update" for frame in built)
