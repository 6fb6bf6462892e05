"""Tasks that nobody waits for end with their owner, also those that miss that they are told to."""

import asyncio
import contextlib

import pytest

from server.tasks import Tasks


async def test_close_ends_a_task_that_swallows_a_cancellation() -> None:
    """As `asyncio.wait_for` did before Python 3.12: what it waited for was done, so it returned that."""
    told = 0

    async def work() -> None:
        nonlocal told
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        told += 1
        await asyncio.sleep(3600)

    tasks = Tasks()
    task = tasks.spawn(work(), "swallows")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.close()
    assert task.cancelled()
    assert told == 1


def test_close_returns_at_once_when_there_is_nothing_to_end() -> None:
    """In its first step, that is: without an event loop."""
    with pytest.raises(StopIteration):
        Tasks().close().send(None)
