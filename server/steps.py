"""Running a workflow's step: from an effect of the session machine to the inputs that it yields.

A step is foreign code. Whatever it does, its turn ends in an input: Done or Failed.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec
import structlog

from server import signals
from server.broker import Key
from server.errors import ERROR_CODES, StepError, StoreError
from server.settings import Settings
from server.stamps import new_id, new_ids, now_ms
from server.store import Store
from server.store.records import Event
from server.workflow import OPEN, Delta, Line, Progress, Result, Turn, Workflow, step

log = structlog.get_logger()

#: Message ids that a turn needs besides its frames: turn_failed or turn_cancelled, a chat_message, a state_update.
SPARE_IDS = 3


async def run_step(
    store: Store, workflow: Workflow, effect: signals.RunStep, key: Key, settings: Settings
) -> AsyncGenerator[signals.Input, None]:
    """Run the step that `effect` asks for. Yields what it shows, and last Done or Failed; cancelling it is silent."""
    run = effect.run
    try:
        async with asyncio.timeout(settings.step_timeout_ms / 1000):
            turn, said_bytes = await _turn(store, workflow, effect, key, settings), 0
            async with aclosing(step(workflow, turn, stale=effect.stale)) as outputs:
                async for output in outputs:
                    match output:
                        case Progress():
                            yield signals.Shown(run, output)
                        case Delta(text):
                            said_bytes += len(text.encode(errors="replace"))
                            _check_size(said_bytes, settings)
                            yield signals.Streamed(run, text, new_id())
                        case Result():
                            ids = new_ids(len(output.frames) + SPARE_IDS)
                            yield signals.Done(run, _as_stored(output, settings), ids, now_ms())
    except TimeoutError as error:
        yield _failed(effect, key, "step_timeout", error)
    except StepError as error:
        yield _failed(effect, key, error.code, error)
    except Exception as error:  # noqa: BLE001  a step is foreign code: whatever it raises must end its turn (L8)
        yield _failed(effect, key, "step_failed", error)


def _check_size(said_bytes: int, settings: Settings) -> None:
    if said_bytes > settings.turn_max_bytes:
        raise StepError("answer_too_large", f"more than {settings.turn_max_bytes} bytes of text")


def _failed(effect: signals.RunStep, key: Key, code: str, error: Exception) -> signals.Failed:
    correlation_id = uuid.uuid4().hex
    row = ERROR_CODES[code]
    log.error(
        "step_failed",
        session_id=key[1],
        user_id=key[0],
        turn=effect.turn,
        attempt=effect.attempt,
        code=code,
        correlation_id=correlation_id,
        exc_info=error,
    )
    words = f"{row.message} (Reference {correlation_id[:8]}.)"
    return signals.Failed(effect.run, code, words, correlation_id, row.temporary, new_ids(SPARE_IDS), now_ms())


async def _turn(store: Store, workflow: Workflow, effect: signals.RunStep, key: Key, settings: Settings) -> Turn:
    """What the step sees. Raises StepError when the last events cannot be read."""
    user_id, session_id = key
    snapshot, line = effect.snapshot, effect.line
    said = Line(text="", words="")
    events: Sequence[Event] = ()
    if line is not None:
        said = workflow.read_line(line.payload["text"], line.payload.get("action_value"))
        wanted = min(workflow.context, settings.chat_context_limit)
        if wanted:
            try:
                events = await store.read(session_id, user_id, max(0, line.seq - 1 - wanted), wanted)
            except StoreError as error:
                raise StepError("step_failed", f"context: {error}") from error
    state = snapshot.state if snapshot else workflow.start
    return Turn(
        session_id=session_id,
        number=effect.turn,
        attempt=effect.attempt,
        line=said,
        intent=OPEN if line is None else "",
        came_from=state,
        state=state,
        memory=snapshot.memory if snapshot else {},
        events=[event for event in events if event.seq < effect.turn],
        new_id=new_id,
        public_url=settings.public_url,
    )


def _as_stored(result: Result, settings: Settings) -> Result:
    """The result as JSON keeps it, so that what is sent now is what a replay sends (tuples are lists, NaN is null).

    Raises StepError when it is too large, or is not JSON.
    """
    try:
        encoded = msgspec.json.encode([[frame.payload for frame in result.frames], result.memory])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StepError("step_failed", f"the answer is not JSON: {error}") from error
    if len(result.frames) > settings.turn_max_frames or len(encoded) > settings.turn_max_bytes:
        raise StepError("answer_too_large", f"{len(result.frames)} frames, {len(encoded)} bytes")
    payloads, memory = msgspec.json.decode(encoded)
    frames = tuple(replace(frame, payload=payload) for frame, payload in zip(result.frames, payloads, strict=True))
    return replace(result, frames=frames, memory=memory)
