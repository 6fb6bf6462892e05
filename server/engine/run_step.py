"""Runs a workflow's step: takes the effect RunStep, and gives the session machine the inputs that the step leads to.

A step is foreign code. Whatever it raises, its turn ends with an input: Done or Failed. Cancelling it gives no input.

- `step_failed` (error): session_id, user_id, turn, attempt, workflow, state, code, reason, correlation_id, and the
  traceback. A fault of the step ended the turn; the user was shown the first characters of the correlation id.
"""

import asyncio
import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import structs

from server.assistant import OUR_PROMPTS, Assistant, Message, Prompting
from server.assistant.guarded import Guarded
from server.clock import new_id, new_ids, now_ms
from server.engine.account import Account, Accounted
from server.engine.attempts import Attempts
from server.engine.containment import brief, describe
from server.engine.turn_context import CALLS_SHARE, TurnContext
from server.engine.turn_tools import AccountedCalls, bounds_of
from server.errors import ERROR_CODES, ErrorCode, StepError, StoreError
from server.machines import effects, inputs
from server.machines.trace import NOTHING_SPENT, Spent
from server.records import Event, SessionKey, is_line
from server.server_memory import workflow_memory
from server.settings import Settings
from server.store import Store
from server.workflows.move import step, step_at_once
from server.workflows.table import OPEN, Delta, Frame, Line, Progress, Result, Turn, Workflow
from server.workflows.tools import NO_TOOLS, ToolContext, Tools
from server.workflows.tools.calls import TurnCalls

log = structlog.get_logger()

#: Message ids that a turn needs besides its frames: turn_failed or turn_cancelled, a chat_message, a state_update.
SPARE_IDS = 3
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_NO_JSON = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
#: How deep lists and objects of an answer may be nested; databases and browsers limit the depth too.
DEPTH_LIMIT = 200
#: Stands for the line in the turn that opens a session, which has none.
_NOTHING_SAID = Line(text="", words="")


@dataclass(frozen=True, slots=True)
class Means:
    """The store, the settings and the language model (None: there is none) that all steps of a process share."""

    store: Store
    settings: Settings
    assistant: Guarded | None = None


def end_at_once(
    means: Means, workflow: Workflow, effect: effects.RunStep, key: SessionKey, at_ms: int
) -> inputs.Done | inputs.Failed | inputs.MayWait:
    """Run a step that needs no waiting; `at_ms` (UTC) is the present time.

    Returns its end, or MayWait when the step may have to wait, for a model or for the store: then use `run_step`. An
    exception of the step is logged and returned as Failed.
    """
    if means.assistant is not None or (effect.line is not None and workflow.context):
        return inputs.MAY_WAIT  # the messages before the line must be read from the store
    try:
        result = step_at_once(workflow, _see(means, workflow, effect, key, at_ms), stale=effect.stale)
        if result is None:
            return inputs.MAY_WAIT
        stored, _ = _as_stored(result, means.settings)
        return inputs.Done(effect.run, stored, new_ids(len(stored.frames) + 1), now_ms())
    except StepError as error:
        return fail_step(effect, key, workflow, error.code, error, spent=NOTHING_SPENT)
    except BaseException as error:  # noqa: BLE001  as in `run_step`; a step that does not wait cannot be cancelled
        return fail_step(effect, key, workflow, ErrorCode.STEP_FAILED, error, spent=NOTHING_SPENT)


