"""The past of a conversation in a turn: a summary of the old messages, and the messages after it. Pure.

The server makes a summary while it answers, so that no client waits for it. So it makes one before the window is full:
every message that the summary does not cover must fit into the next turn's window.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.assistant import Message
from server.assistant.tokens import CHARS_PER_TOKEN, estimate_tokens
from server.assistant.window import read_messages
from server.records import Event
from server.server_memory import read_server_memory

#: The most that is kept of a summary, should a model not keep to its limit; and at most a quarter of the budget.
MOST_CHARS: Final = 4_000
#: What a turn adds to the next window: its line, its answer, and the line that comes then.
TURN_MESSAGES: Final = 3
_CUT: Final = " … "


@dataclass(frozen=True, slots=True)
class Past:
    """The messages before a line: `summary` covers those up to event `through`, `said` has the later ones by `seq`."""

    summary: str = ""
    through: int = 0
    said: tuple[tuple[int, Message], ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that the summary does not cover, oldest first."""
        return tuple([message for _, message in self.said]) if self.said else ()


@dataclass(frozen=True, slots=True)
class Fold:
    """What to make one summary of now: the `earlier` one, and `messages`, which reach up to event `through`.

    `most_chars` bounds the new one.
    """

    earlier: str
    messages: tuple[Message, ...]
    through: int
    most_chars: int


def recall_summary(memory: Mapping[str, Any]) -> Past:
    """The summary in a session's memory, without what was said since."""
    kept = read_server_memory(memory).summary
    return Past(kept.text, kept.through) if kept is not None else Past()


def recall_said(summarised: Past, events: Iterable[Event], turn: int) -> Past:
    """The same with what the `events` behind it say, but for the line of `turn` and those that wait behind it."""
    before = [event for event in events if event.turn < turn]
    said = ((event.seq, message) for event in before for message in read_messages([event]))
    return Past(summarised.summary, summarised.through, tuple(said))


def due(waiting: Sequence[Message], line: str, *, limit: int, room: int) -> int:
    """How many of the oldest of the `waiting` messages to fold into the summary now.

    A window holds `limit` messages, `room` tokens of them. Nothing is due while this turn's messages and the next line
    will still fit (in tokens: while a quarter of the room is left for them). Then all but half a window go at once: so
    a summary is written every `limit / 2` messages or so, and not in every turn.
    """
    costs = [estimate_tokens(len(message.text)) for message in waiting]
    taken = estimate_tokens(len(line))
    if len(waiting) + TURN_MESSAGES <= limit and 4 * (sum(costs) + taken) <= 3 * room:
        return 0
    kept, most = 0, max(0, min(limit // 2, limit - TURN_MESSAGES))
    for cost in reversed(costs[len(costs) - min(most, len(costs)) :]):
        taken += cost
        if 2 * taken > room:
            break
        kept += 1
    return len(waiting) - kept


def choose_fold(past: Past, line: str, *, before: int, system: str, limit: int, token_budget: int) -> Fold | None:
    """What is due to be folded in the turn of the `line`, event `before`; None when nothing is.

    `system` is the system prompt of the windows. One fold reads at most about `token_budget` tokens: of a message that
    takes more than a quarter of that, beginning and end; what goes beyond waits for the next turn's.
    """
    most_chars = min(MOST_CHARS, token_budget)
    room = max(0, token_budget - estimate_tokens(len(system)) - estimate_tokens(most_chars))
    folded: list[Message] = []
    through, chars = past.through, 0
    for seq, message in past.said[: due(past.messages, line, limit=limit, room=room)]:
        text = _shorten(message.text, token_budget * CHARS_PER_TOKEN // 4)
        chars += len(text)
        # Lines that still wait for their turn stand before the answers to those before them: not to be passed over.
        if seq >= before or (folded and chars > token_budget * CHARS_PER_TOKEN):
            break
        folded.append(Message(message.role, text))
        through = seq
    return Fold(past.summary, tuple(folded), through, most_chars) if folded else None


def _shorten(text: str, most: int) -> str:
    half = max(1, (most - len(_CUT)) // 2)
    return text if len(text) <= most else f"{text[:half]}{_CUT}{text[-half:]}"
