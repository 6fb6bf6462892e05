"""A streamed answer is seen whole by tabs on other processes, whenever they come."""

import asyncio
import re
import uuid

import httpx

from tests.e2e.live import assembled
from tests.processes.conftest import Start
from tests.services.redis import RedisServer
from tests.support.process import ServerProcess
from tests.support.wire import WAIT_S, Client

WORDS = [f"w{number}," for number in range(40)]
LINE = f"stream 0.05 {' '.join(WORDS)}"


async def test_a_tab_that_comes_in_mid_answer_on_another_process_sees_all_of_it(
    start: Start, redis: RedisServer, session_id: str
) -> None:
    first, second = await asyncio.gather(start(REDIS_URL=redis.url), start(REDIS_URL=redis.url))
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as passive:
        await asyncio.gather(one.until_type("live"), passive.until_type("live"))
        await one.say(LINE)
        tabs = [one, passive]
        for _ in range(5):  # the same person refreshes five times, and comes to either process
            await one.until_type("stream_delta")
            await asyncio.sleep(0.15)
            for process in (first, second):
                late = await Client(process.port, session_id=session_id).__aenter__()
                tabs.append(late)
        ended = await asyncio.gather(*(tab.until_type("chat_message", text="".join(WORDS)) for tab in tabs))
    assert len({frame["message_id"] for frame in ended}) == 1
    for tab in tabs:
        assert assembled(tab) == "".join(WORDS)
    for tab in tabs[2:]:
        await tab.close()


async def test_what_was_said_is_kept_by_a_cancel_from_another_process(
    start: Start, redis: RedisServer, session_id: str
) -> None:
    first, second = await asyncio.gather(start(REDIS_URL=redis.url), start(REDIS_URL=redis.url))
    async with Client(first.port, session_id=session_id) as one:
        await one.until_type("live")
        await one.say(LINE)
        turn = (await one.until_type("ack"))["payload"]["seq"]
        await one.until_type("stream_delta", n=5)
        async with Client(second.port, session_id=session_id) as other:
            await other.until_type("stream_delta")
            await other.send({"type": "cancel", "id": str(uuid.uuid4()), "turn": turn})
            kept = await other.until_type("chat_message", cancelled=True)
            assert kept["payload"]["text"].startswith("".join(WORDS[:5]))
            await one.until_type("turn_cancelled", turn=turn)
            said = assembled(one)
            await one.turn("next")
            assert assembled(one) == said  # the step is over


async def test_what_a_tab_was_shown_is_kept_by_its_cancel_though_its_session_slept(
    start: Start, redis: RedisServer, session_id: str
) -> None:
    first, second = await asyncio.gather(
        start(REDIS_URL=redis.url), start(REDIS_URL=redis.url, SESSION_IDLE_MS="100", HEAD_POLL_MS="60000")
    )
    async with Client(first.port, session_id=session_id) as one, Client(second.port, session_id=session_id) as other:
        await asyncio.gather(one.until_type("live"), other.until_type("live"))
        await asleep(second)
        await one.say(LINE)
        turn = (await one.until_type("ack"))["payload"]["seq"]
        await other.until_type("stream_delta")
        shown = assembled(other)
        await other.send({"type": "cancel", "id": str(uuid.uuid4()), "turn": turn})
        kept = await other.until_type("chat_message", cancelled=True)
        assert kept["payload"]["text"].startswith(shown)


async def asleep(process: ServerProcess) -> None:
    """Return when none of its sessions is awake."""
    async with asyncio.timeout(WAIT_S), httpx.AsyncClient() as client:
        while not re.search(r"^rejoinder_sessions\{.*\} 0\.0$", await metrics(client, process), re.MULTILINE):
            await asyncio.sleep(0.05)  # polling a process that can only be asked


async def metrics(client: httpx.AsyncClient, process: ServerProcess) -> str:
    return (await client.get(f"{process.url}/metrics")).text
