"""What the server itself remembers of a session: what its turns took, and the summary of what was said long ago.

It stands in the stored memory under one key, `@server`, that no workflow can write: `Remember` refuses every key that
begins with `@`, and a step does not see them. So fold and merge_memory need not know of it, and the schema neither.

Reading is tolerant: a part of a wrong shape counts as empty. Parts that a newer server keeps there are carried along.
No I/O, clock or randomness here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

#: The memory's key that holds all of this, and the first character of the keys that are the server's.
SERVER_KEY: Final = "@server"
RESERVED: Final = "@"

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

    Sessions that were stored before there was `@server` have it as top-level `usage` and `summary`. These are taken
    over where they are well formed: else the session's costs would begin again at 0, and the model would lose its past.
    They are left in place: they may be a workflow's own by now, and an older server beside this one reads them.
    """
    kept = memory.get(SERVER_KEY)
    if kept is None:
        usage, summary = _part(memory.get("usage"), SessionUsage), _part(memory.get("summary"), StoredSummary)
        # Every old sum has all of its numbers: a workflow's own `usage` hardly has.
        is_sum = isinstance(memory.get("usage"), dict) and memory["usage"].keys() >= set(SessionUsage.__struct_fields__)
        return ServerMemory(usage if is_sum else None, summary)
    if not isinstance(kept, dict):
        return ServerMemory(complaint=f"{SERVER_KEY} is of type {type(kept).__name__}")
    usage, summary = _part(kept.get("usage"), SessionUsage), _part(kept.get("summary"), StoredSummary)
    read = {"usage": usage, "summary": summary}
    wrong = [name for name, part in read.items() if part is None and kept.get(name) is not None]
    complaint = f"{SERVER_KEY} has a {' and a '.join(wrong)} of a wrong shape" if wrong else ""
    return ServerMemory(usage, summary, complaint)


def remember(
    memory: Mapping[str, Any], *, usage: Mapping[str, Any] | None = None, summary: StoredSummary | None = None
) -> dict[str, Any]:
    """The change of a session's `memory` by a turn that took `usage` and made `summary`; {} where there is neither."""
    if usage is None and summary is None:
        return {}
    known, kept = read_server_memory(memory), memory.get(SERVER_KEY)
    total = known.usage if usage is None else (known.usage or SessionUsage()).plus(usage)
    newest = summary or known.summary
    changed = {name: part for name, part in kept.items() if name not in _PARTS} if isinstance(kept, dict) else {}
    if total is not None:
        changed["usage"] = msgspec.to_builtins(total)
    if newest is not None:
        changed["summary"] = msgspec.to_builtins(newest)
    return {SERVER_KEY: changed}


def workflow_memory(memory: dict[str, Any]) -> dict[str, Any]:
    """The memory as a workflow sees it: without the server's keys. The same object where there are none."""
    if SERVER_KEY not in memory:
        return memory
    return {key: value for key, value in memory.items() if not key.startswith(RESERVED)}


_PARTS: Final = frozenset({"usage", "summary"})


def _part(value: Any, kind: type[T]) -> T | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return None
