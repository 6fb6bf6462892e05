"""Background asyncio tasks of an owner: each is kept, its failure is logged, and all end with their owner."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

log = structlog.get_logger()

#: How long a task may take to end before it is cancelled again, in seconds.
_AGAIN_S: Final = 1.0


class Tasks:
    """The running tasks of one owner. `failed` is called when one ends with an exception: a fault of ours."""

    def __init__(self, failed: Callable[[], None] | None = None) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._failed = failed

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work`; its exception goes to the log under `name`."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Stop them all, without waiting for their end."""
        for task in self._running:
            task.cancel()

    async def close(self) -> None:
        """Stop them all, and return when they have ended.

        Once is not enough: before Python 3.12, `asyncio.wait_for` swallows a cancellation that comes just when what it
        waits for is done, and libraries wait so, redis-py with every command.
        """
        while self._running:
            self.cancel()
            await asyncio.wait(self._running, timeout=_AGAIN_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)
            if self._failed is not None:
                self._failed()
