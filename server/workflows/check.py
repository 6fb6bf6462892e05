"""Tries out a workflow for its author: takes lines, returns moves and complaints. Needs no server, store or model.

    def test_the_coffee_bar_serves() -> None:
        checked = check_workflow(COFFEE, ["Ann", "Espresso", Press("milk")])
        assert checked.complaints == []
        assert checked.moves[-1].to == "SERVED"

Lines are handled like those of a browser: a text that names an open button counts as a press, the table decides the
state, and outputs are kept as the server would keep them. The workflow's own tools are opened and called; pass
`replace(workflow, tools={…})` to give the steps other tools.
"""

import asyncio
import itertools
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from server.errors import ErrorCode, StepError
from server.records import COMMON_TYPES, SYSTEM_TYPES, SessionKey
from server.workflows.move import step
from server.workflows.table import (
    OPEN,
    Classify,
    Delta,
    Frame,
    Line,
    Output,
    Progress,
    Result,
    Step,
    Turn,
    Workflow,
)
from server.workflows.tools import ToolContext, Tools
from server.workflows.tools.calls import TurnCalls
from server.workflows.trial_tools import BOUNDS, ComplainedCalls

#: The identity of the session that is tried out.
_KEY: Final = SessionKey(user_id="author", session_id="00000000-0000-4000-8000-000000000000")
_OPENING: Final = "the opening"


