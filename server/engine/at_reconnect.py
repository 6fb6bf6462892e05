"""Calls a workflow's `summary` and `legacy_state` when a client connects. They are foreign code, so they may raise.

- `summary_broken` (error): workflow, what (`summary` or `legacy_state`), reason, correlation_id, and the traceback. The
  connection goes on without the function's result.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from server.engine.containment import brief
from server.records import Snapshot
from server.server_memory import workflow_memory
from server.workflows.table import Workflow

log = structlog.get_logger()


def summarise(workflow: Workflow | None, memory: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow's summary of a session; empty, and logged, when it raises or does not return a JSON object."""
    if workflow is None:
        return {}
    try:
        told = workflow.summary(workflow_memory(dict(memory)))
        if not isinstance(told, dict) or not all(type(key) is str for key in told):
            raise TypeError(f"expected a dict with texts as keys, not a {type(told).__name__}")  # noqa: TRY301
        msgspec.json.encode(told)
    except BaseException as error:  # noqa: BLE001  foreign code: the session can be used without it
        _tell(workflow, "summary", error)
        return {}
    return told


def name_legacy_state(workflow: Workflow | None, snapshot: Snapshot) -> str:
    """The state's name for a client without the subprotocol; the state itself when the workflow's function fails."""
    if workflow is None:
        return snapshot.state
    try:
        name = workflow.legacy_state(snapshot.state, workflow_memory(snapshot.memory))
        if not isinstance(name, str):
            raise TypeError(f"expected a text, not a {type(name).__name__}")  # noqa: TRY301
        name.encode()
    except BaseException as error:  # noqa: BLE001  as above
        _tell(workflow, "legacy_state", error)
        return snapshot.state
    return name


def _tell(workflow: Workflow, what: str, error: BaseException) -> None:
    log.error(
        "summary_broken",
        workflow=workflow.name,
        what=what,
        reason=type(error).__name__,
        correlation_id=uuid.uuid4().hex,
        exc_info=brief(error),
    )
