"""Tools: all the I/O that a step may do. This file is the contract, and pure; tools themselves are files beside it.

A workflow declares its tools: `Workflow(…, tools={"weather": open_weather})`, or a list of ToolSpec where a tool has
types or limits of its own. A step calls one by its name:

    found = await turn.tools.call("weather", {"city": "Oslo"})
    if isinstance(found, ToolFailed):
        yield chat("I cannot look at the weather just now.")

The engine opens a tool when the turn calls it for the first time, and closes it when the turn ends, however it ends.
A turn that runs again after a crash calls its tools again: a tool that changes something outside must bear that, for
instance by telling it the session and the turn (ToolContext), which are the same in every attempt.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from server.errors import ErrorCode, StepError
from server.records import SessionKey


class ToolContext(Struct, frozen=True):
    """What a tool knows of the turn that opens it."""

    key: SessionKey
    turn: int


class Tool(Protocol):
    """An open tool."""

    async def call(self, given: Any, /) -> Any:
        """Answer one call: JSON-like values or Structs go in and out, of the types that the ToolSpec names.

        Cancelling it stops the call. An expected failure is returned, as ToolFailed. What is raised becomes a
        ToolFailed("failed", …) for the step, and goes to the log.
        """
        ...


#: Entered in a task of its own, and left in the same task.
OpenTool = Callable[[ToolContext], AbstractAsyncContextManager[Tool]]


class ToolLimits(Struct, frozen=True):
    """Bounds of one tool; None: the bound of the settings, which none can exceed.

    `timeout_ms` holds for one call, with the opening if the tool is not open yet, and once more for its closing. The
    bytes are those of the values as JSON.
    """

    timeout_ms: int | None = None
    input_max_bytes: int | None = None
    output_max_bytes: int | None = None


class ToolSpec(Struct, frozen=True):
    """A tool as a workflow declares it. `takes` and `gives` are types that msgspec can validate."""

    name: str
    open: OpenTool
    description: str = ""
    takes: Any = Any
    gives: Any = Any
    limits: ToolLimits = ToolLimits()


#: Why a call gave no value.
FailureCode = Literal["timeout", "too_large", "refused", "failed"]


class ToolFailed(Struct, frozen=True):
    """A call that gave no value, for a reason that a step should expect. `words` are plain, and fit for a user.

    timeout    it took longer than it may
    too_large  its input or its output has more bytes than it may
    refused    the input has the wrong form, or the turn has made all the calls that it may
    failed     the tool broke, or says so itself
    """

    code: FailureCode
    words: str


class Tools(Protocol):
    """The tools of one turn."""

    async def call(self, name: str, given: Any = None, /) -> Any:
        """Call a tool; its answer (a value of the type `gives`), or ToolFailed.

        Raises StepError for a mistake in the workflow: a name that it does not declare, an input that is not JSON, or
        a call after the turn's end.
        """
        ...

    async def call_all(self, *calls: tuple[str, Any]) -> tuple[Any, ...]:
        """Call several tools at once, each given as (name, input); their answers in this order. Raises as `call`."""
        ...


class _NoTools:
    """The Tools of a turn whose workflow declares none, and of a step that never waits."""

    async def call(self, name: str, given: Any = None, /) -> Any:
        raise unknown_tool(name, ())

    async def call_all(self, *calls: tuple[str, Any]) -> tuple[Any, ...]:
        return tuple([await self.call(name, given) for name, given in calls])


NO_TOOLS: Final[Tools] = _NoTools()


def unknown_tool(name: str, known: Sequence[str]) -> StepError:
    """The error of a step that calls a tool of a name that its workflow does not declare."""
    declared = ", ".join(known) or "none"
    return StepError(ErrorCode.STEP_FAILED, f"there is no tool {name!r}; this step can call: {declared}")


def declared_tools(tools: Mapping[str, OpenTool] | Sequence[ToolSpec]) -> Sequence[ToolSpec]:
    """What a workflow declares, in its short or its long form, in the long one; what is no tool is left out."""
    if isinstance(tools, Mapping):
        return [ToolSpec(name, open_tool) for name, open_tool in tools.items()]
    return [tool for tool in tools if isinstance(tool, ToolSpec)] if isinstance(tools, Sequence) else []


def complain_of_tools(tools: Mapping[str, OpenTool] | Sequence[ToolSpec]) -> list[str]:
    """Everything that is wrong with the tools that a workflow declares: where, what, and what would be right."""
    declared = declared_tools(tools)
    if not isinstance(tools, Mapping | Sequence) or len(declared) != len(tools):
        return ["`tools` maps names to functions that open a tool, as {'weather': open_weather}, or lists ToolSpecs"]
    names = [tool.name for tool in declared]
    complaints = [f"tool {name} is there twice: give each a name" for name in sorted({*names}) if names.count(name) > 1]
    for tool in declared:
        if not tool.name:
            complaints.append("a tool has no name: give it one")
        if not callable(tool.open):
            kind = type(tool.open).__name__
            complaints.append(f"tool {tool.name}: `open` is a {kind}: it is a function that takes a ToolContext")
        for limit in tool.limits.__struct_fields__:
            value = getattr(tool.limits, limit)
            if value is not None and value < 1:
                complaints.append(f"tool {tool.name}: {limit} is {value}: it is 1 or more, or None")
    return complaints