@dataclass(frozen=True, slots=True)
class Press:
    """A press on the button with this value; `words` is the text that the person sends with it (`requires_input`)."""

    value: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """The result of one line.

    `line` is its text, "" for the opening. `memory` is the session's memory after the move; `shown` are the transient
    outputs of the step.
    """

    line: str
    intent: str
    came_from: str
    to: str
    frames: tuple[Frame, ...]
    memory: dict[str, Any]
    shown: tuple[Progress | Delta, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The texts of the chat messages."""
        return [str(frame.payload["text"]) for frame in self.frames if frame.type == "chat_message"]


@dataclass(frozen=True, slots=True)
class Checked:
    """The moves of a session, the opening first, and all complaints."""

    moves: list[Move]
    complaints: list[str]


def check_workflow(workflow: Workflow, lines: Sequence[str | Press], *, step_ms: int = 5_000) -> Checked:
    """Open a session of the workflow, send these lines in order, and return the moves and complaints.

    `lines` are texts, or presses on buttons. A step may take `step_ms` milliseconds. A faulty workflow leads to
    complaints, not exceptions. Raises RuntimeError inside a running event loop: await `try_workflow` there.
    """
    return asyncio.run(try_workflow(workflow, lines, step_ms=step_ms))


async def try_workflow(workflow: Workflow, lines: Sequence[str | Press], *, step_ms: int = 5_000) -> Checked:
    """Like `check_workflow`, inside a running event loop."""
    trial = _Trial(workflow, step_ms)
    await trial.play(_OPENING, Line("", ""), OPEN)
    for number, line in enumerate(lines, 1):
        text, action = trial.read(line)
        where = f"line {number} ({text!r})"
        trial.look_at_button(where, action)
        await trial.play(where, workflow.read_line(text, action))
    trial.look_for_unreached()
    return Checked(trial.moves, trial.complaints)


class _Trial:
    """One session in memory."""

    def __init__(self, workflow: Workflow, step_ms: int) -> None:
        self.moves: list[Move] = []
        self.complaints: list[str] = []
        self._table = workflow
        self._step_ms = step_ms
        self._state = workflow.start
        self._memory: dict[str, Any] = {}
        self._where = _OPENING
        self._ids = itertools.count(1)
        states = [replace(state, run=self._watched(state.run)) for state in workflow.states]
        self._workflow = replace(
            workflow,
            states=states,
            answer=workflow.answer and self._watched(workflow.answer),
            classify=workflow.classify and self._judged(workflow.classify),
        )

    def read(self, line: str | Press) -> tuple[str, str | None]:
        """The text and the button of a line."""
        if isinstance(line, Press):
            button = self._table.button(line.value)
            return line.words or (button.label if button else line.value), line.value
        return line, self._table.find_action(self._state, line)

    def look_at_button(self, where: str, action: str | None) -> None:
        """Complain about a press on a button that the current state does not have."""
        there = [button.value for button in self._table.state(self._state).buttons]
        if action is not None and action not in there:
            has = f"its buttons are {', '.join(there)}" if there else "it has none"
            self._complain(f"{where}: state {self._state} has no button {action!r}; {has}")

    def look_for_unreached(self) -> None:
        """Complain about states that no line led to."""
        reached = {move.to for move in self.moves} | {self._table.start}
        for state in self._table.states:
            if state.name not in reached:
                self._complain(f"no line leads to state {state.name}: add lines that do")

    async def play(self, where: str, line: Line, intent: str = "") -> None:
        """Run one turn. A turn that fails adds complaints and changes nothing else, as in the server."""
        self._where, shown = where, list[Progress | Delta]()
        context, watcher = ToolContext(_KEY, len(self.moves)), ComplainedCalls(self._tool_broke)
        tools = TurnCalls(self._table.declared, context, BOUNDS, watcher)
        turn = self._turn(line, intent, tools)
        began, result = time.monotonic(), None
        try:
            async with asyncio.timeout(self._step_ms / 1000), aclosing(step(self._workflow, turn)) as outputs:
                async for output in outputs:
                    if isinstance(output, Result):
                        result = _as_stored(output)
                    else:
                        shown.append(output)
        except TimeoutError:
            self._complain(f"{where}: the step did not end within {self._step_ms} ms (`step_ms`)")
        except StepError as error:
            self._complain(f"{where}: {error}")
        except BaseException as error:  # noqa: BLE001  a step is foreign code, and its faults are looked for
            self._complain(f"{where}: {type(error).__name__}: {_words_of(error)}{_place_of(error)}")
        finally:
            took_ms = round((time.monotonic() - began) * 1000)
            await tools.close()
        if result is None:
            return
        if took_ms > self._step_ms:
            self._complain(f"{where}: the step took {took_ms} ms without waiting, and all others stood still meanwhile")
        self._take(line, result, shown)

    def _take(self, line: Line, result: Result, shown: list[Progress | Delta]) -> None:
        changed = {**self._memory, **result.memory}
        self._memory = {name: value for name, value in changed.items() if value is not None}
        move = Move(line.text, result.intent, self._state, result.to, result.frames, dict(self._memory), tuple(shown))
        self._complaints_about(move)
        self._state = result.to
        self.moves.append(move)

    def _complaints_about(self, move: Move) -> None:
        kinds = [frame.type for frame in move.frames]
        has_buttons = bool(self._table.state(move.to).buttons)
        entered = move.came_from != move.to or move.intent == OPEN
        if entered and has_buttons and "action_request" not in kinds:
            self._complain(f"{self._where}: the buttons of state {move.to} are not shown: `yield Ask(…)` in its step")
        if "action_request" in kinds and not has_buttons:
            self._complain(f"{self._where}: Ask in state {move.to}, which has no buttons: give it some, or use chat(…)")
        for kind in sorted(set(kinds) - COMMON_TYPES - self._table.frames.keys()):
            if kind in SYSTEM_TYPES:
                self._complain(f"{self._where}: a Frame of type {kind}, which only the server makes")
            else:
                self._complain(
                    f"{self._where}: a Frame of type {kind}: declare it, as Workflow(…, frames={{{kind!r}: …}})"
                )
        streamed = "".join(output.text for output in move.shown if isinstance(output, Delta))
        if streamed and streamed not in move.texts:
            self._complain(
                f"{self._where}: streamed {streamed[:60]!r},"
                " and no chat(…) has just that text: what was shown would vanish"
            )

    def _turn(self, line: Line, intent: str, tools: Tools) -> Turn:
        return Turn(
            session_id=_KEY.session_id,
            number=len(self.moves),
            attempt=1,
            line=line,
            intent=intent,
            came_from=self._state,
            state=self._state,
            memory=dict(self._memory),
            events=(),
            new_id=lambda: f"id-{next(self._ids)}",
            public_url="http://localhost:8000",
            tools=tools,
        )

    def _watched(self, run: Step) -> Step:
        """Wrap a step: complain about outputs that no client would see. Raises StepError when it is no generator."""

        def begin(turn: Turn) -> Any:
            outputs = run(turn)
            if isinstance(outputs, Iterator):
                return self._at_once(outputs)
            if not hasattr(outputs, "__aiter__"):
                kind = type(outputs).__name__
                raise StepError(ErrorCode.STEP_FAILED, f"the step of {turn.state} returns a {kind}: it has no `yield`")
            return outputs

        return begin

    def _at_once(self, outputs: Iterator[Output]) -> Iterator[Output]:
        for output in outputs:
            if isinstance(output, Progress | Delta):
                kind = type(output).__name__
                self._complain(f"{self._where}: {kind} in a step that never waits is not shown: write `async def`")
            yield output

    def _judged(self, classify: Classify) -> Classify:
        """Wrap a classifier: complain when it returns an intent that the state does not allow."""

        async def judge(turn: Turn, allowed: Sequence[str]) -> str:
            guess = classify(turn, allowed)
            intent = guess if isinstance(guess, str) else await guess
            if intent not in allowed:
                known = ", ".join(allowed)
                self._complain(
                    f"{self._where}: classify names {intent!r}, and state {turn.came_from} understands {known}"
                )
            return intent

        return judge

    def _tool_broke(self, why: str, error: BaseException | None) -> None:
        raised = f": {type(error).__name__}: {_words_of(error)}{_place_of(error)}" if error else ""
        self._complain(f"{self._where}: {why}{raised}")

    def _complain(self, complaint: str) -> None:
        if complaint not in self.complaints:
            self.complaints.append(complaint)


def _as_stored(result: Result) -> Result:
    """The result after a round trip through JSON. Raises StepError when it cannot be JSON."""
    try:
        encoded = msgspec.json.encode([[frame.payload for frame in result.frames], result.memory])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StepError(ErrorCode.STEP_FAILED, f"what the step yields must be JSON: {error}") from error
    payloads, memory = msgspec.json.decode(encoded)
    frames = [Frame(frame.type, kept, frame.message_id) for frame, kept in zip(result.frames, payloads, strict=True)]
    return Result(result.intent, result.to, tuple(frames), memory)


def _words_of(error: BaseException) -> str:
    """The words of an exception, whose `__str__` is foreign code, too."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  it may raise anything
        return "(its words cannot be read)"


def _place_of(error: BaseException) -> str:
    """The file and line of the author's code that raised the error, as text; "" when there is none."""
    names = ("check.py", "move.py", "table.py", "defaults.py", "tools/calls.py")
    ours = {str(Path(__file__).parent / name) for name in names}
    theirs = [one for one in traceback.extract_tb(error.__traceback__) if one.filename not in ours]
    return f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
