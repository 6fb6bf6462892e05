"""What the server itself remembers of a session: what its turns took, and the summary of what was said long ago.

Each part stands in the stored memory under a key of its own that begins with `@`, so a turn writes only the parts that
it changes. No workflow can write such a key: `Remember` refuses it, and a step does not see it. Fold and merge_memory
need not know of them, and the schema neither.

Reading is tolerant: a part of a wrong shape counts as empty. Keys of a newer server are left alone.
No I/O, clock or randomness here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

#: The first character of the keys that are the server's, and these keys.
RESERVED: Final = "@"
USAGE_KEY: Final = "@usage"
SUMMARY_KEY: Final = "@summary"

Count = Annotated[int, Meta(ge=0)]
T = TypeVar("T")


class SessionUsage(Struct, frozen=True):
    """What all turns of a session took together. Costs that are not known are not in the sum."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cost_micro_usd: Count = 0
    calls: Count = 0

    def plus(self, usage: Mapping[str, Any]) -> "SessionUsage":
        """With one more turn, of which `usage` has at least these numbers; one that is None adds nothing."""
        sums = {name: getattr(self, name) + (usage[name] or 0) for name in self.__struct_fields__}
        return SessionUsage(**sums)


class StoredSummary(Struct, frozen=True):
    """A summary of what was said up to event `through`."""

    through: Count
    text: str


class ServerMemory(Struct, frozen=True):
    """What is remembered; None for a part that there is not. `complaint` says what was found and could not be read."""

    usage: SessionUsage | None = None
    summary: StoredSummary | None = None
    complaint: str = ""


def read_server_memory(memory: Mapping[str, Any]) -> ServerMemory:
    """What the server remembers in a session's stored `memory`. Never raises for what JSON can hold.

    Sessions of before these keys have top-level `usage` and `summary`. Both are taken over where they are well formed:
    else the session's costs would begin again at 0, and the model would lose its past. They are left in place: they may
    be a workflow's own by now, and an older server beside this one reads them.
    """
    if not has_server_keys(memory):
        usage, summary = _part(memory.get("usage"), SessionUsage), _part(memory.get("summary"), StoredSummary)
        # Every old sum has all of its numbers: a workflow's own `usage` hardly has.
        is_sum = isinstance(memory.get("usage"), dict) and memory["usage"].keys() >= set(SessionUsage.__struct_fields__)
        return ServerMemory(usage if is_sum else None, summary)
    usage, summary = _part(memory.get(USAGE_KEY), SessionUsage), _part(memory.get(SUMMARY_KEY), StoredSummary)
    read = {USAGE_KEY: usage, SUMMARY_KEY: summary}
    wrong = [key for key, part in read.items() if part is None and memory.get(key) is not None]
    return ServerMemory(usage, summary, f"{' and '.join(wrong)} of a wrong shape" if wrong else "")


def remember(
    memory: Mapping[str, Any], *, usage: Mapping[str, Any] | None = None, summary: StoredSummary | None = None
) -> dict[str, Any]:
    """The change of a session's `memory` by a turn that took `usage` and made `summary`; {} where there is neither."""
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
    """Whether the server remembers something under keys of its own."""
    return USAGE_KEY in memory or SUMMARY_KEY in memory


def workflow_memory(memory: dict[str, Any]) -> dict[str, Any]:
    """The memory as a workflow sees it: without the server's keys. The same object where there are none."""
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