async def run_step(
    means: Means,
    workflow: Workflow,
    effect: effects.RunStep,
    key: SessionKey,
    *,
    account: Account,
    show: Callable[[inputs.Input], None],
) -> None:
    """Run the step of `effect`. `show` gets an input for each output, and last Done or Failed; none when cancelled.

    Raises CancelledError, when the task was cancelled or when the step raised it, and what `show` raises. Exceptions
    of the step become Failed.

    Calls to the language model and to tools are entered into `account`. When a model's answer breaks off in the
    middle, `show` gets Again and the step restarts, within its time. The tools are closed before this returns.
    """
    settings = means.settings
    turn_ms, most_bytes = round(settings.step_timeout_ms * CALLS_SHARE), settings.turn_max_bytes
    attempts = Attempts(effect, key, lambda: turn_ms - account.elapsed_ms())
    recall = TurnContext(settings, effect, key, account)
    assistant, tools = None, None
    if means.assistant is not None:
        assistant = Accounted(
            means.assistant,
            account,
            max_tokens=settings.answer_max_tokens,
            turn_ms=turn_ms,
            on_call=recall.called,
        )
    if workflow.declared:
        context = ToolContext(key, effect.turn)
        watcher = AccountedCalls(context, settings, account)
        tools = TurnCalls(workflow.declared, context, bounds_of(settings), watcher)
    shown = _Shown(show)
    try:
        async with recall, asyncio.timeout(settings.step_timeout_ms / 1000):
            turn = await _turn(means, workflow, effect, recall, key=key, assistant=assistant, tools=tools or NO_TOOLS)
            await attempts.run(partial(_attempt, workflow, turn, recall, account=account, show=shown), shown)
    except TimeoutError as error:
        show(fail_step(attempts.effect, key, workflow, ErrorCode.STEP_TIMEOUT, error, spent=account.spent(most_bytes)))
    except StepError as error:
        show(fail_step(attempts.effect, key, workflow, error.code, error, spent=account.spent(most_bytes)))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # a step is foreign code: whatever it raises must end its turn (L8)
        if shown.is_ours:
            raise
        # SystemExit and KeyboardInterrupt would end the process, with the turns of all other sessions.
        show(fail_step(attempts.effect, key, workflow, ErrorCode.STEP_FAILED, error, spent=account.spent(most_bytes)))
    finally:
        if tools is not None:
            await tools.close()


class _Shown:
    """Passes a step's outputs to `show`. `is_ours`: `show` is running or has raised; the step raised nothing."""

    def __init__(self, show: Callable[[inputs.Input], None]) -> None:
        self.is_ours = False
        self._show = show

    def __call__(self, output: inputs.Input) -> None:
        self.is_ours = True
        self._show(output)
        self.is_ours = False


async def _attempt(
    workflow: Workflow,
    turn: Turn,
    recall: TurnContext,
    effect: effects.RunStep,
    *,
    account: Account,
    show: Callable[[inputs.Input], None],
) -> None:
    """Run the step once, from its beginning to Done. Raises what the step raises."""
    run, said_bytes, settings = effect.run, 0, recall.settings
    account.attempt = effect.attempt
    turn = structs.replace(turn, attempt=effect.attempt, now_ms=now_ms())
    async with aclosing(step(workflow, turn, stale=effect.stale)) as outputs:
        async for output in outputs:
            match output:
                case Progress():
                    show(inputs.Shown(run, output))
                case Delta(text):
                    encoded = text.encode(errors="replace")
                    said_bytes += len(encoded)
                    _check_size(said_bytes, settings)
                    # Clients see this text, and a stopped turn stores it, so a lone surrogate must become `?`.
                    show(inputs.Streamed(run, text if text.isascii() else encoded.decode(), new_id()))
                case Result():
                    stored, size = _as_stored(output, settings)
                    summary = await recall.new_summary()
                    spent = account.spent(settings.turn_max_bytes - size)
                    show(inputs.Done(run, stored, new_ids(len(output.frames) + 1), now_ms(), spent, summary))


def _check_size(said_bytes: int, settings: Settings) -> None:
    if said_bytes > settings.turn_max_bytes:
        raise StepError(ErrorCode.ANSWER_TOO_LARGE, f"more than {settings.turn_max_bytes} bytes of text")


def fail_step(
    effect: effects.RunStep,
    key: SessionKey,
    workflow: Workflow,
    code: ErrorCode,
    error: BaseException,
    *,
    spent: Spent,
) -> inputs.Failed:
    """Log `error` under a new correlation id, and return the failed end of its turn, which names that id."""
    correlation_id = uuid.uuid4().hex
    row = ERROR_CODES[code]
    log.error(
        "step_failed",
        session_id=key.session_id,
        user_id=key.user_id,
        turn=effect.turn,
        attempt=effect.attempt,
        workflow=workflow.name,
        state=effect.snapshot.state if effect.snapshot else workflow.start,
        code=code,
        reason=describe(error),
        correlation_id=correlation_id,
        exc_info=brief(error),
    )
    words = f"{row.message} (Reference {correlation_id[:8]}.)"
    return inputs.Failed(effect.run, code, words, correlation_id, row.temporary, new_ids(SPARE_IDS), now_ms(), spent)


