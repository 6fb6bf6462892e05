"""A user's line: its event and its write, the comparison with a repeated one, the ack or refusal for its sender.

No I/O, clock or randomness here.
"""

from typing import Any, Final

from server.errors import ErrorCode
from server.machines.effects import Ack, Reject
from server.machines.inputs import Asked, Cancel, Message, Refused
from server.records import CHAT_MESSAGE, TURN_CANCELLED, Conflict, Event, Snapshot, Unknown, Unstorable, Write, is_line
from server.wire.protocol import Say
from server.workflows.table import Workflow

#: Refusals that an event of another process may make wrong. Before one of them, Find reads the head of the log.
REFUSED_BY_NEWS: Final = frozenset({ErrorCode.STALE_ACTION, ErrorCode.NOT_RUNNING, ErrorCode.TURN_RUNNING})


def line_event(message: Message, snapshot: Snapshot, workflow: Workflow) -> Event:
    """The event that the log will have for a line.

    A line without a client id gets its message id as one, so that every accept can be repeated safely. If the text is a
    button's value (older frontends), the button's label is stored instead: a replay shows the text that the user saw.
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
    """The write that stores a line alone."""
    return Write(session_id=line.session_id, user_id=user_id, events=(line,), client_id=line.client_id)


def is_same(asked: Asked, event: Event, workflow: Workflow) -> bool:
    """Whether `asked` repeats the request that led to `event`; both have the same client id."""
    if isinstance(asked, Cancel):
        return event.type == TURN_CANCELLED and event.turn == asked.turn
    return is_line(event) and _same_words(asked.say, event.payload, workflow)


def client_id(asked: Asked) -> str | None:
    """The client id of a request; None if the client gave none."""
    return asked.say.client_id if isinstance(asked, Message) else asked.client_id


def reject(asked: Asked, code: ErrorCode, known: Snapshot | None = None) -> Reject:
    """A refusal of `asked`, of which nothing was stored. STALE_ACTION also names the card open in `known`."""
    card = known.card if known is not None and code == ErrorCode.STALE_ACTION else None
    return Reject(asked.reply_to, client_id(asked), code, card)


def why(outcome: Refused | Unknown | Unstorable | Conflict) -> ErrorCode:
    """The code of a line's refusal, from the outcome of its write."""
    return outcome.code if isinstance(outcome, Refused) else ErrorCode.STORE_UNAVAILABLE


class Held:
    """Requests that wait until the session can judge them; at most `limit`."""

    __slots__ = ("_limit", "asked")  # there is one a session: a dict more would be kept for each

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.asked: list[Asked] = []

    def add(self, asked: Asked) -> list[Reject]:
        """Keep a request. Returns its refusal if there is no room."""
        if len(self.asked) >= self._limit:
            return [reject(asked, ErrorCode.INBOX_FULL)]
        self.asked.append(asked)
        return []

    def put_back(self, asked: Asked) -> list[Reject]:
        """Keep a request before all others, which came later. Returns the refusal of the last if there is no room."""
        self.asked.insert(0, asked)
        return [reject(self.asked.pop(), ErrorCode.INBOX_FULL)] if len(self.asked) > self._limit else []

    def take(self) -> list[Asked]:
        """Remove and return all requests, in order."""
        asked, self.asked = self.asked, []
        return asked

    def refuse(self, code: ErrorCode) -> list[Reject]:
        """Remove all requests and return their refusals."""
        return [reject(asked, code) for asked in self.take()]


def repeat(asked: Asked, event: Event, workflow: Workflow) -> Ack | Reject:
    """The answer to a client id that took effect before, as `event` (L4).

    The same request gets its ack again; a different one under the same id is refused.
    """
    if is_same(asked, event, workflow):
        return Ack(asked.reply_to, client_id(asked), event.seq, duplicate=True)
    return reject(asked, ErrorCode.ID_REUSE)


def _same_words(say: Say, stored: dict[str, Any], workflow: Workflow) -> bool:
    """Compare the texts and actions as sent: a label may name an action in one state and none in the next."""
    button = workflow.button(stored.get("action_value") or "")
    return (
        say.text in (stored.get("text"), button.value if button else stored.get("text"))
        and say.action in (None, stored.get("action_value"))
        and say.action_message_id == stored.get("action_message_id")
    )
