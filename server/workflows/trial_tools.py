"""The complaints of `check_workflow` about tools: each failure of a call that the tool did not return itself."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from server.workflows.tools import FailureCode
from server.workflows.tools.calls import Bounds

#: The bounds that the settings have by default.
BOUNDS: Final = Bounds(timeout_ms=30_000, input_max_bytes=65_536, output_max_bytes=262_144, calls_max=20)


class ComplainedCalls:
    """The Watcher of a turn that is tried out. `complain` gets each complaint, and the exception if there was one."""

    def __init__(self, complain: Callable[[str, BaseException | None], None]) -> None:
        self._complain = complain

    def began(self, tool: str, given: bytes) -> None:
        """A call that begins is no complaint."""

    def ended(self, call: None, outcome: str, gave: bytes) -> None:
        """Its end is none, either: `failed` has said what was wrong."""

    def refused(self, tool: str) -> None:
        """The step calls its tools more often than it may."""
        self._complain(f"tool {tool}: a turn makes at most {BOUNDS.calls_max} calls", None)

    def failed(self, tool: str, code: FailureCode, why: str, error: BaseException | None) -> None:
        """A tool broke, or met a bound."""
        self._complain(f"tool {tool}: {why}" if error is None else f"tool {tool}", error)

    def late(self, task: asyncio.Task[Any]) -> None:
        """A tool or a call goes on behind its turn."""
        self._complain(f"{task.get_name()} did not end with its turn", None)
