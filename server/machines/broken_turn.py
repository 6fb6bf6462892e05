"""The write that ends a turn as failed after the session machine has raised twice on it. The user sees the failure.

The write uses neither the step's output nor the memory, because they may have caused the fault. State, memory and open
card stay as they are; the cursor moves on.

No I/O, clock or randomness here.
"""

from collections.abc import Sequence
from typing import Any, Final

from server.errors import ERROR_CODES
from server.records import Event, SessionKey, Snapshot, Update, Write
from server.workflows.table import Workflow, chat

CODE: Final = "turn_broken"
#: How many message ids the write needs: for turn_failed, a chat_message and a state_update.
IDS: Final = 3


def broken_turn(
    key: SessionKey,
    snapshot: Snapshot | None,
    workflow: Workflow,
    *,
    turn: int,
    correlation_id: str,
    ids: Sequence[str],
    now_ms: int,
) -> Write:
    """The write that ends `turn` as failed. For the turn that opens a session, `snapshot` is None and `turn` is 0.

    `ids` are IDS fresh message ids, `now_ms` is UTC.
    """
    state, row = snapshot.state if snapshot else workflow.start, ERROR_CODES[CODE]
    failed = {"turn": turn, "code": CODE, "correlation_id": correlation_id, "retryable": row.temporary}
    said = chat(f"{row.message} (Reference {correlation_id[:8]}.)").payload
    ended: dict[str, Any] = {
        "from": snapshot.state if snapshot else None,
        "to": state,
        "intent": "Failed",
        "turn": turn,
        "memory": {},
    }
    if snapshot is None:
        ended["workflow"] = workflow.name
    frames = [("turn_failed", "system", failed), ("chat_message", "assistant", said), ("state_update", "system", ended)]
    events = [
        Event(
            session_id=key.session_id,
            type=kind,
            role=role,
            message_id=message_id,
            payload=payload,
            created_at=now_ms,
            turn=turn,
        )
        for (kind, role, payload), message_id in zip(frames, ids, strict=True)
    ]
    update = Update(
        workflow=snapshot.workflow if snapshot else workflow.name,
        state=state,
        cursor=turn,
        memory=None if snapshot else {},
        card=snapshot.card if snapshot else None,
    )
    return Write(
        session_id=key.session_id,
        user_id=key.user_id,
        events=tuple(events),
        expected_version=snapshot.version if snapshot else 0,
        update=update,
    )
