"""Logs: how records look and what they never show.

One line per record on one stream, JSON for machines or coloured text for a terminal, with the time in UTC. Records of
the standard library's loggers (uvicorn's, asyncio's) look the same as ours; they speak from warning on.

    logger = structlog.get_logger()
    log = logger.bind(session_id=..., user_id=...)      # bind ids once, where they become known
    log.info("turn_committed", turn=7, commit_ms=3)
"""

import json
import logging
import sys
from functools import lru_cache
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: A field is named by the last word of its name: `api_key` is a key.
NEVER_SHOWN: Final = frozenset({"token", "key", "authorization", "password", "cookie"})
#: What people write: for debugging only.
SHOWN_AT_DEBUG: Final = frozenset({"text", "payload"})
HIDDEN: Final = "***"
QUIET: Final = logging.CRITICAL + 1
_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


def configure(level: str = "info", fmt: str = "auto", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr), from `level` on, as `json` or `console`; `auto` is console on a terminal.

    For the whole process, and before the first record. uvicorn must be told `log_config=None` and no level of its own.
    """
    stream = stream or sys.stderr
    on_terminal = fmt == "console" or (fmt == "auto" and stream.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide,
    ]
    render = _console(stream) if on_terminal else _json()
    structlog.configure(
        processors=[*common, *render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: LogStream(stream),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    _take_over_standard_loggers(formatter, stream, max(least, logging.WARNING))


class LogStream:
    """A stream that takes one line at a time. A log that cannot be written must not take a turn with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write and flush one line; a full disk, a closed pipe or an odd character loses it."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = write


def hide(_logger: WrappedLogger, method: str, record: EventDict) -> EventDict:
    """A record without secrets; above debug also without what people wrote."""
    at_debug = method == "debug"
    for name in record:
        if _is_hidden(name, at_debug):
            record[name] = HIDDEN
    return record


@lru_cache(maxsize=1024)
def _is_hidden(name: str, at_debug: bool) -> bool:
    last = name.lower().rpartition("_")[2]
    return last in NEVER_SHOWN or (last in SHOWN_AT_DEBUG and not at_debug)


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_serialize)]


def _serialize(record: EventDict, **_: Any) -> str:
    """JSON by msgspec, which is several times as fast; by the standard library what msgspec does not take."""
    try:
        return _encoder.encode(record).decode()
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, a key that is no text
        return json.dumps(record, default=repr, skipkeys=True)


def _console(stream: TextIO) -> list[Processor]:
    # Plain tracebacks: the coloured ones show local variables, and with them what people wrote.
    plain: Any = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]


def _take_over_standard_loggers(formatter: logging.Formatter, stream: TextIO, least: int) -> None:
    channel = logging.StreamHandler(stream)
    channel.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [channel]
    root.setLevel(least)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # We write a record per connection and per turn; the access log would say it again.
    logging.getLogger("uvicorn.access").setLevel(QUIET)
