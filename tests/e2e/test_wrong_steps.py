"""Steps that would take the whole server with them, in a real process with its real event loop."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Client


@pytest.mark.parametrize("word", ["exit", "halt", "freeze"])
async def test_the_process_and_the_neighbour_go_on(tmp_path: Path, word: str) -> None:
    server = ServerProcess(tmp_path)
    await server.start()
    pid = server.pid
    try:
        async with Client(server.port) as user, Client(server.port) as neighbour:
            await user.until_type("live")
            await neighbour.until_type("live")
            await asyncio.gather(user.turn(word), neighbour.turn("are you there?"))
            assert neighbour.texts()[-1] == "you said are you there?"
            await user.turn("and now?")
            assert user.texts()[-1] == "you said and now?"
            said = " ".join(user.texts())
        assert server.pid == pid
        assert await server.stop() == 0, "a stop from outside is heeded as before"
    finally:
        await server.close()
    records = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    told = {record["event"]: record for record in records if record["event"] in ("step_failed", "loop_blocked")}
    if word == "freeze":
        assert told.keys() == {"loop_blocked"}
        assert 5_000 <= told["loop_blocked"]["held_ms"] < 20_000
        assert told["loop_blocked"]["workflow"] == "echo"
    else:
        assert told.keys() == {"step_failed"}
        assert told["step_failed"]["correlation_id"][:8] in said
