"""The exception tree, the error codes of the wire, and the close codes.

    RejoinderError
    ├── ConfigError         the environment is wrong; raised at start, has every complaint
    ├── WorkflowError       a workflow's table is wrong; raised when it is imported
    ├── ProtocolError       the server refuses a frame of the client; has its error code
    ├── StepError           a step cannot answer; has its error code
    └── StoreError
        ├── StoreUnavailable   temporary: the outcome is unknown or nothing was written; try again
        ├── SessionUnreadable         stored data is damaged; trying again cannot help
        ├── InvalidWrite       a write has values that cannot be stored; trying again cannot help
        └── StoreClosed        the store was used after close

Expected outcomes (a duplicate, a conflict, a session that does not exist) are values, not exceptions.
"""

from enum import IntEnum, StrEnum
from typing import Final, NamedTuple


class ErrorCode(StrEnum):
    """Every `code` that an `error` frame, a `turn_failed` frame or an HTTP problem can carry."""

    INVALID_JSON = "invalid_json"
    INVALID_FRAME = "invalid_frame"
    BINARY_FRAME = "binary_frame"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    EMPTY_TEXT = "empty_text"
    INVALID_ID = "invalid_id"
    ID_REUSE = "id_reuse"
    STALE_ACTION = "stale_action"
    NOT_RUNNING = "not_running"
    INBOX_FULL = "inbox_full"
    TURN_RUNNING = "turn_running"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    STORE_UNAVAILABLE = "store_unavailable"
    DRAINING = "draining"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    ORIGIN_REFUSED = "origin_refused"
    AUTH_NOT_ENABLED = "auth_not_enabled"
    STEP_FAILED = "step_failed"
    STEP_TIMEOUT = "step_timeout"
    TURN_BROKEN = "turn_broken"
    PAGE_BROKEN = "page_broken"
    SESSION_UNREADABLE = "session_unreadable"
    ANSWER_TOO_LARGE = "answer_too_large"
    ASSISTANT_RATE_LIMITED = "assistant_rate_limited"
    ASSISTANT_REFUSED = "assistant_refused"
    ASSISTANT_TOO_LONG = "assistant_too_long"
    ASSISTANT_UNAUTHORISED = "assistant_unauthorised"
    ASSISTANT_REJECTED = "assistant_rejected"
    ASSISTANT_UNREACHABLE = "assistant_unreachable"
    ASSISTANT_MALFORMED = "assistant_malformed"
    ASSISTANT_TIMEOUT = "assistant_timeout"


class ErrorRow(NamedTuple):
    """One row of the table of error codes: whether trying again can help, and the message for a person."""

    temporary: bool
    message: str


