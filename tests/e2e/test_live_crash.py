"""Live answers of servers that die, or have little time."""

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Start
from tests.e2e.live import LONG, ended, environment, talk
from tests.e2e.test_crash import stored_texts
from tests.vendors import Vendors, hang, say


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    with Vendors() as vendors:
        yield vendors


async def test_a_server_killed_in_mid_answer_answers_once_after_the_restart(vendors: Vendors, start: Start) -> None:
    server = await start(**environment(vendors))
    vendors.next(say(LONG, per_s=50), say("All of it.", per_s=50))
    session_id = str(uuid.uuid4())
    async with talk(server.port, session_id) as client:
        await client.until_type("live")
        await client.say("Go on.")
        await client.until_type("stream_delta", n=3)
        await server.kill()
    await server.start()
    async with talk(server.port, session_id) as client:
        await client.until_type("chat_message", text="All of it.")
    records = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert [record["attempts"] for record in records if record["event"] == "turn" and record["turn"]] == [2]
    assert (await stored_texts(server.database, session_id))[1:] == [("user", "Go on."), ("assistant", "All of it.")]
    assert len(vendors.calls) == 2


async def test_an_answer_that_takes_too_long_is_ended_and_the_next_line_works(vendors: Vendors, start: Start) -> None:
    """The call's limit is just below the step's: on a busy machine either may be first.

    tests/engine/test_deadlines.py has which one is meant to be.
    """
    server = await start(**environment(vendors, STEP_TIMEOUT_MS="2000"))
    vendors.next(hang("One "))
    async with talk(server.port) as client:
        await client.until_type("live")
        await client.turn("Tea?")
        failed = next(frame for frame in client.durable if frame["type"] == "turn_failed")
        code = failed["payload"]["code"]
        assert code in ("assistant_timeout", "step_timeout")
        [call] = ended(client)["payload"]["trace"]
        assert call["outcome"] == ("assistant_timeout" if code == "assistant_timeout" else "cancelled")
        await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
        await client.turn("And now?")
        assert client.texts()[-1] == "Hello there, this is an answer."
