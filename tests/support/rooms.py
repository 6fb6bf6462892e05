"""An engine in this process with people in it: each is a connection whose frames are kept, and a session of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from server.assistant import Assistant
from server.broker import LocalBroker
from server.clock import new_id
from server.engine.engine import Engine
from server.engine.subscriber import Subscriber
from server.engine.upkeep import Upkeep
from server.errors import CloseCode
from server.machines.connection import Cursor
from server.records import SessionKey
from server.settings import Settings
from server.store import Store
from server.wire.dialects import EncodedEvents
from server.wire.dialects.native import Native
from server.wire.protocol import Say
from server.workflows.table import Workflow
from tests.support.dict_store import DictStore
from tests.support.example_workflows import ECHO

WAIT_S = 20
QUICK: Mapping[str, Any] = {"store_retry_ms": 20, "sweep_ms": 100, "status_after_ms": 10_000}


class Person:
    """One connection; `frames` is everything that it was sent, `code` what it was closed with."""

    has_room = True

    def __init__(self, engine: Engine, key: SessionKey, workflow: str) -> None:
        self.key = key
        self.frames: list[dict[str, Any]] = []
        self.code: CloseCode | None = None
        self._changed = asyncio.Event()
        self.subscriber = Subscriber(engine, self, key, Cursor(), workflow=workflow, dialect=Native())
        self.subscriber.open()

    def put(self, events: EncodedEvents, *, gap_ms: int) -> int:
        self._take(events.texts)
        return len(events.frames)

    def put_transient(self, texts: Sequence[bytes], *, droppable: bool) -> None:
        self._take(texts)

    def close(self, code: CloseCode) -> None:
        self.code = self.code or code
        self._changed.set()
        self.subscriber.closed()

    def _take(self, texts: Sequence[bytes]) -> None:
        self.frames += map(msgspec.json.decode, texts)
        self._changed.set()

    def say(self, text: str, client_id: str | None = None) -> str:
        client_id = client_id or new_id()
        self.subscriber.receive(Say(client_id, text))
        return client_id

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of the frames of one type."""
        return [frame["payload"] for frame in self.frames if frame["type"] == kind]

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The payload of the last frame of this type, once there are so many."""
        async with asyncio.timeout(WAIT_S):
            while len(self.of(kind)) < count:
                assert self.code is None, (self.code, self.frames)
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[-1]

    async def until_closed(self) -> CloseCode:
        async with asyncio.timeout(WAIT_S):
            while self.code is None:
                self._changed.clear()
                await self._changed.wait()
        return self.code

    async def turn(self, text: str) -> dict[str, Any]:
        """Say a line, and wait for its turn's end: the state_update."""
        before = len(self.of("state_update"))
        self.say(text)
        return await self.until("state_update", before + 1)

    @property
    def words(self) -> list[Any]:
        return [payload.get("text") for payload in self.of("chat_message")]


class Room:
    def __init__(
        self, *workflows: Workflow, store: Store | None = None, assistant: Assistant | None = None, **changes: Any
    ) -> None:
        self.store = store or DictStore()
        settings = replace(Settings(), **{**QUICK, **changes})
        known = {workflow.name: workflow for workflow in (*workflows, ECHO)}
        self.engine = Engine(self.store, LocalBroker(), known, settings, assistant=assistant)
        self.rounds = Upkeep(self.engine, settings, shared=False)

    async def enter(self, workflow: str = "echo", key: SessionKey | None = None) -> Person:
        """Somebody connects; back when the connection is live."""
        person = self.join(workflow, key)
        await person.until("live")
        return person

    def join(self, workflow: str = "echo", key: SessionKey | None = None) -> Person:
        return Person(self.engine, key or SessionKey("ann", new_id()), workflow)


@contextlib.asynccontextmanager
async def room(*workflows: Workflow, **settings: Any) -> AsyncIterator[Room]:
    made = Room(*workflows, **settings)
    await made.store.open()
    made.engine.start()
    made.rounds.start()
    try:
        yield made
    finally:
        await made.rounds.close()
        await made.engine.close()
        await made.store.close()
