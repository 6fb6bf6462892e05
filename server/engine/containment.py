"""What becomes of a session whose machine, or the performance of whose effects, raised: it must hurt no other.

The engine throws such a session out of memory. It is read again when something wants it, but not before a wait that
doubles each time (at most RETRY_MAX_MS); until then its senders are refused as if the server were busy. When it raises
again before it has got on by a turn, the line in turn is ended as failed, by a write that needs nothing of what broke.
At most RECORDS log records in RECORDS_MS are written of such sessions; `rescue.py` writes them.
"""

from collections import OrderedDict
from typing import Final

from server.errors import StepError
from server.records import SessionKey

RETRY_MAX_MS: Final = 60_000
RECORDS: Final = 20
RECORDS_MS: Final = 10_000
#: In the place of a version: the machine that raised had no snapshot yet; the store could not read the session.
UNKNOWN: Final = -1
UNREAD: Final = -2
_REASON_CHARS: Final = 500
_MESSAGE_CHARS: Final = 4_000


class Trouble:
    """A session that raised: at which `version` (or UNKNOWN, or UNREAD), how many `times`, and until when it rests."""

    __slots__ = ("correlation_id", "times", "until_ms", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.times = 0
        self.until_ms = 0
        self.correlation_id = ""


class Containment:
    """The sessions in trouble, at most `limit` of them: beyond that, the one that raised the longest ago is forgotten.

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
        """The session's trouble, if it is in any."""
        return self._troubles.get(key)

    def note(self, key: SessionKey, version: int, now_ms: int) -> Trouble:
        """It raised once more; one that has got on since then begins anew."""
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
        """Whether it is too early to wake it."""
        trouble = self._troubles.get(key)
        return trouble is not None and now_ms < trouble.until_ms

    def settle(self, key: SessionKey) -> None:
        """A turn of it ended well, or was ended."""
        self._troubles.pop(key, None)

    def admit_record(self, now_ms: int) -> int | None:
        """Whether one more record may go to the log: how many were left out since the one before, else None."""
        if now_ms - self._window_ms >= RECORDS_MS or now_ms < self._window_ms:
            self._window_ms, self._records = now_ms, 0
        self._records += 1
        if self._records > RECORDS:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


def describe(error: BaseException) -> str:
    """What went wrong in one bounded line: the text of a StepError, or the type name of any other exception."""
    return str(error)[:_REASON_CHARS] if isinstance(error, StepError) else type(error).__name__


def brief(error: BaseException) -> BaseException:
    """The exception for a traceback in the log; one whose message is very long, or cannot be told, without it."""
    try:
        length = len(str(error))
    except BaseException as broken:  # noqa: BLE001  foreign code again, and at the worst moment
        return _stand_in(error, f"and its message cannot be told: {type(broken).__name__}")
    return error if length <= _MESSAGE_CHARS else _stand_in(error, f"with a message of {length} characters")


def _stand_in(error: BaseException, what: str) -> BaseException:
    return RuntimeError(f"{type(error).__name__}, {what}").with_traceback(error.__traceback__)
