"""What the log tells of a turn: one record a turn, one more when it moved the state."""

from collections.abc import Mapping
from typing import Any

import structlog

from server import signals
from server.assistant.account import BESIDE
from server.broker import Key
from server.metrics import Figures
from server.session import Session
from server.stamps import now_ms
from server.store.records import Committed, Event

log = structlog.get_logger()


class TurnTimes:
    """The times of one session's turns: to the ack, in the step, to the commit."""

    __slots__ = ("_acked_after_ms", "_figures", "_started_ms", "_stepped_ms")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._started_ms = self._stepped_ms = 0
        self._acked_after_ms: dict[int, int] = {}

    def step_started(self) -> None:
        """The step of a turn begins."""
        self._started_ms = now_ms()

    def watch(self, key: Key, machine: Session, received: signals.Input) -> None:
        """Take the times of an input that is about to be delivered; log the turn that it makes durable."""
        match received:
            case signals.Message():
                pass
            case signals.Appended(message, Committed(events, _)):
                self._acked_after_ms[events[-1].seq] = now_ms() - message.now_ms
            case signals.Done() | signals.Failed() | signals.Cancel() | signals.Interrupted() | signals.AtOnce():
                self._stepped_ms = now_ms()
            case signals.TurnCommitted(run, Committed(events, version)):
                running = machine.running
                if running is not None and running.run == run:
                    if running.message is not None:
                        self._acked_after_ms[running.turn] = now_ms() - running.message.now_ms
                    self._log(key, machine.workflow.name, running.attempt, events, version)
            case _:
                pass

    def _log(self, key: Key, workflow: str, attempts: int, events: tuple[Event, ...], version: int) -> None:
        ended = events[-1].payload
        # A line that another process answered leaves its time behind; turns are answered in order.
        turn = events[-1].turn
        acked_after_ms = self._acked_after_ms.get(turn)
        self._acked_after_ms = {line: ms for line, ms in self._acked_after_ms.items() if line > turn}
        outcome = _outcome(events)
        record = {
            "ack_ms": acked_after_ms,
            "step_ms": max(0, self._stepped_ms - self._started_ms),
            "commit_ms": max(0, now_ms() - self._stepped_ms),
            **_about_calls(ended),
        }
        if turn:  # a greeting answers nobody
            self._figures.count(workflow, outcome, record)
        if acked_after_ms is None:  # another process took the line
            record["ack_ms"] = 0
        log.info(
            "turn",
            session_id=key[1],
            user_id=key[0],
            turn=turn,
            from_state=ended["from"],
            to_state=ended["to"],
            intent=ended["intent"],
            outcome=outcome,
            attempts=attempts,
            **record,
        )
        if ended["from"] != ended["to"]:
            log.info("state_persisted", session_id=key[1], user_id=key[0], state=ended["to"], version=version)


def _about_calls(ended: Mapping[str, Any]) -> dict[str, Any]:
    """What the turn's calls to a model took, and the window of the last one for the answer; nothing without a call."""
    if "usage" not in ended:
        return {}
    usage, trace = ended["usage"], ended["trace"]
    last = ([entry for entry in trace if entry["name"] not in BESIDE] or trace)[-1]
    told = ("model", "input_tokens", "output_tokens", "cost_micro_usd", "calls", "first_token_ms")
    window = {f"window_{name}": last[name] for name in ("messages", "chars", "tokens")}
    return {**{name: usage[name] for name in told}, **window, "call_attempts": usage["attempts"]}


def _outcome(events: tuple[Event, ...]) -> str:
    for event in events:
        if event.type == "turn_cancelled":
            return str(event.payload.get("reason", "cancelled"))
    return "failed" if any(event.type == "turn_failed" for event in events) else "answered"
