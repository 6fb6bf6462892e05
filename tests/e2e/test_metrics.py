"""`/metrics` of a real server: it counts what was said to it, and tells nothing of who said it."""

import asyncio
import uuid

from tests.support.figures import read
from tests.support.process import ServerProcess
from tests.support.wire import Client

WAIT_S = 10


async def test_turns_are_counted_and_nothing_in_it_is_personal(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    async with Client(server.port, session_id=session_id, user_id="alice-of-wonderland") as client:
        await client.until_type("live")  # after the greeting, which is no turn
        await client.turn("my secret")
        await client.turn("bang")
        line = await client.say("sleep 30")
        acked = await client.until_type("ack", id=line)
        await client.send({"type": "cancel", "id": "stop", "turn": acked["payload"]["seq"]})
        await client.until_type("turn_cancelled")
        found = await read(server.url)
        outcomes = ("answered", "failed", "cancelled", "interrupted")
        assert [found("turns_total", workflow="echo", outcome=one) for one in outcomes] == [1, 1, 1, 0]
        assert (found("connections"), found("sessions")) == (1, 1)
    assert [found(f"{name}_count") for name in ("ack_ms", "step_ms", "commit_ms")] == [3, 3, 3]
    assert found("model_turns_total") == found("window_messages_count") == 0
    assert found.processes == {str(server.pid)}
    for private in (session_id, "alice", "secret", line):
        assert private not in found.text
    assert {name for name, _ in found.labels()} == {"workflow", "outcome"}
    async with asyncio.timeout(WAIT_S):
        while (await read(server.url))("connections") != 0:
            await asyncio.sleep(0.02)  # another process notices the close


async def test_a_scrape_is_as_long_after_many_sessions_as_after_one(server: ServerProcess) -> None:
    series = []
    for sessions in (1, 8):
        for _ in range(sessions):
            async with Client(server.port, session_id=str(uuid.uuid4()), user_id=str(uuid.uuid4())) as client:
                await client.until_type("live")
                await client.turn("hello")
        series.append((await read(server.url)).text.count("\n"))
    assert series[0] == series[1]
