"""The wire. JSON text frames, one object each, in both directions.

Server → client, always `{type, message_id, session_id, timestamp, role, payload, seq?}`:

    durable (with `seq`, in the log, replayed verbatim)
        chat_message      a line of the user or the assistant
        action_request    a question with buttons
        state_update      ends every turn: {from, to, intent, turn, memory}, {usage, trace} if it called a model,
                          and {trace} if it called tools alone
        turn_cancelled    the turn was stopped: {turn}, and {reason: "interrupted"} if a newer line did it
        turn_failed       the turn broke: {turn, code, correlation_id, retryable}
        …                 frames of a workflow's own types
    transient (without `seq`, may be dropped, never replayed)
        sync_response     first frame of every connection: the session's state, and whether a replay follows
        live              (native) the replay is over: {head}
        ack               your line is durable: {id, seq, duplicate}
        error             your frame was refused: {code, id, message, temporary, retry_ms?}
        status_update     the progress of a running turn: {status, text, progress, estimated_time, turn}
        stream_delta      a piece of an answer: {turn, attempt, n, text, reset}; with `reset`, or with a higher attempt,
                          it replaces the earlier pieces: the stream broke or its process died, and the answer restarts
        token_usage       tokens of a turn's model calls: {turn, model, input_tokens, output_tokens, …, session}
        ping, pong        {n, head} and {n}
        drain             (native) this process will stop: {after_ms}
        action_request    the open one again, to a client that pressed a button of a closed one

Client → server:

    {"type":"user_message","id":"…","data":{"text":"…","action_value":"…","action_message_id":"…"}}
    {"type":"user_input","data":{"text":"…","frontend_actions":[{"action_id":"…"}]}}      older builders
    {"type":"resume","after":12}    {"type":"cancel","id":"…","turn":7}
    {"type":"ping","n":1}    {"type":"pong","n":1}    the bare text `ping`    {"type":"auth","token":"…"}

A workflow decides how the server treats a line that arrives while a turn runs (`when_busy`):

- `queue` (the default): the line is acked and shown to all clients at once, and answered after the lines before it.
- `interrupt`: the line is acked and shown to all clients at once. The running turn ends in `turn_cancelled`; its text
  so far is kept and marked `cancelled`. Only the newest waiting line is answered: every other one ends in a
  `turn_cancelled` of its own.
- `reject`: the line is refused with the error `turn_running`. The client waits for the answer or cancels it, and sends
  the line again. Two lines that reach two processes at the same moment may both be accepted; they are answered in
  their order.

No asyncio, clock or randomness here: the caller passes ids and times.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from server.errors import ERROR_CODES, ErrorCode, ProtocolError
from server.records import Snapshot

CLIENT_ID_MAX_CHARS: Final = 64
#: The largest whole number that every client and every store can hold.
NUMBER_MAX: Final = 2**53 - 1


class Say(Struct, frozen=True):
    """A user's line, or a button that the user pressed."""

    client_id: str | None
    text: str
    action: str | None = None
    action_message_id: str | None = None


class Resume(Struct, frozen=True):
    """The client saw a gap and requests all events after `after` again."""

    after: int


class Cancel(Struct, frozen=True):
    """Stop the running turn."""

    client_id: str
    turn: int


class Ping(Struct, frozen=True):
    """The client's heartbeat. `bare` marks the builder's text `ping`, answered with the bare text `pong`."""

    n: int | None = None
    bare: bool = False


class Pong(Struct, frozen=True):
    """The answer to the server's ping. Like every inbound frame it shows that the client is alive."""


class Authenticate(Struct, frozen=True):
    """A fresh token."""

    token: str


Inbound = Say | Resume | Cancel | Ping | Pong | Authenticate


class _Action(Struct):
    action_id: str | None = None


class _Body(Struct):
    text: str | None = None
    action_value: str | None = None
    action_message_id: str | None = None
    handoff_idempotency_key: str | None = None
    frontend_actions: list[_Action] | None = None


class _Received(Struct):
    """All fields that the server reads from inbound frames; msgspec skips any other field."""

    type: str
    id: str | None = None
    data: _Body | None = None
    after: int | None = None
    turn: int | None = None
    n: int | None = None
    token: str | None = None


_decoder = msgspec.json.Decoder(_Received)


