"""The tools of one turn: opened at their first call, bounded, entered into the account, closed at the turn's end.

Each open tool has its own task, which opens and closes it: a tool may hold a task group or a cancel scope, which only
the task that entered it may leave. Each call is a task too, so that a call that ignores its cancellation delays neither
the step nor the turn's end.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from server.engine.account import ANSWERED, CANCELLED, Account
from server.errors import ErrorCode, StepError
from server.settings import Settings
from server.workflows.tools import Tool, ToolContext, ToolFailed, ToolSpec, unknown_tool

log = structlog.get_logger()

#: How long a cancelled tool may take to end. After that its task is abandoned and logged.
_GRACE_S: Final = 0.5
_BROKEN: Final = "The tool {} did not work."
_CUT: Final = "…"
_encode = msgspec.json.Encoder().encode


class TurnTools:
    """The Tools of one turn, for a workflow that declares tools."""

    def __init__(
        self, specs: Mapping[str, ToolSpec], context: ToolContext, settings: Settings, account: Account
    ) -> None:
        self._specs = specs
        self._context = context
        self._settings = settings
        self._account = account
        self._opened: dict[str, _Opened] = {}
        self._calls: set[asyncio.Task[tuple[Any, bytes] | ToolFailed]] = set()
        self._calls_left = settings.tool_calls_max
        self._is_closed = False
        self._log = log.bind(session_id=context.key.session_id, user_id=context.key.user_id, turn=context.turn)

    async def call(self, name: str, given: Any = None, /) -> Any:
        """As the contract says."""
        admitted = self._admit(name, given)
        return admitted if isinstance(admitted, ToolFailed) else await self._call(*admitted)

    async def call_all(self, *calls: tuple[str, Any]) -> tuple[Any, ...]:
        """As the contract says."""
        admitted = [self._admit(name, given) for name, given in calls]
        answers: list[Any] = list(admitted)
        async with asyncio.TaskGroup() as group:
            for place, one in enumerate(admitted):
                if not isinstance(one, ToolFailed):
                    answers[place] = group.create_task(self._call(*one))
        return tuple([answer.result() if isinstance(answer, asyncio.Task) else answer for answer in answers])

    async def close(self) -> None:
        """Close the open tools, and wait for calls that were cancelled and still run; at most the longest timeout.

        Cancelling this ends the wait early. Logs each task that did not end in time.
        """
        self._is_closed = True
        for opened in self._opened.values():
            opened.let_go.set()
            if not opened.is_ready.is_set():
                opened.task.cancel()
        patience_s = max((self._timeout_s(self._specs[name]) for name in self._opened), default=0.0)
        ending: list[asyncio.Task[Any]] = [*self._calls, *(opened.task for opened in self._opened.values())]
        if not ending:
            return
        try:
            await asyncio.wait(ending, timeout=patience_s)
        finally:
            late = [task for task in ending if not task.done()]
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_GRACE_S)
            for task in late:
                self._log.warning("tool_closed_late", task=task.get_name(), left_behind=not task.done())

    def _admit(self, name: str, given: Any) -> tuple[ToolSpec, bytes] | ToolFailed:
        """Check a call. Returns the tool and its input as JSON, or ToolFailed when no call is left to the turn.

        Raises StepError for an unknown tool, a call after the turn's end, or an input that is not JSON.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise unknown_tool(name, tuple(self._specs))
        if self._is_closed:
            raise StepError(ErrorCode.STEP_FAILED, f"tool {name!r} was called after the turn's end")
        try:
            encoded = _encode(given)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise StepError(ErrorCode.STEP_FAILED, f"the input of tool {name!r} is not JSON: {error}") from error
        if self._calls_left <= 0:  # not entered into the trace, which this limit bounds
            self._log.warning("tool_refused", tool=name, tool_calls_max=self._settings.tool_calls_max)
            return ToolFailed("refused", f"The tool {name} was not asked: this answer has made all the calls it may.")
        self._calls_left -= 1
        return spec, encoded

    async def _call(self, spec: ToolSpec, encoded: bytes) -> Any:
        """Call a tool once, and enter the call and its outcome into the account. Returns its output or ToolFailed."""
        use = self._account.begin_use(spec.name, self._in_short(encoded))
        outcome, gave = CANCELLED, b""
        try:
            answer = await self._ask(spec, encoded)
            if isinstance(answer, ToolFailed):
                outcome, gave = answer.code, answer.words.encode(errors="replace")
                return answer
            value, gave = answer
            outcome = ANSWERED
            return value
        finally:
            self._account.end_use(use, outcome, self._in_short(gave))

    async def _ask(self, spec: ToolSpec, encoded: bytes) -> tuple[Any, bytes] | ToolFailed:
        """Call the tool within its limits. Returns its output, of type `spec.gives` and as JSON, or ToolFailed."""
        most_bytes = _least(spec.limits.input_max_bytes, self._settings.tool_input_max_bytes)
        if len(encoded) > most_bytes:
            return ToolFailed("too_large", f"The input of the tool {spec.name} has more than {most_bytes} bytes.")
        try:
            given = msgspec.json.decode(encoded, type=spec.takes)
        except msgspec.ValidationError as error:
            return ToolFailed("refused", f"The tool {spec.name} does not take such an input: {error}")
        call = asyncio.create_task(self._answer(spec, given), name=f"call {spec.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({call}, timeout=self._timeout_s(spec))
            if call.done() and not call.cancelled():
                return call.result()
        finally:
            call.cancel()
        if call.cancelled():
            return self._broken(spec, None)
        return ToolFailed("timeout", f"The tool {spec.name} took too long.")

    async def _answer(self, spec: ToolSpec, given: Any) -> tuple[Any, bytes] | ToolFailed:
        """Open the tool if it is not open, and call it. Its exceptions become ToolFailed, but CancelledError."""
        try:
            tool = await self._open(spec)
            if isinstance(tool, ToolFailed):
                return tool
            answer = await tool.call(given)
            if isinstance(answer, ToolFailed):
                return answer
            encoded = _encode(answer)
            most_bytes = _least(spec.limits.output_max_bytes, self._settings.tool_output_max_bytes)
            if len(encoded) > most_bytes:
                return ToolFailed("too_large", f"The answer of the tool {spec.name} has more than {most_bytes} bytes.")
            return msgspec.json.decode(encoded, type=spec.gives), encoded
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  a tool is foreign code: the step decides what to say
            return self._broken(spec, error)

    async def _open(self, spec: ToolSpec) -> Tool | ToolFailed:
        opened = self._opened.get(spec.name)
        if opened is None or (opened.is_ready.is_set() and opened.tool is None):  # one that failed may open now
            opened = self._opened[spec.name] = _Opened(spec, self._context, self._broken)
        await opened.is_ready.wait()
        return ToolFailed("failed", _BROKEN.format(spec.name)) if opened.tool is None else opened.tool

    def _broken(self, spec: ToolSpec, raised: BaseException | None) -> ToolFailed:
        """Log the exception of a tool that broke. Returns the ToolFailed for the step, which has no reason in it."""
        self._log.warning("tool_failed", tool=spec.name, exc_info=raised)
        return ToolFailed("failed", _BROKEN.format(spec.name))

    def _timeout_s(self, spec: ToolSpec) -> float:
        return _least(spec.limits.timeout_ms, self._settings.tool_timeout_ms) / 1000

    def _in_short(self, said: bytes) -> str:
        chars = self._settings.trace_entry_chars
        text = said[: 4 * chars + 4].decode(errors="ignore")  # a character has at most four bytes
        return text if len(text) <= chars else text[: max(0, chars - len(_CUT))] + _CUT[:chars]


class _Opened:
    """One tool of a turn, and the task that opens and closes it.

    `is_ready` is set when the tool is open (`tool`), and when it failed to open or is closed (`tool` is None).
    """

    def __init__(
        self, spec: ToolSpec, context: ToolContext, broken: Callable[[ToolSpec, BaseException], object]
    ) -> None:
        self.tool: Tool | None = None
        self.is_ready = asyncio.Event()
        self.let_go = asyncio.Event()
        self.task = asyncio.create_task(self._keep(spec, context, broken), name=f"tool {spec.name}")

    async def _keep(
        self, spec: ToolSpec, context: ToolContext, broken: Callable[[ToolSpec, BaseException], object]
    ) -> None:
        try:
            async with spec.open(context) as self.tool:
                self.is_ready.set()
                await self.let_go.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  foreign code: a tool's opening and closing end no turn
            broken(spec, error)
        finally:
            self.tool = None
            self.is_ready.set()


def _least(own: int | None, setting: int) -> int:
    return setting if own is None else min(own, setting)
