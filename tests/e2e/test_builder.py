"""The reference scenario of the builder, over the wire and in both dialects."""

import re
import time
import uuid
from typing import Any

import httpx
import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Client, Frame


def open_builder(server: ServerProcess, session_id: str, *, native: bool) -> Client:
    return Client(server.port, native=native, session_id=session_id, user_id="krishna", workflow="builder")


async def say(client: Client, text: str, **data: Any) -> list[Frame]:
    """Say a line; the answer is what the turn put into the log behind it."""
    ended = await client.turn(text, **data)
    return [frame for frame in client.durable if ended["payload"]["turn"] < frame["seq"] <= ended["seq"]]


@pytest.mark.parametrize("native", [True, False], ids=["native", "builder"])
async def test_the_reference_scenario(server: ServerProcess, *, native: bool) -> None:
    session_id = str(uuid.uuid4())
    async with open_builder(server, session_id, native=native) as client:
        await client.until_type("state_update")
        assert [frame["type"] for frame in client.frames[:3]] == ["sync_response", "chat_message", "state_update"]

        questions = await say(client, "Krishna")
        assert 3 <= len(questions[0]["payload"]["list_items"]) <= 5
        assert "Krishna" in str(questions[0]["payload"])

        plan = await say(client, "Children, 10 min")
        assert [frame["type"] for frame in plan] == ["chat_message", "action_request", "state_update"]
        assumptions = " ".join(plan[0]["payload"]["list_items"]).lower()
        assert "children" in assumptions
        assert "10 min" in assumptions
        assert [action["value"] for action in plan[1]["payload"]["actions"]] == ["accept_plan", "reject_plan"]
        before = client.durable
    await server.kill()
    await server.start()

    async with open_builder(server, session_id, native=native) as client:
        sync = await client.until_type("sync_response")
        assert sync["payload"]["current_state"] == "CREATE_CONFIRMATION_PLAN"
        assert sync["payload"]["has_strawman"] is False
        await client.until(lambda frame: frame.get("seq") == before[-1]["seq"], "the whole history")
        assert client.durable == before
        assert {frame["role"] for frame in client.durable} == {"user", "assistant", "system"}

        strawman = await say(client, "Yes, let's build it!", action_value="accept_plan")
        assert strawman[-1]["payload"]["to"] == "GENERATE_STRAWMAN"
        update = next(frame for frame in strawman if frame["type"] == "slide_update")
        slides = update["payload"]["slides"]
        assert len(slides) >= 3
        assert len({slide["title"] for slide in slides}) == len(slides)

        refined = await say(client, "make slide 3 about the flute", action_value="request_refinement")
        assert refined[-1]["payload"]["to"] == "REFINE_STRAWMAN"
        changed = next(frame for frame in refined if frame["type"] == "slide_update")["payload"]
        assert changed["affected_slides"] == [slides[2]["slide_id"]]
        assert "flute" in str(changed["slides"][2]).lower()
        assert changed["slides"][0] == slides[0]

        final = await say(client, "accept_strawman")
        deck = next(frame for frame in final if frame["type"] == "presentation_url")["payload"]
        assert deck["slide_count"] == len(changed["slides"])
        assert re.fullmatch(r"https?://[^/]+/decks/[0-9a-f-]{36}", deck["url"])
        more = await say(client, "thank you, what now?")
        assert more[0]["type"] == "chat_message"
        assert more[-1]["payload"]["to"] == "CONTENT_GENERATION"

    async with httpx.AsyncClient(base_url=server.url) as http:
        page = await http.get(f"/decks/{deck['presentation_id']}")
    assert page.status_code == 200
    assert "flute" in page.text.lower()
    assert "default-src 'self'" in page.headers["content-security-policy"]

    async with open_builder(server, session_id, native=native) as client:
        sync = await client.until_type("sync_response")
        told = sync["payload"]
        assert told["current_state"] == ("CONTENT_GENERATION" if native else "CONTENT_GENERATED")
        assert (told["presentation_url"], told["presentation_id"]) == (deck["url"], deck["presentation_id"])
        assert (told["has_strawman"], told["slide_count"]) == (True, deck["slide_count"])


async def test_a_buttons_value_is_never_a_topic(server: ServerProcess) -> None:
    async with open_builder(server, str(uuid.uuid4()), native=False) as client:
        await client.until_type("state_update")
        answer = await say(client, "accept_plan")
        assert answer[-1]["payload"]["to"] == "PROVIDE_GREETING"
        assert answer[-1]["payload"]["memory"] == {}


async def test_a_double_click_moves_once(server: ServerProcess) -> None:
    """Two presses with ids of their own, the second before the first is answered."""
    async with open_builder(server, str(uuid.uuid4()), native=True) as client:
        await client.until_type("live")
        await say(client, "Bees")
        await say(client, "teenagers, 10 minutes")
        await client.say("Yes, let's build it!", "click 1", action_value="accept_plan")
        await client.say("Yes, let's build it!", "click 2", action_value="accept_plan")
        await client.until_type("state_update", to="GENERATE_STRAWMAN")
        second = await client.until_type("state_update")
        assert (second["payload"]["from"], second["payload"]["to"]) == ("GENERATE_STRAWMAN", "GENERATE_STRAWMAN")
        assert sum(frame["type"] == "slide_update" for frame in client.durable) == 1


async def test_change_topic_keeps_the_history_and_clears_the_memory(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with open_builder(server, session_id, native=True) as client:
        await client.until_type("live")
        await say(client, "Bees")
        await say(client, "teenagers, 10 minutes")
        changed = await say(client, "new topic: volcanoes")
        assert changed[-1]["payload"]["to"] == "ASK_CLARIFYING_QUESTIONS"
        memory = changed[-1]["payload"]["memory"]
        assert "volcanoes" in memory["user_initial_request"].lower()
        assert memory["confirmation_plan"] is None
        log = client.durable
    async with open_builder(server, session_id, native=True) as client:
        await client.until_type("live")
        assert client.durable == log


async def test_frames_for_the_existing_builder_leave_a_gap(server: ServerProcess) -> None:
    """That frontend loses frames that arrive in one render: 100 ms apart live, 10 ms in a replay."""
    session_id = str(uuid.uuid4())
    arrived: list[float] = []
    async with open_builder(server, session_id, native=False) as client:
        await client.until_type("state_update")
        await client.turn("Bees")
        line = await client.say("teenagers, 10 minutes")
        await client.until_type("ack", id=line)
        await client.until(lambda frame: bool(frame.get("payload", {}).get("sub_title")), "the plan")
        arrived.append(time.monotonic())
        await client.until_type("action_request")
        arrived.append(time.monotonic())
    assert arrived[1] - arrived[0] >= 0.09
