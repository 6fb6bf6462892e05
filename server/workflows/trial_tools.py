"""The tools of a turn that `check_workflow` plays: opened, bounded and closed as in the server, without its account.

As in the server, a tool is entered and left by a task of its own, and each call is a task: one that ignores its
cancellation holds up neither the step nor the trial. Each ToolFailed that is not the tool's own is a complaint as well.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from server.errors import ErrorCode, StepError
from server.workflows.tools import Tool, ToolContext, ToolFailed, ToolSpec, unknown_tool

#: The defaults of the settings of these names.
TOOL_TIMEOUT_MS: Final = 30_000
TOOL_INPUT_MAX_BYTES: Final = 65_536
TOOL_OUTPUT_MAX_BYTES: Final = 262_144
TOOL_CALLS_MAX: Final = 20
#: How long a tool may take to end once it was cancelled.
_GRACE_S: Final = 0.5


class TrialTools:
    """The Tools of one turn. `complain` gets what went wrong, and the exception where there was one."""

    def __init__(
        self,
        specs: Mapping[str, ToolSpec],
        context: ToolContext,
        complain: Callable[[str, BaseException | None], None],
    ) -> None:
        self._specs = specs
        self._context = context
        self._complain = complain
        self._opened: dict[str, _Opened] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._calls_left = TOOL_CALLS_MAX
        self._is_closed = False

    async def call(self, name: str, given: Any = None, /) -> Any:
        """As the contract says."""
        return await self._call(*self._admit(name, given))

    async def call_all(self, *calls: tuple[str, Any]) -> tuple[Any, ...]:
        """As the contract says."""
        admitted = [self._admit(name, given) for name, given in calls]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._call(*one)) for one in admitted]
        return tuple([task.result() for task in tasks])

    async def close(self) -> None:
        """Close the tools that are open, each within its timeout; complain of those that do not end."""
        self._is_closed = True
        for opened in self._opened.values():
            opened.let_go.set()
            if not opened.is_ready.is_set():
                opened.task.cancel()
        ending = {*self._calls, *(opened.task for opened in self._opened.values())}
        if not ending:
            return
        patience_s = max((_timeout_ms(self._specs[name]) for name in self._opened), default=0) / 1000
        try:
            await asyncio.wait(ending, timeout=patience_s)
        finally:
            late = {task for task in ending if not task.done()}
            for task in late:
                task.cancel()
                self._complain(f"{task.get_name()} did not end with its turn", None)
            if late:
                await asyncio.wait(late, timeout=_GRACE_S)

    def _admit(self, name: str, given: Any) -> tuple[ToolSpec, bytes, bool]:
        """The tool, its input as JSON, and whether it may be called. Raises StepError as `Tools.call` says."""
        if (spec := self._specs.get(name)) is None:
            raise unknown_tool(name, tuple(self._specs))
        if self._is_closed:
            raise StepError(ErrorCode.STEP_FAILED, f"tool {name!r} was called after the turn's end")
        try:
            encoded = msgspec.json.encode(given)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise StepError(ErrorCode.STEP_FAILED, f"the input of tool {name!r} is not JSON: {error}") from error
        self._calls_left -= 1
        return spec, encoded, self._calls_left >= 0

    async def _call(self, spec: ToolSpec, encoded: bytes, may: bool) -> Any:
        if not may:
            return self._failed(spec, "refused", f"a turn makes at most {TOOL_CALLS_MAX} calls")
        most_bytes = _least(spec.limits.input_max_bytes, TOOL_INPUT_MAX_BYTES)
        if len(encoded) > most_bytes:
            return self._failed(spec, "too_large", f"its input has more than {most_bytes} bytes")
        try:
            given = msgspec.json.decode(encoded, type=spec.takes)
        except msgspec.ValidationError as error:
            return self._failed(spec, "refused", f"it does not take such an input: {error}")
        call = asyncio.create_task(self._answer(spec, given), name=f"a call of tool {spec.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({call}, timeout=_timeout_ms(spec) / 1000)
            if call.done() and not call.cancelled():
                return call.result()
        finally:
            call.cancel()
        if call.cancelled():
            return self._failed(spec, "failed", "it cancelled its own call")
        return self._failed(spec, "timeout", f"it took longer than {_timeout_ms(spec)} ms")

    async def _answer(self, spec: ToolSpec, given: Any) -> Any:
        """Open the tool if need be, and ask it."""
        opened = self._opened.get(spec.name)
        if opened is None or (opened.is_ready.is_set() and opened.tool is None):  # what failed to open may open now
            opened = self._opened[spec.name] = _Opened(spec, self._context, self._raised)
        try:
            await opened.is_ready.wait()
            if opened.tool is None:
                return ToolFailed("failed", f"The tool {spec.name} did not work.")  # `_raised` has complained
            answer = await opened.tool.call(given)
            if isinstance(answer, ToolFailed):
                return answer
            encoded = msgspec.json.encode(answer)
            most_bytes = _least(spec.limits.output_max_bytes, TOOL_OUTPUT_MAX_BYTES)
            if len(encoded) > most_bytes:
                return self._failed(spec, "too_large", f"its answer has more than {most_bytes} bytes")
            return msgspec.json.decode(encoded, type=spec.gives)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  a tool is foreign code, and its fault is what is looked for
            return self._raised(spec, error)

    def _raised(self, spec: ToolSpec, error: BaseException) -> ToolFailed:
        self._complain(f"tool {spec.name}: {type(error).__name__}: {error}", error)
        return ToolFailed("failed", f"The tool {spec.name} did not work.")

    def _failed(
        self, spec: ToolSpec, code: Literal["timeout", "too_large", "refused", "failed"], why: str
    ) -> ToolFailed:
        self._complain(f"tool {spec.name}: {why}", None)
        return ToolFailed(code, f"The tool {spec.name} did not work: {why}.")


class _Opened:
    """One tool of a turn, from its opening to its closing, in the one task that does both.

    `is_ready`: `tool` is open, or it is None and will not be.
    """

    def __init__(
        self, spec: ToolSpec, context: ToolContext, raised: Callable[[ToolSpec, BaseException], object]
    ) -> None:
        self.tool: Tool | None = None
        self.is_ready = asyncio.Event()
        self.let_go = asyncio.Event()
        self.task = asyncio.create_task(self._keep(spec, context, raised), name=f"tool {spec.name}")

    async def _keep(
        self, spec: ToolSpec, context: ToolContext, raised: Callable[[ToolSpec, BaseException], object]
    ) -> None:
        try:
            async with spec.open(context) as self.tool:
                self.is_ready.set()
                await self.let_go.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  foreign code, as above
            raised(spec, error)
        finally:
            self.tool = None
            self.is_ready.set()


def _timeout_ms(spec: ToolSpec) -> int:
    return _least(spec.limits.timeout_ms, TOOL_TIMEOUT_MS)


def _least(own: int | None, most: int) -> int:
    return most if own is None else min(own, most)
