"""The end of a run: what open tabs come to when nothing happens any more, and what is stored then.

First the calm: every conversation says one last thing, and every tab that is open must come to the head of the log by
itself. Then the servers are killed, and each session is read twice: by a fresh client of a fresh process, and past
every server by the store's own class.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from server.records import Event, SessionKey
from server.store import Store
from tests.soak.conversation import Calm, Conversation
from tests.soak.history import History
from tests.soak.tab import Frame, Identity, Tab, Where
from tests.soak.view import FINAL, STORE

#: How long conversations may take to settle, an open tab to come to the head, a final read to find every answer.
SETTLE_S: Final = 30.0
CONVERGE_S: Final = 10.0
FINAL_S: Final = 10.0
LOOK_S: Final = 0.05
PAGE: Final = 500
#: Final reads at a time.
READERS: Final = 8


async def converge(calm: Calm, talking: Sequence[Conversation], store: Store, history: History) -> None:
    """Begin the calm, let everybody come to rest, and write down which tab is open and where the logs end."""
    calm.begun.set()
    await _until(lambda: all(one.is_settled or one.done for one in talking), SETTLE_S)
    staying = [one for one in talking if not one.done]
    heads = await store.heads([SessionKey(one.user_id, one.session_id) for one in staying])
    for one, head in zip(staying, heads, strict=True):
        event = "head" if one.is_settled else "unsettled"
        history.note(one.session_id, STORE, 0, event, head=head)
    await _until(
        lambda: all(
            one.main.is_open and all(tab.last >= head for tab in one.tabs if tab.is_open)
            for one, head in zip(staying, heads, strict=True)
        ),
        CONVERGE_S,
    )
    for one in staying:
        if not one.main.is_open:
            history.note(one.session_id, one.main.who.name, one.main.connection, "away")
        for tab in one.tabs:
            tab.note_open()
    calm.over.set()


async def _until(fits: Callable[[], bool], within_s: float) -> None:
    """Wait for something; what came of it, the history tells."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not fits():
                await asyncio.sleep(LOOK_S)


async def read_all(sessions: Sequence[Conversation], where: Where, store: Store, history: History) -> None:
    """The final log of every session, as a client and as the store has it."""
    gate = asyncio.Semaphore(READERS)

    async def read(session_id: str, user_id: str) -> None:
        async with gate:
            await read_final(where, history, session_id, user_id)
            await read_stored(store, history, session_id, user_id)

    await asyncio.gather(*(read(one.session_id, one.user_id) for one in sessions))


class FinalReader:
    """Hears a session from its beginning until every line in it has its answer."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.is_live = False
        self.moved = asyncio.Event()

    async def opened(self, tab: Tab) -> None:
        """There is nothing to send."""

    async def received(self, tab: Tab, frame: Frame) -> None:
        """Note lines and answers."""
        if "seq" in frame and frame["role"] == "user":
            self.waiting.add(frame["seq"])
        elif frame["type"] == "state_update":
            self.waiting.discard(frame["payload"]["turn"])
        self.is_live = self.is_live or frame["type"] == "live"
        self.moved.set()


async def read_final(where: Where, history: History, session_id: str, user_id: str) -> None:
    """Read a session to its head, and wait for what is still to be answered."""
    reader = FinalReader()
    tab = Tab(Identity(session_id, user_id, FINAL), where, history, reader)
    connected = asyncio.create_task(tab.connect({}))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINAL_S):
            while not reader.is_live or reader.waiting:
                reader.moved.clear()
                if connected.done():
                    connected = asyncio.create_task(tab.connect({}))
                moved = asyncio.create_task(reader.moved.wait())
                try:
                    await asyncio.wait([connected, moved], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    moved.cancel()
    await tab.leave()
    await asyncio.wait([connected], timeout=2)
    connected.cancel()
    await asyncio.gather(connected, return_exceptions=True)


async def read_stored(store: Store, history: History, session_id: str, user_id: str) -> None:
    """Write down every stored event as the frame that it must have been, and the session's own row."""
    loaded = await store.load(SessionKey(user_id, session_id), 0, PAGE)
    if loaded is None:
        return
    events: Sequence[Event] = loaded.events
    while events:
        for event in events:
            history.note(session_id, STORE, 0, "stored", _frame(event))
        events = await store.read(SessionKey(user_id, session_id), events[-1].seq, PAGE)
    kept = loaded.snapshot
    row = {name: getattr(kept, name) for name in ("seq", "version", "cursor", "lined", "visible", "state", "card")}
    history.note(session_id, STORE, 0, "snapshot", **row, inbox=[line.seq for line in loaded.inbox])


def _frame(event: Event) -> str:
    """Made here, and not by the server's own encoder, which is what is under test."""
    seconds, ms = divmod(event.created_at, 1000)
    frame: dict[str, Any] = {
        "type": event.type,
        "message_id": event.message_id,
        "session_id": event.session_id,
        "timestamp": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z",
        "role": event.role,
        "payload": event.payload,
        "seq": event.seq,
    }
    return msgspec.json.encode(frame).decode()
