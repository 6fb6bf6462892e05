"""What can go wrong between us and a vendor: one exception, with a stable code.

The vendors' own words stay outside: they can hold what a person wrote, and an exception reaches the log.
"""

from enum import StrEnum
from typing import Final

from server.assistant import Usage
from server.errors import ErrorCode, StepError


class Fault(StrEnum):
    """What went wrong; the value is the code of ERROR_CODES that reaches the person."""

    #: Too many calls; the vendor says when to come back, or does not.
    RATE_LIMITED = ErrorCode.ASSISTANT_RATE_LIMITED
    #: The vendor's content policy forbids the question or the answer.
    REFUSED = ErrorCode.ASSISTANT_REFUSED
    #: The prompt is longer than the model's context.
    TOO_LONG = ErrorCode.ASSISTANT_TOO_LONG
    #: The key is wrong, or its account has no credit left. Only the operator can mend it.
    UNAUTHORISED = ErrorCode.ASSISTANT_UNAUTHORISED
    #: The vendor does not take the call as it is: no such model, a parameter that it does not know. For the operator.
    REJECTED = ErrorCode.ASSISTANT_REJECTED
    #: No connection, a failure at the vendor's, an answer that broke off; or the breaker is open.
    UNREACHABLE = ErrorCode.ASSISTANT_UNREACHABLE
    #: The vendor sent what is not its own format.
    MALFORMED = ErrorCode.ASSISTANT_MALFORMED
    #: The call's deadline has passed.
    TIMEOUT = ErrorCode.ASSISTANT_TIMEOUT


#: After these the same call can succeed later.
TEMPORARY: Final = frozenset({Fault.RATE_LIMITED, Fault.UNREACHABLE, Fault.MALFORMED, Fault.TIMEOUT})


class AssistantError(StepError):
    """A call to a vendor failed. `code` is the fault's value.

    `retry_after_ms` is what the vendor (or the breaker) asks to wait. `streamed` says whether a part of the answer was
    already given out: then another attempt must replace it. `usage` is what the call took all the same, if that is
    known. The text names the fault, never what anybody wrote.
    """

    def __init__(
        self,
        fault: Fault,
        reason: str,
        *,
        retry_after_ms: int | None = None,
        streamed: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(ErrorCode(fault), reason)
        self.fault = fault
        self.retry_after_ms = retry_after_ms
        self.streamed = streamed
        self.usage = usage
