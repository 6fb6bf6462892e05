"""From pydantic-ai's exceptions to our faults. Imports pydantic-ai: only `model` may import it, and lazily."""

from typing import Final

from pydantic_ai import exceptions as theirs

from server.assistant.errors import Fault

#: The first that fits counts: the more special ones stand before the more general.
_FAULTS: Final[tuple[tuple[type[theirs.AgentRunError], Fault], ...]] = (
    (theirs.ModelRequestTimeout, Fault.TIMEOUT),
    (theirs.ModelTimeoutError, Fault.TIMEOUT),
    (theirs.ModelRateLimitError, Fault.RATE_LIMITED),
    (theirs.ModelQuotaExceededError, Fault.UNAUTHORISED),  # no credit: waiting does not help
    (theirs.ModelAuthenticationError, Fault.UNAUTHORISED),
    (theirs.ModelContextWindowExceededError, Fault.TOO_LONG),
    (theirs.ModelRequestRejectedError, Fault.REJECTED),
    (theirs.ContentFilterError, Fault.REFUSED),
    (theirs.ModelAPIError, Fault.UNREACHABLE),  # no connection, 5xx, an error in the stream
)
#: Codes with which a vendor rejects a prompt for what it says, not for its form.
_POLICY: Final = frozenset({"content_policy_violation", "content_filter", "invalid_prompt", "moderation_blocked"})
#: Anthropic says it in words only.
_POLICY_WORDS: Final = "content filtering policy"
_LONGEST_WORD: Final = 60


def describe(error: theirs.AgentRunError) -> tuple[Fault, str, int | None]:
    """The fault, what the log may say of it, and the wait that the vendor asks for (ms), if any.

    The reason holds the exception's name, the HTTP status and the vendor's own code, never the vendor's sentences.
    """
    fault = next((fault for kind, fault in _FAULTS if isinstance(error, kind)), Fault.MALFORMED)
    words = [type(error).__name__.lstrip("_")]
    if not isinstance(error, theirs.ModelAPIError):
        return fault, words[0], None
    if fault is Fault.REJECTED and _is_policy(error):
        fault = Fault.REFUSED
    if fault is Fault.UNREACHABLE and isinstance(error.__cause__, ValueError):
        fault = Fault.MALFORMED  # the SDK could not decode what came (json.JSONDecodeError, UnicodeDecodeError)
    if isinstance(error, theirs.ModelHTTPError):
        words.append(f"status {error.status_code}")
    if isinstance(error, theirs.ModelConnectionError) and error.phase:
        words.append(f"at {error.phase}")
    words += [_word(code) for code in (error.provider_error_code, error.provider_error_type) if code]
    retry_after_ms = round(error.retry_after * 1000) if error.retry_after is not None else None
    return fault, ", ".join(words), retry_after_ms


def _is_policy(error: theirs.ModelAPIError) -> bool:
    codes = {error.provider_error_code, error.provider_error_type}
    return bool(_POLICY & codes) or _POLICY_WORDS in str(error.body).lower()


def _word(code: str) -> str:
    """A vendor's code, if it is one: short, and nothing but a name."""
    return code if len(code) <= _LONGEST_WORD and code.replace("_", "").replace(".", "").isalnum() else "?"