#: Error code → whether it is temporary, and its message for a person.
ERROR_CODES: Final[dict[str, ErrorRow]] = {
    ErrorCode.INVALID_JSON: ErrorRow(False, "That was not valid JSON."),
    ErrorCode.INVALID_FRAME: ErrorRow(False, "That frame does not have the expected form."),
    ErrorCode.BINARY_FRAME: ErrorRow(False, "Only text frames are understood."),
    ErrorCode.UNKNOWN_TYPE: ErrorRow(False, "That frame type is unknown."),
    ErrorCode.TOO_LARGE: ErrorRow(False, "That was too long. Please send a shorter message."),
    ErrorCode.EMPTY_TEXT: ErrorRow(False, "There was no text in that message."),
    ErrorCode.INVALID_ID: ErrorRow(False, "A message id has 1 to 64 characters."),
    ErrorCode.ID_REUSE: ErrorRow(False, "That message id was used before, for a different message."),
    ErrorCode.STALE_ACTION: ErrorRow(False, "That choice is no longer open."),
    ErrorCode.NOT_RUNNING: ErrorRow(False, "There is nothing to cancel: that answer is already complete."),
    ErrorCode.INBOX_FULL: ErrorRow(True, "There are too many unanswered messages. Please wait a moment."),
    ErrorCode.TURN_RUNNING: ErrorRow(
        True, "An answer is still on its way. Please wait for it or stop it, then send your message again."
    ),
    ErrorCode.RATE_LIMITED: ErrorRow(True, "That was too fast. Please wait a moment."),
    ErrorCode.OVERLOADED: ErrorRow(True, "The server is busy. Please try again in a moment."),
    ErrorCode.STORE_UNAVAILABLE: ErrorRow(True, "Your message could not be saved. Please try again in a moment."),
    ErrorCode.DRAINING: ErrorRow(True, "The server is restarting. Please try again in a moment."),
    ErrorCode.NOT_FOUND: ErrorRow(False, "There is no such conversation."),
    ErrorCode.BAD_REQUEST: ErrorRow(False, "That request does not have the expected form."),
    ErrorCode.ORIGIN_REFUSED: ErrorRow(False, "Pages of that site may not connect here."),
    ErrorCode.AUTH_NOT_ENABLED: ErrorRow(False, "This server does not use tokens."),
    ErrorCode.STEP_FAILED: ErrorRow(True, "Something went wrong while I was working on that. Please try again."),
    ErrorCode.STEP_TIMEOUT: ErrorRow(True, "That took too long, so I stopped. Please try again."),
    ErrorCode.TURN_BROKEN: ErrorRow(
        True, "Something went wrong while I was working on that, and it was noted. Please try again."
    ),
    ErrorCode.PAGE_BROKEN: ErrorRow(False, "This page cannot be shown. Please tell the operator of this service."),
    ErrorCode.SESSION_UNREADABLE: ErrorRow(
        True, "This conversation cannot be read just now. Please tell the operator of this service."
    ),
    ErrorCode.ANSWER_TOO_LARGE: ErrorRow(
        False, "My answer became too large, so I stopped. Please ask for less at once."
    ),
    ErrorCode.ASSISTANT_RATE_LIMITED: ErrorRow(
        True, "The assistant has too much to do just now. Please try again in a moment."
    ),
    ErrorCode.ASSISTANT_REFUSED: ErrorRow(False, "The assistant will not answer that. Please put it differently."),
    ErrorCode.ASSISTANT_TOO_LONG: ErrorRow(False, "That is too long for the assistant. Please send less at once."),
    ErrorCode.ASSISTANT_UNAUTHORISED: ErrorRow(
        False, "The assistant is not set up correctly. Please tell the operator of this service."
    ),
    ErrorCode.ASSISTANT_REJECTED: ErrorRow(
        False, "The assistant could not take that. Please tell the operator of this service."
    ),
    ErrorCode.ASSISTANT_UNREACHABLE: ErrorRow(
        True, "The assistant is not reachable just now. Please try again in a moment."
    ),
    ErrorCode.ASSISTANT_MALFORMED: ErrorRow(True, "The assistant's answer could not be read. Please try again."),
    ErrorCode.ASSISTANT_TIMEOUT: ErrorRow(True, "The assistant took too long, so I stopped. Please try again."),
}


def describe_problem(status: int, code: ErrorCode, detail: str = "") -> dict[str, str | int]:
    """The body of an HTTP refusal, as `application/problem+json` (RFC 9457) with the wire's code."""
    title = ERROR_CODES[code].message
    return {"title": title, "status": status, "code": code, "detail": detail or title}


class CloseCode(IntEnum):
    """Why a socket is closed; the range says what the client does.

    4000–4099 do not come back unchanged, 4100–4199 back off and resume, 4200–4299 resume at once with jitter.
    """

    PROTOCOL_VIOLATION = 4000
    UNAUTHENTICATED = 4001
    NOT_FOUND = 4003
    SESSION_ENDED = 4009
    VERSION = 4010
    TOO_LARGE = 4013
    INTERNAL = 4100
    OVERLOADED = 4101
    RATE_LIMITED = 4102
    STORE_UNAVAILABLE = 4103
    NO_HANDSHAKE = 4108
    HEARTBEAT_LOST = 4109
    DRAIN = 4200
    SLOW_CONSUMER = 4201
    TOKEN_EXPIRED = 4202
    INSUFFICIENT_STATE = 4203


class RejoinderError(Exception):
    """Root of every exception that this server raises on purpose."""


class ConfigError(RejoinderError):
    """The environment is wrong. `complaints` lists every mistake, so that one start shows all of them."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class WorkflowError(RejoinderError):
    """A workflow's table is wrong. `complaints` lists every mistake, so that one start shows all of them.

    `workflow` is the name of the workflow, None where the complaints are about several and name them.
    """

    def __init__(self, workflow: str | None, complaints: list[str]) -> None:
        super().__init__("\n".join([f"workflow {workflow!r}:", *complaints] if workflow is not None else complaints))
        self.workflow = workflow
        self.complaints = complaints


class ProtocolError(RejoinderError):
    """The server refuses a frame of the client; nothing was stored."""

    def __init__(self, code: ErrorCode, *, client_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.client_id = client_id


class StepError(RejoinderError):
    """A step cannot answer. `code` reaches the user; the text goes to the log only."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class StoreError(RejoinderError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or refused the work; trying the same write again is safe."""


class SessionUnreadable(StoreError):
    """Stored data is damaged and cannot be read. It exists, so the server never reports it as "not found"."""


class InvalidWrite(StoreError):
    """A write has a value that cannot be stored (a lone surrogate, an object that is not JSON)."""


class StoreClosed(StoreError):
    """The store was used after it was closed."""
