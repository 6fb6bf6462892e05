"""Logs: how records look and what they never show.

One line per record on one stream, JSON for machines or coloured text for a terminal, with the time in UTC. Records of
the standard library's loggers (uvicorn's, asyncio's) look the same as ours; they speak from warning on.

    logger = structlog.get_logger()
    log = logger.bind(session_id=..., user_id=...)      # bind ids once, where they become known
    log.info("turn_committed", turn=7, commit_ms=3)
"""

import asyncio
import atexit
import json
import logging
import sys
from functools import lru_cache
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from server.clock import now_ms
from server.wire.protocol import timestamp

#: A field is named by the last word of its name: `api_key` is a key.
NEVER_SHOWN: Final = frozenset({"token", "key", "authorization", "password", "cookie"})
#: Fields with the text of messages: shown at debug only.
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
    render = _console(stream) if on_terminal else [structlog.processors.format_exc_info, render_json]
    lines = LogStream(stream)
    atexit.register(lines.flush)
    wrapper = structlog.make_filtering_bound_logger(least)
    structlog.configure(
        processors=[stamp, *render],
        wrapper_class=wrapper if on_terminal or least > logging.INFO else _quickly(wrapper),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[stamp, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    _take_over_standard_loggers(formatter, stream, max(least, logging.WARNING))


class LogStream:
    """A stream that takes one line at a time. A log that cannot be written must not break a turn.

    Inside an event loop, records below a warning are written at the end of the loop's present iteration, many at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._flushing: asyncio.AbstractEventLoop | None = None  # the loop that will flush soon

    def write(self, line: str) -> None:
        """Write the waiting lines and this one now."""
        self._lines.append(line)
        self.flush()

    def write_soon(self, line: str) -> None:
        """Write one line together with others at the end of this loop iteration; now where no loop runs."""
        self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if loop is not self._flushing:
            self._flushing = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write the waiting lines. A full disk, a closed pipe or a character that cannot be encoded loses lines."""
        lines, self._lines, self._flushing = self._lines, [], None
        if not self._write("".join([f"{line}\n" for line in lines])) and len(lines) > 1:
            for line in lines:
                self._write(f"{line}\n")

    def _write(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True

    debug = info = write_soon
    warning = error = critical = write


def stamp(_logger: WrappedLogger, method: str, record: EventDict) -> EventDict:
    """Add level and time to a record and remove secrets; above debug, also remove the text of messages.

    One processor for all three, because there is a record of every turn.
    """
    record["level"] = method
    record["timestamp"] = timestamp(now_ms())
    for name in _hidden(tuple(record), method == "debug"):
        record[name] = HIDDEN
    return record


@lru_cache(maxsize=1024)
def _hidden(names: tuple[str, ...], at_debug: bool) -> tuple[str, ...]:
    """Which of a record's fields must not be shown."""
    never = NEVER_SHOWN if at_debug else NEVER_SHOWN | SHOWN_AT_DEBUG
    return tuple(name for name in names if name.lower().rpartition("_")[2] in never)


def render_json(_logger: WrappedLogger, _method: str, record: EventDict) -> str:
    """Encode a record as JSON: with msgspec, which is faster, or else with the standard library."""
    try:
        return _encoder.encode(record).decode()
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, a key that is no text
        return json.dumps(record, default=repr, skipkeys=True)


def _quickly(wrapper: Any) -> Any:
    """A logger whose `info` skips structlog's processors: three times cheaper, used once a turn."""

    class Quick(wrapper):  # type: ignore[misc]  # structlog makes the class at run time
        def info(self, event: str, **fields: Any) -> None:
            record = stamp(self._logger, "info", {**self._context, **fields, "event": event})
            if "exc_info" in record:
                super().info(**record)
            else:
                self._logger.write_soon(render_json(self._logger, "info", record))

    return Quick


def _console(stream: TextIO) -> list[Processor]:
    # Plain tracebacks: the coloured ones show local variables, which hold the text of messages.
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
