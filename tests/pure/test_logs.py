"""A record in, one line out: its form, its level, and what it must not show."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from server.ops import logs

STANDARD = ("", "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is one thing for the whole process: what a test changes, it puts back."""
    loggers = [logging.getLogger(name) for name in STANDARD]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    structlog.reset_defaults()
    for logger, channels, level, propagate in before:
        logger.handlers[:] = channels
        logger.setLevel(level)
        logger.propagate = propagate


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault
        self.refused: list[str] = []

    def write(self, text: str) -> int:
        self.refused.append(text)
        raise self.fault


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(log: Any) -> None:
    """Log an IndexError."""
    try:
        list[int]().pop()
    except IndexError:
        log.exception("step_failed", session_id="s1")


def test_a_record_is_one_line_of_json_with_the_time_in_utc() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger().bind(session_id="s1").info("turn_committed", turn=7, odd=1j, event_text="\n")
    (record,) = records(stream)
    at = datetime.fromisoformat(record.pop("timestamp"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert record == {
        "event": "turn_committed",
        "level": "info",
        "session_id": "s1",
        "turn": 7,
        "odd": "1j",
        "event_text": "***",
    }


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_dropped(level: str, shown: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    log = structlog.get_logger()
    for method in (log.debug, log.info, log.warning, log.error):
        method("event")
    assert [record["level"] for record in records(stream)] == shown


def test_an_exception_is_in_the_record() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    fail(structlog.get_logger())
    (record,) = records(stream)
    assert record["level"] == "error"
    assert record["exception"].endswith("IndexError: pop from empty list")


def test_text_is_shown_at_debug_only_and_secrets_never() -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    log = structlog.get_logger()
    said = {
        "text": "hello",
        "payload": {"text": "hello"},
        "Authorization": "x",
        "api_key": "x",
        "token": "x",
        "keys": 2,
    }
    log.debug("frame", **said)
    log.info("frame", **said)
    log.error("frame", **said)
    at_debug, at_info, at_error = records(stream)
    hidden = {"Authorization": "***", "api_key": "***", "token": "***", "keys": 2}
    assert hidden.items() <= at_debug.items()
    assert (at_debug["text"], at_debug["payload"]) == ("hello", {"text": "hello"})
    for record in (at_info, at_error):
        assert {**hidden, "text": "***", "payload": "***"}.items() <= record.items()


@pytest.mark.parametrize("odd", [{1: "a number for a name"}, {"lone": "\ud800"}])
def test_what_the_quick_encoder_does_not_take_is_logged_all_the_same(odd: dict[object, str]) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger().info("opened", odd=odd)
    (record,) = records(stream)
    assert (record["event"], list(record["odd"].values())) == ("opened", list(odd.values()))


def test_standard_loggers_look_the_same_from_warning_on() -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    logging.getLogger("uvicorn.error").warning("slow %s", "peer")
    logging.getLogger("uvicorn.access").critical("GET /")
    fail(Standard(logging.getLogger("asyncio")))
    slow, failed = records(stream)
    assert (slow["event"], slow["level"], slow["logger"]) == ("slow peer", "warning", "uvicorn.error")
    assert (failed["event"], failed["logger"]) == ("step_failed", "asyncio")
    assert failed["exception"].endswith("IndexError: pop from empty list")
    assert slow.keys() == {"event", "level", "logger", "timestamp"}


class Standard:
    """A standard logger that is called like ours."""

    def __init__(self, logger: logging.Logger) -> None:
        self.exception = lambda event, **_: logger.exception(event)


def test_standard_loggers_are_quieter_where_we_are() -> None:
    stream = io.StringIO()
    logs.configure("error", "json", stream)
    logging.getLogger("uvicorn.error").warning("slow peer")
    assert stream.getvalue() == ""


def test_loggers_that_uvicorn_set_up_itself_are_taken_over() -> None:
    own, stream = io.StringIO(), io.StringIO()
    logger = logging.getLogger("uvicorn")
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    logs.configure("info", "json", stream)
    logging.getLogger("uvicorn.error").error("gone")
    assert own.getvalue() == ""
    assert [record["event"] for record in records(stream)] == ["gone"]


@pytest.mark.parametrize(
    ("stream", "fmt", "is_json", "coloured"),
    [
        (io.StringIO(), "auto", True, False),
        (io.StringIO(), "console", False, False),
        (Terminal(), "auto", False, True),
        (Terminal(), "json", True, False),
    ],
)
def test_the_format_suits_the_stream(stream: io.StringIO, fmt: str, is_json: bool, coloured: bool) -> None:
    logs.configure("info", fmt, stream)
    structlog.get_logger().info("started")
    assert stream.getvalue().startswith("{") is is_json
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_an_exception_is_shown_on_a_terminal() -> None:
    stream = Terminal()
    logs.configure("info", "console", stream)
    fail(structlog.get_logger())
    assert "IndexError: pop from empty list" in stream.getvalue()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")])
def test_a_log_that_cannot_be_written_stops_nothing(fault: Exception) -> None:
    stream = Broken(fault)
    logs.configure("info", "json", stream)
    structlog.get_logger().info("started")
    structlog.get_logger().warning("later")
    assert ["started" in stream.refused[0], "later" in stream.refused[-1]] == [True, True]


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().info("started")
    assert '"event":"started"' in capsys.readouterr().err
