"""A tool in a real server process: its trace on the wire, and a process that dies while it runs."""

import uuid

from tests.e2e.live import ended
from tests.support.process import ServerProcess
from tests.support.wire import Client


async def test_a_call_is_told_with_the_turns_end_and_replayed_as_it_was(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id, workflow="weather") as client:
        await client.until_type("live")
        await client.turn("weather fine")
        told = ended(client)
        [entry] = told["payload"]["trace"]
        assert (entry["kind"], entry["tool"], entry["outcome"], entry["attempt"]) == ("tool", "weather", "answered", 1)
        assert entry["session_id"] == session_id
        assert "usage" not in told["payload"]
        await client.turn("weather raise")
        assert client.texts()[-1] == "failed: The tool weather did not work."
    async with Client(server.port, session_id=session_id, workflow="weather") as client:
        await client.until_type("live")
        assert [frame for frame in client.durable if frame["message_id"] == told["message_id"]] == [told]
    assert "Oslo" not in server.log(), "what a tool is given and answers is never logged above debug"
    assert '"event":"tool_failed"' in server.log().replace('": "', '":"')


async def test_a_tool_of_a_process_that_died_is_called_by_the_next_attempt(
    server: ServerProcess,
) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id, workflow="weather") as client:
        await client.until_type("live")
        await client.say("weather hang brief x")
        await client.until_type("status_update", status="thinking")
        await server.kill()
    server.environ["TOOL_TIMEOUT_MS"] = "300"
    await server.start()
    async with Client(server.port, session_id=session_id, workflow="weather") as client:
        await client.until_type("state_update", intent="Say")
        assert client.texts()[1] == "timeout: The tool weather gave no answer: it took longer than 300 ms. | 12 in Oslo"
        entries = ended(client)["payload"]["trace"]
    assert [(entry["tool"], entry["outcome"], entry["attempt"]) for entry in entries] == [
        ("weather", "timeout", 2), ("brief", "answered", 2),
    ]  # fmt: skip
