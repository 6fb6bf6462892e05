"""Tasks that nobody waits for: none is forgotten, none fails in silence, all end with their owner."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Tasks:
    """The running tasks of one owner. `failed` is called when one ends with an exception, which is a fault of ours."""

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
        """Stop them all, and return when they have ended."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)
            if self._failed is not None:
                self._failed()
