"""A user's line: what is written for it, whether two of them are the same, and what its sender is told.

No I/O, clock or randomness here.
"""

from typing import Any, Final

from server.errors import ErrorCode
from server.machines.effects import Ack, Reject
from server.machines.inputs import Asked, Cancel, Message, Refused
from server.records import CHAT_MESSAGE, TURN_CANCELLED, Conflict, Event, Snapshot, Unknown, Unstorable, Write, is_line
from server.wire.protocol import Say
from server.workflows.table import Workflow

#: Refusals that news of another process may have made wrong: the store is asked how far the log goes before one.
REFUSED_BY_NEWS: Final = frozenset({ErrorCode.STALE_ACTION, ErrorCode.NOT_RUNNING, ErrorCode.TURN_RUNNING})


def line_event(message: Message, snapshot: Snapshot, workflow: Workflow) -> Event:
    """A line as the log will hold it.

    A line without a client id is keyed by its message id, so that every accept can be repeated safely. Text that is
    only a button's value (older frontends) is stored as the button's label: a replay shows what the user saw.
    """
    say = message.say
    action = say.action or workflow.find_action(snapshot.state, say.text)
    button = workflow.button(action) if action else None
    text = button.label if button is not None and say.text == button.value else say.text
    payload: dict[str, Any] = {"text": text, "sub_title": None, "list_items": None, "format": "plain"}
    if say.client_id is not None:
        payload["client_id"] = say.client_id
    if action is not None:
        payload["action_value"] = action
    if say.action_message_id is not None:
        payload["action_message_id"] = say.action_message_id
    return Event(
        session_id=snapshot.session_id,
        type=CHAT_MESSAGE,
        role="user",
        message_id=message.message_id,
        payload=payload,
        created_at=message.now_ms,
        client_id=say.client_id or message.message_id,
    )


def accept_write(line: Event, user_id: str) -> Write:
    """The write that makes a line durable."""
    return Write(session_id=line.session_id, user_id=user_id, events=(line,), client_id=line.client_id)


def is_same(asked: Asked, event: Event, workflow: Workflow) -> bool:
    """Whether `event`, which took effect under the id of `asked`, is what `asked` wants again."""
    if isinstance(asked, Cancel):
        return event.type == TURN_CANCELLED and event.turn == asked.turn
    return is_line(event) and _same_words(asked.say, event.payload, workflow)


def client_id(asked: Asked) -> str | None:
    """The id under which a client asked, if it gave one."""
    return asked.say.client_id if isinstance(asked, Message) else asked.client_id


def reject(asked: Asked, code: ErrorCode, known: Snapshot | None = None) -> Reject:
    """Refuse the request; nothing was stored. For a button of a closed card, the refusal names the open card."""
    card = known.card if known is not None and code == ErrorCode.STALE_ACTION else None
    return Reject(asked.reply_to, client_id(asked), code, card)


def why(outcome: Refused | Unknown | Unstorable | Conflict) -> ErrorCode:
    """The code of a line's refusal, from what became of its write."""
    return outcome.code if isinstance(outcome, Refused) else ErrorCode.STORE_UNAVAILABLE


class Held:
    """What was asked before it can be judged, at most `limit` of it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.asked: list[Asked] = []

    def add(self, asked: Asked) -> list[Reject]:
        """Keep it, or refuse it where there is no room."""
        if len(self.asked) >= self._limit:
            return [reject(asked, ErrorCode.INBOX_FULL)]
        self.asked.append(asked)
        return []

    def put_back(self, asked: Asked) -> list[Reject]:
        """Keep it in front of all others, which came later; the last of them makes room."""
        self.asked.insert(0, asked)
        return [reject(self.asked.pop(), ErrorCode.INBOX_FULL)] if len(self.asked) > self._limit else []

    def take(self) -> list[Asked]:
        """All of it, in its order; nothing is left."""
        asked, self.asked = self.asked, []
        return asked

    def refuse(self, code: ErrorCode) -> list[Reject]:
        """Refuse all of it."""
        return [reject(asked, code) for asked in self.take()]


def repeat(asked: Asked, event: Event, workflow: Workflow) -> Ack | Reject:
    """An id that took effect before, as `event`: the first promise again, or a refusal of something else (L4)."""
    if is_same(asked, event, workflow):
        return Ack(asked.reply_to, client_id(asked), event.seq, duplicate=True)
    return reject(asked, ErrorCode.ID_REUSE)


def _same_words(say: Say, stored: dict[str, Any], workflow: Workflow) -> bool:
    """Compare what was sent, not what was made of it: a label names an action in one state and nothing in the next."""
    button = workflow.button(stored.get("action_value") or "")
    return (
        say.text in (stored.get("text"), button.value if button else stored.get("text"))
        and say.action in (None, stored.get("action_value"))
        and say.action_message_id == stored.get("action_message_id")
    )
