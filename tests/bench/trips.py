"""How far three trips go through `server/`: `python -m tests.bench.trips` prints the table.

A trip is what the server calls for one thing that a client does: a line that is answered at once, a reconnect, a
model's turn. A hop is a call that enters another file (or another room): the caller is the nearest function of the
server below it on the stack, and one that asyncio or uvicorn calls enters from outside. A generator that goes on is
called once more. A room is what stands on the first level of `server/`. All is counted and nothing is timed.
"""

import asyncio
import contextlib
import logging
import sys
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from server.assistant.model import LanguageModel
from server.ops import logs
from server.settings import Settings
from server.store.sqlite.store import SqliteStore
from server.workflows.registry import find_workflows
from tests.support.process import ROOT
from tests.support.wire import Client
from tests.support.wrapped import serve

_SERVER: Final = str(ROOT / "server") + "/"
#: Settings with which nothing but the trip happens while it is counted: no rounds, no heartbeats, no pieces joined.
_STILL: Final[dict[str, Any]] = {
    "sweep_ms": 3_600_000, "head_check_ms": 3_600_000, "heartbeat_ms": 3_600_000, "heartbeat_lost_ms": 7_200_000,
    "delta_ms": 0,
}  # fmt: skip
PIECES: Final = ("Tea ", "is a ", "leaf.")


class Trip(NamedTuple):
    """What one trip calls."""

    functions: int
    files: int
    file_hops: int
    rooms: int
    room_hops: int


class Counter:
    """Counts the calls of the server's functions in every thread that exists when it is made, and later ones."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.is_counting = False
        self._places: dict[CodeType, str] = {}

    def see(self, frame: FrameType, event: str, _: object) -> None:
        """What sys.setprofile calls."""
        if event != "call" or not self.is_counting or not (place := self._place(frame)):
            return
        caller, below = "", frame.f_back
        while below is not None and not (caller := self._place(below)):
            below = below.f_back
        self.calls.append((place, caller))

    def _place(self, frame: FrameType) -> str:
        """The path of a function's file below `server/`; "" for a function of others."""
        code = frame.f_code
        if code not in self._places:
            file = code.co_filename
            self._places[code] = file.removeprefix(_SERVER) if file.startswith(_SERVER) else ""
        return self._places[code]

    def trip(self) -> Trip:
        """What was counted."""
        rooms = [(_room(place), _room(caller)) for place, caller in self.calls]
        return Trip(
            functions=len(self.calls),
            files=len({place for place, _ in self.calls}),
            file_hops=sum(caller != place for place, caller in self.calls),
            rooms=len({_room(place) for place, _ in self.calls}),
            room_hops=sum(room != caller for room, caller in rooms),
        )

    def hops(self) -> dict[tuple[str, str], int]:
        """(caller's file, called file) → hops between rooms, the most first."""
        found: dict[tuple[str, str], int] = {}
        for place, caller in self.calls:
            if _room(caller) != _room(place):
                found[caller, place] = found.get((caller, place), 0) + 1
        return dict(sorted(found.items(), key=lambda one: -one[1]))


def _room(place: str) -> str:
    return place.partition("/")[0]  # "" is outside


@contextlib.contextmanager
def profiled() -> Iterator[Counter]:
    """A counter that sees this thread and the threads that begin in here."""
    counter = Counter()
    threading.setprofile(counter.see)
    sys.setprofile(counter.see)
    try:
        yield counter
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextlib.contextmanager
def _counting(counter: Counter) -> Iterator[None]:
    counter.calls.clear()
    counter.is_counting = True
    try:
        yield
    finally:
        counter.is_counting = False


async def _speak(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    for piece in PIECES:
        yield piece
        await asyncio.sleep(0.01)  # a piece of its own on the wire


async def _nothing() -> None:
    return


def _open_model(*_: Any, **__: Any) -> LanguageModel:
    return LanguageModel(FunctionModel(stream_function=_speak), close=_nothing)


@contextlib.asynccontextmanager
async def _two_tabs(settings: Settings, workflow: str) -> AsyncIterator[tuple[int, list[Client]]]:
    with tempfile.TemporaryDirectory() as folder:
        async with serve(SqliteStore(str(Path(folder, "trips.db"))), find_workflows(), settings) as port:
            session_id = str(uuid.uuid4())
            tabs = [Client(port, session_id=session_id, workflow=workflow) for _ in range(2)]
            async with tabs[0], tabs[1]:
                for tab in tabs:
                    await tab.until_type("live")
                yield port, tabs


async def _settle() -> None:
    """Let callbacks run that are ready; what is counted has been received by then."""
    for _ in range(20):
        await asyncio.sleep(0.005)


async def line(counter: Counter) -> Trip:
    """A line to the builder that is answered at once, in a session with two tabs."""
    async with _two_tabs(Settings(**_STILL), "builder") as (_, tabs):
        await tabs[0].turn("The history of tea")
        await _settle()
        with _counting(counter):
            await tabs[0].turn("For beginners, ten minutes")
            await tabs[1].until_type("state_update", turn=tabs[0].durable[-1]["payload"]["turn"])
            await _settle()
    return counter.trip()


async def reconnect(counter: Counter) -> Trip:
    """A tab comes back that missed two events of a session with another tab."""
    async with _two_tabs(Settings(**_STILL), "builder") as (port, tabs):
        await tabs[0].turn("The history of tea")
        seen = tabs[0].durable[-3]
        query = {
            "session_id": seen["session_id"],
            "workflow": "builder",
            "after": seen["seq"],
            "last_message_id": seen["message_id"],
        }
        await tabs[1].close()
        await _settle()
        with _counting(counter):
            async with Client(port, **query) as tab:
                await tab.until_type("live")
                await _settle()
                counter.is_counting = False
                assert len(tab.durable) == 2
    return counter.trip()


async def model(counter: Counter) -> Trip:
    """A model answers a line of a plain conversation in three pieces, in a session with two tabs."""
    with patch("server.app.open_model", _open_model):
        settings = Settings(**_STILL, assistant="openai:test-model", openai_api_key="none")
        async with _two_tabs(settings, "chat") as (_, tabs):
            await tabs[0].turn("What is coffee?")
            await _settle()
            with _counting(counter):
                await tabs[0].turn("What is tea?")
                await tabs[1].until_type("token_usage", turn=tabs[0].durable[-1]["payload"]["turn"])
                await _settle()
    return counter.trip()


TRIPS: Final = {"a line that is answered at once": line, "a reconnect": reconnect, "a model's turn": model}


async def main() -> None:
    logs.configure("error", "json")
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    sys.stdout.write(f"{'trip':32}" + "".join(f"{field:>12}" for field in Trip._fields) + "\n")
    with profiled() as counter:
        for name, travel in TRIPS.items():
            trip = await travel(counter)
            sys.stdout.write(f"{name:32}" + "".join(f"{number:>12}" for number in trip) + "\n")
            if "--hops" in sys.argv:
                for (caller, place), count in counter.hops().items():
                    sys.stdout.write(f"    {count:4}  {caller} → {place}\n")


if __name__ == "__main__":
    asyncio.run(main())