def parse(raw: str, *, frame_max_bytes: int, text_max_chars: int) -> Inbound:
    """Parse one inbound text frame. Raises ProtocolError with an error code and, where it is known, the client's id."""
    if raw == "ping":
        return Ping(bare=True)
    # A character has four bytes at most, so a short frame need not be encoded to be measured.
    if len(raw) * 4 > frame_max_bytes and len(raw.encode("utf-8", "surrogatepass")) > frame_max_bytes:
        raise ProtocolError(ErrorCode.TOO_LARGE)
    try:
        frame = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise ProtocolError(ErrorCode.INVALID_FRAME) from error
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise ProtocolError(ErrorCode.INVALID_JSON) from error
    match frame.type:
        case "user_message" | "user_input":
            return _say(frame, text_max_chars)
        case "resume":
            return Resume(after=_natural(frame.after, frame))
        case "cancel":
            return Cancel(client_id=_required_id(frame), turn=_natural(frame.turn, frame))
        case "ping":
            return Ping(n=frame.n)
        case "pong":
            return Pong()
        case "auth":
            if not frame.token:
                raise ProtocolError(ErrorCode.INVALID_FRAME, client_id=_safe_id(frame.id))
            return Authenticate(token=frame.token)
    raise ProtocolError(ErrorCode.UNKNOWN_TYPE, client_id=_safe_id(frame.id))


def _say(frame: _Received, text_max_chars: int) -> Say:
    body = frame.data or _Body()
    client_id = frame.id if frame.id is not None else body.handoff_idempotency_key
    if client_id is not None and not _is_id(client_id):
        raise ProtocolError(ErrorCode.INVALID_ID)
    action = body.action_value or None
    if action is None and body.frontend_actions:
        action = next((one.action_id for one in body.frontend_actions if one.action_id), None)
    text = (body.text or "").strip() or (action or "")
    if not text:
        raise ProtocolError(ErrorCode.EMPTY_TEXT, client_id=client_id)
    if len(text) > text_max_chars or len(action or "") > text_max_chars:
        raise ProtocolError(ErrorCode.TOO_LARGE, client_id=client_id)
    return Say(client_id=client_id, text=text, action=action, action_message_id=body.action_message_id or None)


def _required_id(frame: _Received) -> str:
    if frame.id is None or not _is_id(frame.id):
        raise ProtocolError(ErrorCode.INVALID_ID)
    return frame.id


def _is_id(text: str) -> bool:
    """Whether a text can be a client's message id: 1 to CLIENT_ID_MAX_CHARS characters, without a NUL."""
    return 1 <= len(text) <= CLIENT_ID_MAX_CHARS and "\0" not in text


def _safe_id(client_id: str | None) -> str | None:
    """The client's id for an error frame; None when it is not a valid id."""
    return client_id if client_id is not None and _is_id(client_id) else None


def _natural(number: int | None, frame: _Received) -> int:
    if number is None or not 0 <= number <= NUMBER_MAX:
        raise ProtocolError(ErrorCode.INVALID_FRAME, client_id=_safe_id(frame.id))
    return number


class Transient(Struct, frozen=True):
    """A frame that is not in the log. The deltas of a stream have the `message_id` of the message to come."""

    type: str
    payload: dict[str, Any]
    role: str = "system"
    message_id: str | None = None


@lru_cache(maxsize=64)  # events of one commit share few times, and log records use the same ones
def timestamp(ms: int) -> str:
    """UTC milliseconds as ISO 8601 with a literal `Z`: the existing builder cannot read `+00:00`."""
    return _second(ms // 1000) + _ENDS[ms % 1000]


_ENDS: Final = tuple(f".{ms:03d}Z" for ms in range(1000))


@lru_cache(maxsize=1024)  # frames of one second share it; a replay spans few seconds
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def error(code: ErrorCode, client_id: str | None = None, retry_ms: int | None = None) -> Transient:
    """The `error` frame of a refusal: the server stored nothing. `retry_ms` says when to try again."""
    row = ERROR_CODES[code]
    payload: dict[str, Any] = {"code": code, "id": client_id, "message": row.message, "temporary": row.temporary}
    if retry_ms is not None:
        payload["retry_ms"] = retry_ms
    return Transient("error", payload)


def status(
    turn: int, state: str, text: str, progress: int | None = None, estimated_time_s: int | None = None
) -> Transient:
    """The `status_update` frame of a turn. `state` is idle, thinking, generating, complete or error.

    `progress` is a percentage.
    """
    payload = {
        "status": state,
        "text": text,
        "progress": progress,
        "estimated_time": estimated_time_s,
        "turn": turn,
    }
    return Transient("status_update", payload, role="assistant")


def sync_response(
    action: str,
    snapshot: Snapshot,
    *,
    state: str,
    running: int | None,
    summary: dict[str, Any],
    heartbeat_ms: int,
    limits: dict[str, int],
) -> Transient:
    """The `sync_response` frame: the session's state at the start of a connection.

    `state` is the state's name in this client's dialect, `running` the turn that runs or None, `summary` the
    workflow's additional fields.
    """
    payload = {
        "action": action,
        "message_count": snapshot.visible,
        "current_state": state,
        "workflow": snapshot.workflow,
        "head": snapshot.seq,
        "running": running,
        **summary,
        "heartbeat_ms": heartbeat_ms,
        "limits": limits,
    }
    return Transient("sync_response", payload)
