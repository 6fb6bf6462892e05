"""The server's own part of a session's memory: the tokens and costs of its turns, and the summary of old messages.

Each part has a key of its own in the stored memory, which begins with `@`, so a turn writes only the parts that it
changes. A workflow cannot write such a key, because `Remember` refuses it, and a step does not see them. Fold,
merge_memory and the schema treat them like any other key.

Reading is tolerant: a part of a wrong shape counts as empty. Keys of a newer server are kept.
No I/O, clock or randomness here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

#: The first character of the server's keys, and the keys.
RESERVED: Final = "@"
USAGE_KEY: Final = "@usage"
SUMMARY_KEY: Final = "@summary"

Count = Annotated[int, Meta(ge=0)]
T = TypeVar("T")


class SessionUsage(Struct, frozen=True):
    """The tokens, costs and model calls of all turns of a session. Unknown costs are not in the sum."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cost_micro_usd: Count = 0
    calls: Count = 0

    def plus(self, usage: Mapping[str, Any]) -> "SessionUsage":
        """The sums with one more turn. `usage` must have all of these fields; a value of None adds nothing."""
        sums = {name: getattr(self, name) + (usage[name] or 0) for name in self.__struct_fields__}
        return SessionUsage(**sums)


class StoredSummary(Struct, frozen=True):
    """A summary of the messages up to the event with the `seq` `through`."""

    through: Count
    text: str


class ServerMemory(Struct, frozen=True):
    """The parts of the server's memory, None for a missing one. `complaint` names parts that could not be read."""

    usage: SessionUsage | None = None
    summary: StoredSummary | None = None
    complaint: str = ""


def read_server_memory(memory: Mapping[str, Any]) -> ServerMemory:
    """Read the server's parts of a session's stored `memory`. Never raises for a value that JSON can hold.

    Sessions that are older than these keys have top-level `usage` and `summary`. Both are used when they are well
    formed: otherwise the session's costs would restart at 0, and the model would lose the summary. They are not
    removed: a workflow may use them now, and an older server beside this one reads them.
    """
    if not has_server_keys(memory):
        usage, summary = _part(memory.get("usage"), SessionUsage), _part(memory.get("summary"), StoredSummary)
        # Every old sum has all of these fields; a workflow's own `usage` hardly would.
        is_sum = isinstance(memory.get("usage"), dict) and memory["usage"].keys() >= set(SessionUsage.__struct_fields__)
        return ServerMemory(usage if is_sum else None, summary)
    usage, summary = _part(memory.get(USAGE_KEY), SessionUsage), _part(memory.get(SUMMARY_KEY), StoredSummary)
    read = {USAGE_KEY: usage, SUMMARY_KEY: summary}
    wrong = [key for key, part in read.items() if part is None and memory.get(key) is not None]
    return ServerMemory(usage, summary, f"{' and '.join(wrong)} of a wrong shape" if wrong else "")


def remember(
    memory: Mapping[str, Any], *, usage: Mapping[str, Any] | None = None, summary: StoredSummary | None = None
) -> dict[str, Any]:
    """The changes of a session's `memory` by a turn with this `usage` and new `summary`; {} when both are None."""
    if usage is None and summary is None:
        return {}
    known = read_server_memory(memory)
    is_old = not has_server_keys(memory)
    changes: dict[str, Any] = {}
    total = (known.usage or SessionUsage()).plus(usage) if usage is not None else known.usage if is_old else None
    newest = summary or (known.summary if is_old else None)
    if total is not None:
        changes[USAGE_KEY] = msgspec.to_builtins(total)
    if newest is not None:
        changes[SUMMARY_KEY] = msgspec.to_builtins(newest)
    return changes


def has_server_keys(memory: Mapping[str, Any]) -> bool:
    """Whether the memory has one of the server's keys."""
    return USAGE_KEY in memory or SUMMARY_KEY in memory


def workflow_memory(memory: dict[str, Any]) -> dict[str, Any]:
    """The memory without the server's keys, for a workflow. Returns the same object when it has none."""
    if not has_server_keys(memory):
        return memory
    return {key: value for key, value in memory.items() if not key.startswith(RESERVED)}


def _part(value: Any, kind: type[T]) -> T | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return None
