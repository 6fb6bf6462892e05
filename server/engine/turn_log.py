"""What the log tells of a turn: one record a turn, one more when it moved the state."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from server.engine.account import BESIDE
from server.machines import inputs
from server.machines.session import Session
from server.ops.metrics import Figures
from server.records import Committed, Event, EventType, SessionKey

log = structlog.get_logger()

#: The intents of turns that did not come to an answer; a workflow's own may have such a name.
_CUT_SHORT: Final = frozenset({"Cancelled", "Failed"})
#: The inputs that end a step, and those that tell of a commit.
_ENDS: Final = frozenset({inputs.Done, inputs.Failed, inputs.Cancel, inputs.Interrupted})
#: The inputs that `watch` wants to see.
WATCHED: Final = _ENDS | {inputs.TurnCommitted, inputs.Appended}


class TurnTimes:
    """The times of one session's turns: to the ack, in the step, to the commit."""

    __slots__ = ("_acked_after_ms", "_figures", "_logger", "_started_ms", "_stepped_ms")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._logger: Any = None  # bound to the session when it has its first turn
        self._started_ms = self._stepped_ms = 0
        self._acked_after_ms: dict[int, int] = {}

    @property
    def started_ms(self) -> int:
        """When the last step began (UTC)."""
        return self._started_ms

    def step_ran(self, started_ms: int, ended_ms: int) -> None:
        """The step of a turn began then; and ended then, unless it waits and its end is watched."""
        self._started_ms, self._stepped_ms = started_ms, ended_ms

    def watch(self, key: SessionKey, machine: Session, received: inputs.Input, at_ms: int) -> None:
        """Take the times of an input that is delivered at `at_ms`; log the turn that it makes durable."""
        if type(received) in _ENDS:
            self._stepped_ms = at_ms
            return
        match received:
            case inputs.TurnCommitted(run, Committed() as committed):
                running = machine.running
                if running is not None and running.run == run:
                    if running.message is not None:
                        self._acked_after_ms[running.turn] = max(0, at_ms - running.message.now_ms)
                    self._log(key, machine.workflow.name, running.attempt, committed, at_ms)
            case inputs.Appended(message, Committed(events, _)):
                self._acked_after_ms[events[-1].seq] = max(0, at_ms - message.now_ms)  # the clock may be set back

    def _log(self, key: SessionKey, workflow: str, attempts: int, committed: Committed, at_ms: int) -> None:
        events = committed.events
        ended = events[-1].payload
        turn = events[-1].turn
        acked_after_ms = self._acked_after_ms.pop(turn, None)
        if self._acked_after_ms:  # a line that another process answered leaves its time behind
            self._acked_after_ms = {line: ms for line, ms in self._acked_after_ms.items() if line > turn}
        outcome = _outcome(events) if ended["intent"] in _CUT_SHORT else "answered"
        record: dict[str, Any] = {
            "ack_ms": acked_after_ms,
            "step_ms": max(0, self._stepped_ms - self._started_ms),
            "commit_ms": max(0, at_ms - self._stepped_ms),
        }
        if "usage" in ended:
            record.update(_about_calls(ended))
        if "trace" in ended and (uses := [entry for entry in ended["trace"] if entry["kind"] == "tool"]):
            record.update(_about_uses(uses))
        if turn:  # a greeting answers no line
            self._figures.count(workflow, outcome, record)
        if acked_after_ms is None:  # another process took the line
            record["ack_ms"] = 0
        if self._logger is None:
            self._logger = log.bind(session_id=key.session_id, user_id=key.user_id)
        self._logger.info(
            "turn",
            turn=turn,
            from_state=ended["from"],
            to_state=ended["to"],
            intent=ended["intent"],
            outcome=outcome,
            attempts=attempts,
            **record,
        )
        if ended["from"] != ended["to"]:
            self._logger.info("state_persisted", state=ended["to"], version=committed.version)


def _about_uses(uses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the turn's calls of tools took together; those that run at once count each."""
    return {"tool_calls": len(uses), "tool_ms": sum(use["ms"] for use in uses)}


def _about_calls(ended: Mapping[str, Any]) -> dict[str, Any]:
    """What the turn's calls to a model took, and the window of the last one for the answer, if the trace has it."""
    usage, calls = ended["usage"], [entry for entry in ended.get("trace", ()) if entry["kind"] == "model"]
    answers = [entry for entry in calls if entry["name"] not in BESIDE] or calls
    told = ("model", "input_tokens", "output_tokens", "cost_micro_usd", "calls", "first_token_ms")
    fields = ("messages", "chars", "tokens")
    window = {f"window_{name}": entry[name] for entry in answers[-1:] for name in fields}
    return {**{name: usage[name] for name in told}, **window, "call_attempts": usage["attempts"]}


def _outcome(events: tuple[Event, ...]) -> str:
    outcome = "answered"
    for event in events:
        if event.type == EventType.TURN_CANCELLED:
            return str(event.payload.get("reason", "cancelled"))
        if event.type == EventType.TURN_FAILED:
            outcome = "failed"
    return outcome
