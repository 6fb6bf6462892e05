"""The tools of one turn: opened at their first call, bounded, and closed at the turn's end. The only file that does so.

Each open tool has its own task, which opens and closes it: a tool may hold a task group or a cancel scope, which only
the task that entered it may leave. Each call is a task too, so that a call that ignores its cancellation delays neither
the step nor the turn's end. A Watcher hears of each call: the engine's keeps the account and the log, that of
`check_workflow` complains.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, get_args

import msgspec
from msgspec import Struct

from server.errors import ErrorCode, StepError
from server.workflows.tools import FailureCode, Tool, ToolContext, ToolFailed, ToolSpec, unknown_tool

#: How long a cancelled tool may take to end. After that its task is abandoned.
_GRACE_S: Final = 0.5
_BROKEN: Final = "The tool {} did not work."
_encode = msgspec.json.Encoder().encode


class Bounds(Struct, frozen=True):
    """The bounds of every tool of a turn; a tool's own limits can only be tighter."""

    timeout_ms: int
    input_max_bytes: int
    output_max_bytes: int
    calls_max: int


class Watcher(Protocol):
    """What hears of the calls of one turn."""

    def began(self, tool: str, given: bytes) -> Any:
        """A call begins, with its input as JSON. What is returned names the call to `ended`."""
        ...

    def ended(self, call: Any, outcome: str, gave: bytes) -> None:
        """The call ended: "answered", "cancelled", or a FailureCode; `gave` is its output as JSON, or its words."""
        ...

    def refused(self, tool: str) -> None:
        """A call was not begun, because the turn had made all the calls that it may."""
        ...

    def failed(self, tool: str, code: FailureCode, why: str, error: BaseException | None) -> None:
        """A call failed by a bound or a fault, and not by the tool's own word; `error` is what the tool raised."""
        ...

    def late(self, task: asyncio.Task[Any]) -> None:
        """A tool or a call had not ended in time at the turn's end, and was cancelled; it may still run."""
        ...


class TurnCalls:
    """The Tools of one turn, for a workflow that declares tools."""

    def __init__(self, specs: Mapping[str, ToolSpec], context: ToolContext, bounds: Bounds, watcher: Watcher) -> None:
        self._specs = specs
        self._context = context
        self._bounds = bounds
        self._watcher = watcher
        self._opened: dict[str, _Opened] = {}
        self._calls: set[asyncio.Task[tuple[Any, bytes] | ToolFailed]] = set()
        self._calls_left = bounds.calls_max
        self._is_closed = False

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

        Cancelling this ends the wait early. The watcher hears of each task that did not end in time.
        """
        self._is_closed = True
        for opened in self._opened.values():
            opened.let_go.set()
            if not opened.is_ready.is_set():
                opened.task.cancel()
        patience_s = max((self._timeout_ms(self._specs[name]) for name in self._opened), default=0) / 1000
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
                self._watcher.late(task)

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
            self._watcher.refused(name)
            return ToolFailed("refused", f"The tool {name} was not asked: this answer has made all the calls it may.")
        self._calls_left -= 1
        return spec, encoded

    async def _call(self, spec: ToolSpec, encoded: bytes) -> Any:
        """Call a tool once, and tell the watcher how it ended. Returns its output or ToolFailed."""
        call = self._watcher.began(spec.name, encoded)
        outcome, gave = "cancelled", b""
        try:
            answer = await self._ask(spec, encoded)
            if isinstance(answer, ToolFailed):
                outcome, gave = answer.code, answer.words.encode(errors="replace")
                return answer
            value, gave = answer
            outcome = "answered"
            return value
        finally:
            self._watcher.ended(call, outcome, gave)

    async def _ask(self, spec: ToolSpec, encoded: bytes) -> tuple[Any, bytes] | ToolFailed:
        """Call the tool within its limits. Returns its output, of type `spec.gives` and as JSON, or ToolFailed."""
        most_bytes = _least(spec.limits.input_max_bytes, self._bounds.input_max_bytes)
        if len(encoded) > most_bytes:
            return self._bounded(spec, "too_large", f"its input has more than {most_bytes} bytes")
        try:
            given = msgspec.json.decode(encoded, type=spec.takes)
        except msgspec.ValidationError as error:
            return self._bounded(spec, "refused", f"it does not take such an input: {error}")
        call = asyncio.create_task(self._answer(spec, given), name=f"call {spec.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({call}, timeout=self._timeout_ms(spec) / 1000)
            if call.done() and not call.cancelled():
                return call.result()
        finally:
            call.cancel()
        if call.cancelled():
            return self._broken(spec, None)
        return self._bounded(spec, "timeout", f"it took longer than {self._timeout_ms(spec)} ms")

    async def _answer(self, spec: ToolSpec, given: Any) -> tuple[Any, bytes] | ToolFailed:
        """Open the tool if it is not open, and call it. Its exceptions become ToolFailed, but CancelledError."""
        try:
            tool = await self._open(spec)
            if tool is None:
                return ToolFailed("failed", _BROKEN.format(spec.name))  # the watcher has heard why
            answer = await tool.call(given)
            is_failure = isinstance(answer, ToolFailed)
            encoded = _words(answer) if is_failure else _encode(answer)
            most_bytes = _least(spec.limits.output_max_bytes, self._bounds.output_max_bytes)
            if len(encoded) > most_bytes:
                return self._bounded(spec, "too_large", f"its answer has more than {most_bytes} bytes")
            return answer if is_failure else (msgspec.json.decode(encoded, type=spec.gives), encoded)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  a tool is foreign code: the step decides what to say
            return self._broken(spec, error)

    async def _open(self, spec: ToolSpec) -> Tool | None:
        opened = self._opened.get(spec.name)
        if opened is None or (opened.is_ready.is_set() and opened.tool is None):  # one that failed may open now
            opened = self._opened[spec.name] = _Opened(spec, self._context, self._broken)
        await opened.is_ready.wait()
        return opened.tool

    def _bounded(self, spec: ToolSpec, code: FailureCode, why: str) -> ToolFailed:
        self._watcher.failed(spec.name, code, why, None)
        return ToolFailed(code, f"The tool {spec.name} gave no answer: {why}.")

    def _broken(self, spec: ToolSpec, error: BaseException | None) -> ToolFailed:
        """Tell the watcher of a tool that broke. Returns the ToolFailed for the step, which has no reason in it."""
        self._watcher.failed(spec.name, "failed", "it cancelled its own call" if error is None else "it raised", error)
        return ToolFailed("failed", _BROKEN.format(spec.name))

    def _timeout_ms(self, spec: ToolSpec) -> int:
        return _least(spec.limits.timeout_ms, self._bounds.timeout_ms)


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


def _words(failed: ToolFailed) -> bytes:
    """The words of a failure that a tool returned. Raises TypeError for one of another form than the contract has."""
    if failed.code not in get_args(FailureCode) or type(failed.words) is not str:
        raise TypeError("a ToolFailed has a FailureCode and a str")
    return failed.words.encode(errors="replace")


def _least(own: int | None, bound: int) -> int:
    return bound if own is None else min(own, bound)
