"""Running a workflow's step: from an effect of the session machine to the inputs that it yields.

A step is foreign code. Whatever it does, its turn ends in an input: Done or Failed.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
from msgspec import structs

from server.assistant import OUR_PROMPTS, Assistant, Message, Prompting
from server.assistant.guarded import Guarded
from server.clock import new_id, new_ids, now_ms
from server.engine.account import Account, Accounted
from server.engine.attempts import Attempts
from server.engine.turn_context import CALLS_SHARE, Recall
from server.engine.turn_tools import TurnTools
from server.errors import ERROR_CODES, StepError, StoreError
from server.machines import effects, inputs
from server.machines.trace import NOTHING_SPENT, Spent
from server.records import Event, SessionKey, is_line
from server.settings import Settings
from server.store import Store
from server.workflows.move import step, step_at_once
from server.workflows.table import OPEN, Delta, Frame, Line, Progress, Result, Turn, Workflow
from server.workflows.tools import NO_TOOLS, ToolContext, Tools

log = structlog.get_logger()

#: Message ids that a turn needs besides its frames: turn_failed or turn_cancelled, a chat_message, a state_update.
SPARE_IDS = 3
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
#: The line of the turn that opens a session, and what was said before it.
_NOTHING_SAID = Line(text="", words="")


@dataclass(frozen=True, slots=True)
class Means:
    """What every step of a process is run with; `assistant` is the language model, if there is one."""

    store: Store
    settings: Settings
    assistant: Guarded | None = None


def end_at_once(
    means: Means, workflow: Workflow, effect: effects.RunStep, key: SessionKey, at_ms: int
) -> inputs.Done | inputs.Failed | None:
    """The end of a step that does not wait; None for one that may. `at_ms` (UTC) is the present."""
    if means.assistant is not None or (effect.line is not None and workflow.context):
        return None  # what was said before the line is read from the store
    try:
        result = step_at_once(workflow, _see(means, workflow, effect, key, at_ms), stale=effect.stale)
        if result is None:
            return None
        stored, _ = _as_stored(result, means.settings)
        return inputs.Done(effect.run, stored, new_ids(len(stored.frames) + 1), now_ms())
    except StepError as error:
        return _failed(effect, key, error.code, error, NOTHING_SPENT)
    except Exception as error:  # noqa: BLE001  as in `run_step`
        return _failed(effect, key, "step_failed", error, NOTHING_SPENT)


async def run_step(
    means: Means,
    workflow: Workflow,
    effect: effects.RunStep,
    key: SessionKey,
    *,
    account: Account,
    show: Callable[[inputs.Input], None],
) -> None:
    """Run the step that `effect` asks for. `show` gets what it shows, and last Done or Failed; cancelling is silent.

    Calls to the language model and to tools are entered into `account`. Where a model's answer breaks off in the
    middle, the step is begun again within its time, after Again. The tools are closed before this returns.
    """
    settings = means.settings
    turn_ms = round(settings.step_timeout_ms * CALLS_SHARE)
    attempts = Attempts(effect, key, lambda: turn_ms - account.elapsed_ms())
    recall = Recall(settings, effect, key, account)
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
        tools = TurnTools(workflow.declared, ToolContext(key, effect.turn), settings, account)
    try:
        async with recall, asyncio.timeout(settings.step_timeout_ms / 1000):
            turn = await _turn(means, workflow, effect, recall, key=key, assistant=assistant, tools=tools or NO_TOOLS)
            await attempts.run(partial(_attempt, workflow, turn, recall, account=account, show=show), show)
    except TimeoutError as error:
        show(_failed(attempts.effect, key, "step_timeout", error, account.spent(settings.turn_max_bytes)))
    except StepError as error:
        show(_failed(attempts.effect, key, error.code, error, account.spent(settings.turn_max_bytes)))
    except Exception as error:  # noqa: BLE001  a step is foreign code: whatever it raises must end its turn (L8)
        show(_failed(attempts.effect, key, "step_failed", error, account.spent(settings.turn_max_bytes)))
    finally:
        if tools is not None:
            await tools.close()


async def _attempt(
    workflow: Workflow,
    turn: Turn,
    recall: Recall,
    effect: effects.RunStep,
    *,
    account: Account,
    show: Callable[[inputs.Input], None],
) -> None:
    """The step from its beginning to Done. Raises what the step raises."""
    run, said_bytes, settings = effect.run, 0, recall.settings
    account.attempt = effect.attempt
    turn = structs.replace(turn, attempt=effect.attempt, now_ms=now_ms())
    async with aclosing(step(workflow, turn, stale=effect.stale)) as outputs:
        async for output in outputs:
            match output:
                case Progress():
                    show(inputs.Shown(run, output))
                case Delta(text):
                    said_bytes += len(text.encode(errors="replace"))
                    _check_size(said_bytes, settings)
                    show(inputs.Streamed(run, text, new_id()))
                case Result():
                    stored, size = _as_stored(output, settings)
                    result = await recall.keep(stored)
                    spent = account.spent(settings.turn_max_bytes - size)
                    show(inputs.Done(run, result, new_ids(len(output.frames) + 1), now_ms(), spent))


def _check_size(said_bytes: int, settings: Settings) -> None:
    if said_bytes > settings.turn_max_bytes:
        raise StepError("answer_too_large", f"more than {settings.turn_max_bytes} bytes of text")


def _failed(effect: effects.RunStep, key: SessionKey, code: str, error: Exception, spent: Spent) -> inputs.Failed:
    correlation_id = uuid.uuid4().hex
    row = ERROR_CODES[code]
    log.error(
        "step_failed",
        session_id=key.session_id,
        user_id=key.user_id,
        turn=effect.turn,
        attempt=effect.attempt,
        code=code,
        correlation_id=correlation_id,
        exc_info=error,
    )
    words = f"{row.message} (Reference {correlation_id[:8]}.)"
    return inputs.Failed(effect.run, code, words, correlation_id, row.temporary, new_ids(SPARE_IDS), now_ms(), spent)


async def _turn(
    means: Means,
    workflow: Workflow,
    effect: effects.RunStep,
    recall: Recall,
    *,
    key: SessionKey,
    assistant: Assistant | None,
    tools: Tools,
) -> Turn:
    """What the step sees; each attempt sets its own time. Raises StepError when the last events cannot be read."""
    if effect.line is None:
        return _see(means, workflow, effect, key, 0, assistant=assistant, tools=tools)
    events: Sequence[Event] = ()
    settings, snapshot = means.settings, effect.snapshot
    wanted = min(workflow.context, settings.chat_context_limit)
    try:
        if wanted:
            # Behind the line may stand what was said to those before it, and lines that are not in turn yet.
            head = max(effect.turn - 1, snapshot.seq if snapshot else 0)
            after = max(0, head - wanted - min(head - effect.turn + 1, settings.inbox_limit))
            events = await means.store.read(key, after, head - after)
        past = recall.past if assistant is None else await recall.read(means.store)
    except StoreError as error:
        raise StepError("step_failed", f"context: {error}") from error
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
    """What the step sees; `events`, `messages` and `summary` are what came before its line."""
    settings, snapshot, line = means.settings, effect.snapshot, effect.line
    said = _NOTHING_SAID
    if line is not None:
        said = workflow.read_line(line.payload["text"], line.payload.get("action_value"), line.created_at)
    state = snapshot.state if snapshot else workflow.start
    return Turn(
        session_id=key.session_id,
        number=effect.turn,
        attempt=effect.attempt,
        line=said,
        intent=OPEN if line is None else "",
        came_from=state,
        state=state,
        memory=snapshot.memory if snapshot else {},
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
    """The result as JSON keeps it, so that what is sent now is what a replay sends (tuples are lists, NaN is null).

    And its size, in bytes.

    Raises StepError when it is too large, or is not JSON.
    """
    try:
        encoded = _encode([[frame.payload for frame in result.frames], result.memory])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StepError("step_failed", f"the answer is not JSON: {error}") from error
    if len(result.frames) > settings.turn_max_frames or len(encoded) > settings.turn_max_bytes:
        raise StepError("answer_too_large", f"{len(result.frames)} frames, {len(encoded)} bytes")
    payloads, memory = _decode(encoded)
    stored = [Frame(frame.type, kept, frame.message_id) for frame, kept in zip(result.frames, payloads, strict=True)]
    return Result(result.intent, result.to, tuple(stored), memory), len(encoded)
