"""Log records of turns: `turn` for each committed turn, and `state_persisted` for a turn that changed the state."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from server.engine.account import BESIDE
from server.machines import inputs
from server.machines.session import Session
from server.ops.metrics import Figures
from server.records import Committed, Event, EventType, SessionKey

log = structlog.get_logger()

#: The intents of turns that ended without an answer; an intent of a workflow may have the same name.
_CUT_SHORT: Final = frozenset({"Cancelled", "Failed"})
#: The inputs that end a step.
_ENDS: Final = frozenset({inputs.Done, inputs.Failed, inputs.Cancel, inputs.Interrupted})
#: The inputs to pass to `watch`: those that end a step, and the outcomes of commits.
WATCHED: Final = _ENDS | {inputs.TurnCommitted, inputs.Appended}


class TurnTimes:
    """Measures one session's turns, in ms: time to the ack, in the step, and to the commit."""

    __slots__ = ("_acked_after_ms", "_figures", "_logger", "_started_ms", "_stepped_ms")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._logger: Any = None  # bound to the session at its first turn
        self._started_ms = self._stepped_ms = 0
        self._acked_after_ms: dict[int, int] = {}

    @property
    def started_ms(self) -> int:
        """When the last step began (UTC)."""
        return self._started_ms

    def step_ran(self, started_ms: int, ended_ms: int) -> None:
        """Note when a turn's step began and ended (UTC ms). For a step that waits, `watch` notes the end."""
        self._started_ms, self._stepped_ms = started_ms, ended_ms

    def watch(self, key: SessionKey, machine: Session, received: inputs.Input, at_ms: int) -> None:
        """Note the times of an input that is delivered at `at_ms` (UTC); log the turn if the input is its commit."""
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
        if self._acked_after_ms:  # the times of lines that another process answered
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
        if acked_after_ms is None:  # another process acknowledged the line
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
    """Fields of the turn's calls of tools: their number and their total ms. Calls in parallel are added up too."""
    return {"tool_calls": len(uses), "tool_ms": sum(use["ms"] for use in uses)}


def _about_calls(ended: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the turn's calls to a model: totals, and the window of the last call for the answer in the trace."""
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
