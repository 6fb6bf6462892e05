"""The end of a turn that the session machine itself broke on, twice: visible, and as simple as a write can be.

It needs nothing of what may have broken it: not the step's output, not the memory. The state stays, the memory is not
touched, the open card stays open, the cursor moves on.

No I/O, clock or randomness here.
"""

from collections.abc import Sequence
from typing import Any, Final

from server.errors import ERROR_CODES
from server.records import Event, SessionKey, Snapshot, Update, Write
from server.workflows.table import Workflow, chat

CODE: Final = "turn_broken"
#: The message ids that it takes: turn_failed, a chat_message, a state_update.
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
    """The write that ends `turn` as failed; `snapshot` is None, and `turn` 0, where it would have begun the session.

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
