"""Keeps count of the sessions that raised, in the machine or in an effect, so that they disturb no other session.

The engine evicts such a session. It may be woken again after a wait that doubles with each fault (at most
RETRY_MAX_MS); until then requests to it are refused with the code for a busy server. When it raises again before it
has committed a turn, `rescue.py` ends the line in turn as failed, with a write that needs nothing of the machine's
turn or the step's output. It also writes the log records of such sessions, at most RECORDS in RECORDS_MS.
"""

from collections import OrderedDict
from typing import Final

from server.errors import StepError
from server.records import SessionKey

RETRY_MAX_MS: Final = 60_000
RECORDS: Final = 20
RECORDS_MS: Final = 10_000
#: Instead of a version. UNKNOWN: the machine had no snapshot when it raised; UNREAD: the store cannot read the session.
UNKNOWN: Final = -1
UNREAD: Final = -2
_REASON_CHARS: Final = 500
_MESSAGE_CHARS: Final = 4_000


class Trouble:
    """A session that raised `times` times at `version` (or UNKNOWN, or UNREAD), and rests until `until_ms` (UTC)."""

    __slots__ = ("correlation_id", "times", "until_ms", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.times = 0
        self.until_ms = 0
        self.correlation_id = ""


class Containment:
    """The sessions in trouble, at most `limit`; above that, the one whose last fault is the oldest is forgotten.

    Times are UTC ms; `retry_ms` is the first wait.
    """

    def __init__(self, *, limit: int, retry_ms: int) -> None:
        self._limit = limit
        self._retry_ms = max(1, retry_ms)
        self._troubles: OrderedDict[SessionKey, Trouble] = OrderedDict()
        self._window_ms = self._records = self._left_out = 0

    def __len__(self) -> int:
        return len(self._troubles)

    def get(self, key: SessionKey) -> Trouble | None:
        """The session's trouble, or None."""
        return self._troubles.get(key)

    def note(self, key: SessionKey, version: int, now_ms: int) -> Trouble:
        """Count one more fault and set the wait. The count restarts if the session is at another version."""
        trouble = self._troubles.pop(key, None)
        if trouble is None or (trouble.version not in (version, UNKNOWN) and version != UNKNOWN):
            trouble = Trouble(version)
        trouble.version = max(version, trouble.version)
        trouble.times += 1
        trouble.until_ms = now_ms + min(self._retry_ms * 2 ** min(trouble.times - 1, 16), RETRY_MAX_MS)
        self._troubles[key] = trouble
        if len(self._troubles) > self._limit:
            self._troubles.popitem(last=False)
        return trouble

    def is_resting(self, key: SessionKey, now_ms: int) -> bool:
        """Whether the session must not be woken yet."""
        trouble = self._troubles.get(key)
        return trouble is not None and now_ms < trouble.until_ms

    def settle(self, key: SessionKey) -> None:
        """Forget the session's trouble: a turn was committed, or the broken one was ended."""
        self._troubles.pop(key, None)

    def admit_record(self, now_ms: int) -> int | None:
        """Ask to write one log record. Returns how many were suppressed since the last one; None: suppress this one."""
        if now_ms - self._window_ms >= RECORDS_MS or now_ms < self._window_ms:
            self._window_ms, self._records = now_ms, 0
        self._records += 1
        if self._records > RECORDS:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


def describe(error: BaseException) -> str:
    """The reason in at most 500 characters: the text of a StepError, or the type name of any other exception."""
    return str(error)[:_REASON_CHARS] if isinstance(error, StepError) else type(error).__name__


def brief(error: BaseException) -> BaseException:
    """The exception for a traceback in the log; a stand-in if its message is too long or `str` of it raises."""
    try:
        length = len(str(error))
    except BaseException as broken:  # noqa: BLE001  `__str__` is foreign code too
        return _stand_in(error, f"and its message cannot be told: {type(broken).__name__}")
    return error if length <= _MESSAGE_CHARS else _stand_in(error, f"with a message of {length} characters")


def _stand_in(error: BaseException, what: str) -> BaseException:
    return RuntimeError(f"{type(error).__name__}, {what}").with_traceback(error.__traceback__)