async def _turn(
    means: Means,
    workflow: Workflow,
    effect: effects.RunStep,
    recall: TurnContext,
    *,
    key: SessionKey,
    assistant: Assistant | None,
    tools: Tools,
) -> Turn:
    """The step's input; each attempt sets its own time. Raises StepError when the events before it cannot be read."""
    if effect.line is None:
        return _see(means, workflow, effect, key, 0, assistant=assistant, tools=tools)
    events: Sequence[Event] = ()
    settings, snapshot = means.settings, effect.snapshot
    wanted = min(workflow.context, settings.chat_context_limit)
    try:
        if wanted:
            # Answers to earlier lines, and lines that wait, may stand behind this line: read so many events more.
            head = max(effect.turn - 1, snapshot.seq if snapshot else 0)
            after = max(0, head - wanted - min(head - effect.turn + 1, settings.inbox_limit))
            events = await means.store.read(key, after, head - after)
        past = recall.past if assistant is None else await recall.read(means.store)
    except StoreError as error:
        raise StepError(ErrorCode.STEP_FAILED, f"context: {error}") from error
    before = [event for event in events if event.seq < effect.turn or not is_line(event)]
    return _see(
        means,
        workflow,
        effect,
        key,
        0,
        assistant=assistant,
        tools=tools,
        events=before[-wanted:] if wanted else (),
        messages=past.messages,
        summary=past.summary,
        window_limit=recall.window_limit,
    )


def _see(
    means: Means,
    workflow: Workflow,
    effect: effects.RunStep,
    key: SessionKey,
    at_ms: int,
    *,
    assistant: Assistant | None = None,
    tools: Tools = NO_TOOLS,
    events: Sequence[Event] = (),
    messages: Sequence[Message] = (),
    summary: str = "",
    window_limit: int | None = None,
) -> Turn:
    """The step's input; `events`, `messages` and `summary` are of the conversation before its line."""
    settings, snapshot, line = means.settings, effect.snapshot, effect.line
    said = _NOTHING_SAID
    if line is not None:
        said = workflow.read_line(line.payload["text"], line.payload.get("action_value"), line.created_at)
    state, known = (snapshot.state, snapshot.memory) if snapshot else (workflow.start, {})
    return Turn(
        session_id=key.session_id,
        number=effect.turn,
        attempt=effect.attempt,
        line=said,
        intent=OPEN if line is None else "",
        came_from=state,
        state=state,
        memory=workflow_memory(known),
        events=events,
        new_id=new_id,
        public_url=settings.public_url,
        now_ms=at_ms,
        tools=tools,
        assistant=assistant,
        messages=messages,
        summary=summary,
        prompting=OUR_PROMPTS
        if assistant is None
        else Prompting(
            chat_system=settings.chat_system_prompt,
            classifier_system=settings.classifier_system_prompt,
            context_limit=window_limit or settings.chat_context_limit,
            classifier_context_limit=settings.classifier_context_limit,
            token_budget=settings.context_token_budget,
        ),
    )


def _as_stored(result: Result, settings: Settings) -> tuple[Result, int]:
    """The result after a trip through JSON (tuples become lists, NaN becomes null), and its size in bytes.

    Clients are so sent the same now as in a replay. Raises StepError when the result is too large, or is not JSON.
    """
    try:
        encoded = _encode([[frame.payload for frame in result.frames], result.memory])
    except _NO_JSON as error:
        raise StepError(ErrorCode.STEP_FAILED, f"{_not_json(result)} is not JSON: {error}") from error
    if len(result.frames) > settings.turn_max_frames or len(encoded) > settings.turn_max_bytes:
        raise StepError(ErrorCode.ANSWER_TOO_LARGE, f"{len(result.frames)} frames, {len(encoded)} bytes")
    if encoded.count(b"[") + encoded.count(b"{") > DEPTH_LIMIT and _depth(encoded) > DEPTH_LIMIT:
        raise StepError(ErrorCode.ANSWER_TOO_LARGE, f"the answer is nested more than {DEPTH_LIMIT} deep")
    payloads, memory = _decode(encoded)
    stored = [Frame(frame.type, kept, frame.message_id) for frame, kept in zip(result.frames, payloads, strict=True)]
    return Result(result.intent, result.to, tuple(stored), memory), len(encoded)


def _not_json(result: Result) -> str:
    """Name the part of an answer that is not JSON."""
    for number, frame in enumerate(result.frames, 1):
        if not _is_json(frame.payload):
            return f"frame {number} of the answer ({frame.type})"
    return next(
        (f"what is remembered as {key[:60]!r}" for key, value in result.memory.items() if not _is_json(value)),
        "the answer",
    )


def _is_json(value: Any) -> bool:
    try:
        _encode(value)
    except _NO_JSON:
        return False
    return True


def _depth(encoded: bytes) -> int:
    """How deep a JSON text is nested."""
    depth = deepest = 0
    for mark in re.findall(rb"[\[{\]}]", re.sub(rb'"(?:[^"\\]|\\.)*"', b"", encoded)):
        depth += 1 if mark in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
