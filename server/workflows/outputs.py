"""Explains to a workflow's author why an output of a step is wrong.

`move` accepts the usual outputs itself and calls this module only for other ones, so right outputs cost little.
"""

from typing import Final

from server.server_memory import RESERVED
from server.workflows.table import Ask, Delta, Frame, Progress, Remember, Turn, Workflow

EXPECTED: Final = "chat(…), Frame, Ask, Remember, Progress or Delta"
#: Frame types that only the server may use: clients would take a workflow's frame for an ack, an error …
SERVER_TYPES: Final = frozenset(
    {
        *("state_update", "turn_failed", "turn_cancelled"),
        *("ack", "error", "sync_response", "live", "drain", "ping", "pong", "presence", "hello"),
        *("status_update", "stream_delta", "token_usage"),
        *("user_message", "user_input", "resume", "cancel", "auth"),
    }
)
_TYPE_CHARS: Final = 64
_ID_CHARS: Final = 255
_SHOWN_CHARS: Final = 60
_MOST: Final = 1e15


def where(workflow: Workflow, turn: Turn) -> str:
    """The workflow and the state whose step runs, as text."""
    return f"workflow {workflow.name}, state {turn.state}"


def shown(value: object) -> str:
    """Describe any value for a log record: short, on one line, and without running the value's own code."""
    kind = type(value)
    if value is None:
        return "None"
    if kind in (str, bytes):
        short = value[:_SHOWN_CHARS]  # type: ignore[index]
        return f"{kind.__name__} {short!r}{'' if short == value else '…'}"
    if kind in (bool, float) or (kind is int and -(10**20) < value < 10**20):  # type: ignore[operator]
        return f"{kind.__name__} {value!r}"
    return f"a value of type {kind.__name__[:_SHOWN_CHARS]}"


def wrong_output(output: object) -> str | None:
    """A complaint about an output; None for a valid Frame or Progress. `move` has accepted other valid ones before."""
    match output:
        case Frame():
            return _wrong_frame(output)
        case Progress():
            return _wrong_progress(output)
        case Remember(changes):
            return f"a Remember of {shown(changes)}, expected a dict"
        case Ask(prompt):
            return f"an Ask of {shown(prompt)}, expected a str"
        case Delta(text):
            return f"a Delta of {shown(text)}, expected a str"
        case str():
            return f"{shown(output)}: write `yield chat({str(output)[:_SHOWN_CHARS]!r})`"
        case dict():
            return f"{shown(output)}: write `yield Remember(…)`, or `yield Frame(type, payload)`"
    return f"{shown(output)}, expected {EXPECTED}"


def wrong_key(key: object) -> str:
    """A complaint about a wrong key of a Remember."""
    if isinstance(key, str):
        return f"a Remember of the key {key[:_SHOWN_CHARS]!r}: keys that begin with {RESERVED} are the server's own"
    return f"a Remember of the key {shown(key)}, expected a str"


def _wrong_frame(frame: Frame) -> str | None:
    kind, payload, message_id = frame.type, frame.payload, frame.message_id
    if type(kind) is not str or not 1 <= len(kind) <= _TYPE_CHARS or not kind.isprintable():
        return f"a Frame whose type is {shown(kind)}, expected a str of 1 to {_TYPE_CHARS} printable characters"
    if kind in SERVER_TYPES:
        return f"a Frame of the type {kind}, which is the server's own"
    if type(payload) is not dict:
        return f"a Frame ({kind}) whose payload is {shown(payload)}, expected a dict"
    if kind == "chat_message" and not isinstance(payload.get("text"), str):
        return f"a Frame ({kind}) whose text is {shown(payload.get('text'))}, expected a str"
    if message_id is None:
        return None
    if type(message_id) is not str or not 1 <= len(message_id) <= _ID_CHARS or not message_id.isprintable():
        return f"a Frame ({kind}) whose message_id is {shown(message_id)}, expected a printable str"
    return None


def _wrong_progress(progress: Progress) -> str | None:
    for name in ("text", "status"):
        text = getattr(progress, name)
        if type(text) is not str or not _is_unicode(text):
            return f"a Progress whose {name} is {shown(text)}, expected a str"
    for name in ("progress", "estimated_time"):
        number = getattr(progress, name)
        if number is not None and not (type(number) in (int, float) and abs(number) < _MOST):
            return f"a Progress whose {name} is {shown(number)}, expected a number"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
