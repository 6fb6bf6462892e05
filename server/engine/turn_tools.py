"""The tools of a turn in the engine: the settings bound them, and their calls go into the account and the log."""

import asyncio
from typing import Any, Final

import structlog

from server.engine.account import Account, Use
from server.settings import Settings
from server.workflows.tools import FailureCode, ToolContext
from server.workflows.tools.calls import Bounds

log = structlog.get_logger()

_CUT: Final = "…"


def bounds_of(settings: Settings) -> Bounds:
    """The bounds that the settings give to the tools of a turn."""
    return Bounds(
        timeout_ms=settings.tool_timeout_ms,
        input_max_bytes=settings.tool_input_max_bytes,
        output_max_bytes=settings.tool_output_max_bytes,
        calls_max=settings.tool_calls_max,
    )


class AccountedCalls:
    """The Watcher of a turn that is run: each call becomes an entry of its trace."""

    def __init__(self, context: ToolContext, settings: Settings, account: Account) -> None:
        self._settings = settings
        self._account = account
        self._log = log.bind(session_id=context.key.session_id, user_id=context.key.user_id, turn=context.turn)
        self._has_refused = False

    def began(self, tool: str, given: bytes) -> Use:
        """Enter a call into the account."""
        return self._account.begin_use(tool, self._in_short(given))

    def ended(self, call: Use, outcome: str, gave: bytes) -> None:
        """Enter the end of a call into the account."""
        self._account.end_use(call, outcome, self._in_short(gave))

    def refused(self, tool: str) -> None:
        """Log the first call beyond the bound; a step may try many."""
        if not self._has_refused:
            self._has_refused = True
            self._log.warning("tool_refused", tool=tool, tool_calls_max=self._settings.tool_calls_max)

    def failed(self, tool: str, code: FailureCode, why: str, error: BaseException | None) -> None:
        """Log a tool that broke. A bound that was met stands in the trace."""
        if code == "failed":
            raised = error
            self._log.warning("tool_failed", tool=tool, exc_info=raised)

    def late(self, task: asyncio.Task[Any]) -> None:
        """Log a tool or a call that did not end with its turn."""
        self._log.warning("tool_closed_late", task=task.get_name(), left_behind=not task.done())

    def _in_short(self, said: bytes) -> str:
        chars = self._settings.trace_entry_chars
        text = said[: 4 * chars + 4].decode(errors="ignore")  # a character has at most four bytes
        return text if len(text) <= chars else text[: max(0, chars - len(_CUT))] + _CUT[:chars]
