"""A long conversation with a model, and what each turn of it costs: `python -m tests.e2e.long_talk [TURNS]`.

The vendor counts the tokens of what it is sent, the store in front of SQLite the bytes of what it is given. Means are
taken over whole periods of folding, as a fold makes a saw-tooth of the numbers.
"""

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from server.assistant.prompts import SUMMARY
from server.settings import Settings
from server.store.sqlite.store import SqliteStore
from server.workflows.registry import find_workflows
from tests.e2e.live import environment, talk
from tests.support.wrapped import FailingStore, serve
from tests.vendors import Call, Play, Vendors
from tests.vendors.server import FORMATS

ANSWER: Final = " ".join(f"word{number:03}" for number in range(40))
SUMMARISED: Final = " ".join(f"fact{number:03}" for number in range(150))
#: Turns from one fold to the next, with the window of 20 that is the default: half of it, less the turn itself.
PERIOD: Final = 4


@dataclass(frozen=True)
class Cost:
    """Of one turn: its line, its answer and, where it had one, its summary."""

    tokens: int
    stored_bytes: int
    ms: float


def is_summary(call: Call) -> bool:
    """Whether a vendor's call asks for a summary."""
    return call.said[0] == ("system", SUMMARY)


def play(call: Call) -> Play:
    """Summaries and answers that are always of one length, each in one piece."""
    return Play((SUMMARISED if is_summary(call) else ANSWER,))


def tokens(calls: Sequence[Call]) -> int:
    """What the vendor counts, given and taken."""
    return sum((len(FORMATS[call.vendor].input_text(call.body)) + len("".join(call.sent))) // 4 for call in calls)


async def hold(turns: int, vendors: Vendors, folder: Path) -> list[Cost]:
    """The costs of so many turns of one conversation, one behind the other."""
    vendors.play, costs = play, list[Cost]()
    store = FailingStore(SqliteStore(str(folder / "talk.db")))
    settings = Settings.from_env({**environment(vendors), "LINE_RATE_PER_S": "10000", "FRAME_RATE_PER_S": "10000"})
    async with serve(store, find_workflows(), settings) as port, talk(port) as client:
        await client.until_type("live")
        for number in range(turns):
            vendors.calls.clear()
            store.committed.clear()
            began = time.perf_counter()
            await client.turn(f"This is line {number:06} of a long conversation, and none of its lines is longer.")
            ms = 1000 * (time.perf_counter() - began)
            stored = sum(len(msgspec.json.encode([write.events, write.update])) for write in store.committed)
            costs.append(Cost(tokens(vendors.calls), stored, ms))
            client.frames.clear()
            client._seen = 0
    return costs


def mean(costs: Sequence[Cost], last: int) -> Cost:
    """Of the 20 turns (whole periods) up to turn `last`, counted from 1."""
    some = costs[last - 5 * PERIOD : last]
    return Cost(
        round(sum(cost.tokens for cost in some) / len(some)),
        round(sum(cost.stored_bytes for cost in some) / len(some)),
        round(sum(cost.ms for cost in some) / len(some), 2),
    )


async def _main(turns: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with Vendors() as vendors, tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        costs = await hold(turns, vendors, Path(folder))
    sys.stdout.write(f"{turns} turns in {time.monotonic() - began:.1f} s; means of 20 turns, and by those of 41–60\n")
    early = mean(costs, 60)
    for last in sorted({20, 60, *range(200, turns, 200), turns}):
        cost = mean(costs, last)
        ratios = cost.tokens / early.tokens, cost.stored_bytes / early.stored_bytes, cost.ms / early.ms
        told = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        told = f"  to {last}: {cost.tokens} tokens, {cost.stored_bytes} bytes, {cost.ms} ms: {told}\n"
        sys.stdout.write(told)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
