"""What can go wrong: the exception tree, the wire's error codes, the close codes.

    RejoinderError
    ├── ConfigError         the environment is wrong; raised at start, carries every complaint
    ├── WorkflowError       a workflow's table is wrong; raised when it is imported
    ├── ProtocolError       the peer sent something we refuse; carries its error code
    ├── StepError           a step cannot answer; carries its error code
    └── StoreError
        ├── StoreUnavailable   temporary: the outcome is unknown or nothing was done, try again
        ├── InvalidWrite       a write holds what cannot be stored; trying again cannot help
        └── StoreClosed        the store was used after close

Expected outcomes (a duplicate, a conflict, a session that does not exist) are values, not exceptions.
"""

from enum import IntEnum
from typing import Final, NamedTuple


class ErrorCode(NamedTuple):
    """One row of the table of error codes: whether trying again can help, and what to tell a person."""

    temporary: bool
    message: str


#: Every `code` that an `error` frame, a `turn_failed` frame or an HTTP problem can carry.
ERROR_CODES: Final[dict[str, ErrorCode]] = {
    "invalid_json": ErrorCode(False, "That was not valid JSON."),
    "invalid_frame": ErrorCode(False, "That frame does not have the expected form."),
    "binary_frame": ErrorCode(False, "Only text frames are understood."),
    "unknown_type": ErrorCode(False, "That frame type is unknown."),
    "too_large": ErrorCode(False, "That was too long. Please send a shorter message."),
    "empty_text": ErrorCode(False, "There was no text in that message."),
    "invalid_id": ErrorCode(False, "A message id has 1 to 64 characters."),
    "id_reuse": ErrorCode(False, "That message id was used before, for a different message."),
    "stale_action": ErrorCode(False, "That choice is no longer open."),
    "not_running": ErrorCode(False, "There is nothing to cancel: that answer is already complete."),
    "inbox_full": ErrorCode(True, "There are too many unanswered messages. Please wait a moment."),
    "turn_running": ErrorCode(
        True, "An answer is still on its way. Please wait for it or stop it, then send your message again."
    ),
    "rate_limited": ErrorCode(True, "That was too fast. Please wait a moment."),
    "overloaded": ErrorCode(True, "The server is busy. Please try again in a moment."),
    "store_unavailable": ErrorCode(True, "Your message could not be saved. Please try again in a moment."),
    "draining": ErrorCode(True, "The server is restarting. Please try again in a moment."),
    "not_found": ErrorCode(False, "There is no such conversation."),
    "bad_request": ErrorCode(False, "That request does not have the expected form."),
    "origin_refused": ErrorCode(False, "Pages of that site may not connect here."),
    "auth_not_enabled": ErrorCode(False, "This server does not use tokens."),
    "step_failed": ErrorCode(True, "Something went wrong while I was working on that. Please try again."),
    "step_timeout": ErrorCode(True, "That took too long, so I stopped. Please try again."),
    "answer_too_large": ErrorCode(False, "My answer became too large, so I stopped. Please ask for less at once."),
    "assistant_rate_limited": ErrorCode(
        True, "The assistant has too much to do just now. Please try again in a moment."
    ),
    "assistant_refused": ErrorCode(False, "The assistant will not answer that. Please put it differently."),
    "assistant_too_long": ErrorCode(False, "That is too long for the assistant. Please send less at once."),
    "assistant_unauthorised": ErrorCode(
        False, "The assistant is not set up correctly. Please tell whoever runs this service."
    ),
    "assistant_rejected": ErrorCode(False, "The assistant could not take that. Please tell whoever runs this service."),
    "assistant_unreachable": ErrorCode(True, "The assistant is not reachable just now. Please try again in a moment."),
    "assistant_malformed": ErrorCode(True, "The assistant's answer could not be read. Please try again."),
    "assistant_timeout": ErrorCode(True, "The assistant took too long, so I stopped. Please try again."),
}


def describe_problem(status: int, code: str, detail: str = "") -> dict[str, str | int]:
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
    """The environment is wrong. `complaints` lists everything that is, so that one start shows all of it."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class WorkflowError(RejoinderError):
    """A workflow's table is wrong. `complaints` lists everything that is, so that one start shows all of it.

    `workflow` is the name of the workflow, None where the complaints are about several and name them.
    """

    def __init__(self, workflow: str | None, complaints: list[str]) -> None:
        super().__init__("\n".join([f"workflow {workflow!r}:", *complaints] if workflow is not None else complaints))
        self.workflow = workflow
        self.complaints = complaints


class ProtocolError(RejoinderError):
    """The peer sent something that we refuse; nothing was stored."""

    def __init__(self, code: str, *, client_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.client_id = client_id


class StepError(RejoinderError):
    """A step cannot answer. `code` is one of ERROR_CODES and reaches the user; the text goes to the log only."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class StoreError(RejoinderError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or refused the work; trying the same write again is safe."""


class InvalidWrite(StoreError):
    """A write holds something that cannot be stored (a lone surrogate, an object that is not JSON)."""


class StoreClosed(StoreError):
    """The store was used after it was closed."""
