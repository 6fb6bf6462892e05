"""A reconnect brings the state and exactly the frames that were missed, or says `reset` and brings everything."""

import uuid
from typing import Any

import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Client, Frame


async def talk(server: ServerProcess, session_id: str, *lines: str) -> list[Frame]:
    """A conversation of some lines; the answer is its durable frames."""
    async with Client(server.port, session_id=session_id) as client:
        await client.until_type("live")
        for line in lines:
            await client.turn(line)
        return client.durable


async def replay(server: ServerProcess, session_id: str, **query: Any) -> tuple[Frame, list[Frame]]:
    """What a reconnect with this cursor brings: its sync_response and its durable frames."""
    async with Client(server.port, session_id=session_id, **query) as client:
        await client.until_type("live")
        assert client.frames[0]["type"] == "sync_response"
        return client.frames[0]["payload"], client.durable


async def test_a_new_session_is_greeted_once(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    first = await talk(server, session_id)
    sync, again = await replay(server, session_id)
    assert [frame["type"] for frame in first] == ["chat_message", "state_update"]
    assert again == first
    assert (sync["action"], sync["message_count"], sync["head"], sync["current_state"]) == (
        "send_history",
        1,
        2,
        "HELLO",
    )


async def test_a_replay_is_verbatim_also_after_a_kill(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    before = await talk(server, session_id, "one", "choose", "Go left")
    await server.kill()
    await server.start()
    sync, after = await replay(server, session_id)
    assert after == before
    assert sync["head"] == len(before)
    times = [frame["timestamp"] for frame in after]
    assert times == sorted(set(times))
    assert [frame["seq"] for frame in after] == list(range(1, len(after) + 1))
    assert len({frame["message_id"] for frame in after}) == len(after)


@pytest.mark.parametrize("missed", [0, 1, 3])
async def test_a_cursor_brings_exactly_what_is_behind_it(server: ServerProcess, missed: int) -> None:
    session_id = str(uuid.uuid4())
    log = await talk(server, session_id, "one", "two")
    after = len(log) - missed
    sync, frames = await replay(server, session_id, after=after, last_message_id=log[after - 1]["message_id"])
    assert sync["action"] == "send_delta"
    assert frames == log[after:]


async def test_a_cursor_that_the_log_does_not_have_resets(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    log = await talk(server, session_id, "one")
    cursors: list[dict[str, Any]] = [
        {"after": len(log) + 1},
        {"after": 3, "last_message_id": str(uuid.uuid4())},
        {"after": 3, "last_message_id": log[3]["message_id"]},
    ]
    for cursor in cursors:
        sync, frames = await replay(server, session_id, **cursor)
        assert sync["action"] == "reset", cursor
        assert frames == log, cursor


async def test_a_cursor_into_an_unknown_session_resets(server: ServerProcess) -> None:
    sync, frames = await replay(server, str(uuid.uuid4()), after=7)
    assert sync["action"] == "reset"
    assert [frame["seq"] for frame in frames] == [1, 2]


async def test_a_long_history_is_paged(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    log = await talk(server, session_id, *[f"line {n}" for n in range(12)])
    await server.kill()
    server.environ["REPLAY_PAGE_LIMIT"] = "7"
    await server.start()
    _, frames = await replay(server, session_id)
    assert frames == log
    _, frames = await replay(server, session_id, after=5)
    assert frames == log[5:]


async def test_resume_on_a_living_connection(server: ServerProcess) -> None:
    session_id = str(uuid.uuid4())
    log = await talk(server, session_id, "one", "two")
    async with Client(server.port, session_id=session_id, after=len(log)) as client:
        await client.until_type("live")
        await client.send({"type": "resume", "after": 4})
        await client.until_type("live")
        assert client.durable == log[4:]
        await client.send({"type": "resume", "after": len(log) + 5})
        assert (await client.until_type("sync_response"))["payload"]["action"] == "reset"
        await client.until_type("live")
        assert client.durable == log[4:] + log


@pytest.mark.parametrize(
    ("claimed", "action"), [(0, "send_history"), (-1, "send_history"), (1, "send_history"), (None, "skip_history")]
)
async def test_skip_history_needs_the_servers_own_count(
    server: ServerProcess, claimed: int | None, action: str
) -> None:
    """The existing builder asks to skip with counts that are often wrong; only an equal one is believed."""
    session_id = str(uuid.uuid4())
    log = await talk(server, session_id, "one", "choose")
    visible = sum(frame["type"] != "state_update" for frame in log)
    count = visible if claimed is None else visible + (claimed or -1)
    query = {"session_id": session_id, "skip_history": "true", "message_count": count}
    async with Client(server.port, native=False, **query) as client:
        sync = await client.until_type("sync_response")
        assert sync["payload"]["action"] == action
        assert sync["payload"]["message_count"] == visible
        if action == "send_history":
            await client.until_type("state_update", turn=log[-1]["payload"]["turn"])
            assert client.durable == log
        else:
            turn = await client.turn("go on")
            assert client.durable[0]["seq"] == len(log) + 1
            assert turn["seq"] == len(log) + 3
