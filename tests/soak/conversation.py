"""One user: a session, one or more tabs, and the outbox that keeps a line until it is settled.

A line is settled by its ack, by its own chat message coming back, or by a refusal that is not temporary. Until then it
is sent again, under the same id, at every reconnect. When the nemesis has had enough, everybody says one last thing and
keeps the tabs open until the calm is over.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.soak.history import History
from tests.soak.tab import Frame, Identity, Tab, Where

TICK_S: Final = 0.1
#: Unacknowledged and unanswered lines at a time; the server's inbox takes 20.
WINDOW: Final = 4
UNANSWERED: Final = 8
#: The longest wait before a connection that is refused is tried again.
LATER_S: Final = 0.5
LEAVE_S: Final = 2.0
LAST_ID: Final = "the-last"


@dataclass(slots=True)
class Pending:
    """A frame in the outbox; `due_s` is when to send it again after a temporary refusal."""

    frame: Frame
    due_s: float | None = None


@dataclass(slots=True)
class Habits:
    """What a user does at a reconnect, and how long between two of them.

    `patience_s`: nothing heard for so long, though something is owed, and the connection is given up.
    """

    cursor: Callable[[Tab], Mapping[str, object]] = Tab.cursor
    pause_s: Callable[[], float] = lambda: 0.02
    trusts_echo: bool = False
    patience_s: float = 1.2


class Calm:
    """The quiet end of a run: from when nothing more befalls the servers until everybody may go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.over = asyncio.Event()


@dataclass(slots=True)
class Heard:
    """What the conversation has come to, as far as its main tab knows."""

    seqs: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    lines: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    cards: list[Frame] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        return len(self.lines - self.answered)


class Conversation:
    """A session and its user."""

    def __init__(
        self,
        where: Where,
        history: History,
        *,
        native: bool = True,
        habits: Habits | None = None,
        session_id: str = "",
        name: str = "main",
    ) -> None:
        self.session_id = session_id or str(uuid.uuid4())
        self.user_id = f"user-{self.session_id[:8]}"
        self.native = native
        self.heard = Heard()
        self.outbox: dict[str, Pending] = {}
        self.done = False
        self.is_settled = False
        self.tabs: list[Tab] = []
        self._where = where
        self._history = history
        self._habits = habits or Habits()
        self._moved = asyncio.Event()
        self._beside: list[asyncio.Task[None]] = []
        self.main = self.tab(name, native=native)

    def tab(self, name: str, *, native: bool = True) -> Tab:
        """Another tab of the user."""
        tab = Tab(Identity(self.session_id, self.user_id, name, native), self._where, self._history, self)
        self.tabs.append(tab)
        return tab

    def stranger(self, user_id: str) -> Tab:
        """A client of somebody else."""
        return Tab(Identity(self.session_id, user_id, "stranger"), self._where, self._history, self)

    def beside(self, work: Coroutine[None, None, None]) -> None:
        """Do something until the conversation ends."""
        self._beside.append(asyncio.create_task(work))

    async def run(self, script: Callable[["Conversation"], AsyncIterator[None]], calm: Calm | None = None) -> None:
        """Act out the script, then wait until everything said is settled and answered; in the calm, stay."""
        main = asyncio.create_task(self._stay_connected())
        watch = asyncio.create_task(self._watch())
        try:
            async for _ in script(self):
                await self.until(lambda: len(self.outbox) < WINDOW and self.heard.unanswered < UNANSWERED)
            await self.until(lambda: not self._is_owed)
            if calm is not None and calm.begun.is_set():
                await self.send(LAST_ID, line(LAST_ID, "so long"))
                await self.until(lambda: LAST_ID not in self.outbox and not self._is_owed)
                self.is_settled = True
                await calm.over.wait()
        finally:
            self.done = True
            watch.cancel()
            try:
                await self.main.leave()
                await asyncio.wait([main], timeout=LEAVE_S)
            finally:
                rest = [main, watch, *self._beside]
                for task in rest:
                    task.cancel()
                await asyncio.gather(*rest, return_exceptions=True)

    async def until(self, fits: Callable[[], bool]) -> None:
        """Wait for something that a frame brings."""
        while not fits():
            self._moved.clear()
            await self._moved.wait()

    async def send(self, message_id: str, frame: Frame, tabs: Iterable[Tab] = ()) -> None:
        """Send a frame that wants an ack, on these tabs at the same time; on the main one if none is named."""
        if not self._is_owed:
            self.main.touched_s = _now_s()
        self.outbox.setdefault(message_id, Pending(frame))
        open_tabs = [tab for tab in (tuple(tabs) or (self.main,)) if tab.is_open]
        await asyncio.gather(*(tab.send(frame) for tab in open_tabs))

    # ------------------------------------------------------------ what tabs tell

    async def opened(self, tab: Tab) -> None:
        """The first frame of a connection is there: send the outbox again."""
        if tab is self.main:
            for pending in list(self.outbox.values()):
                pending.due_s = None
                await tab.send(pending.frame)

    async def received(self, tab: Tab, frame: Frame) -> None:
        """Note what a frame settles."""
        payload: dict[str, Any] = frame["payload"]
        match frame["type"]:
            case "ack" if payload["id"] is not None:
                self.outbox.pop(payload["id"], None)
                self.heard.seqs[payload["id"]] = payload["seq"]
            case "error" if payload["id"] is not None:
                self._refused(payload)
            case "chat_message" if frame["role"] == "user" and "seq" in frame:
                self.heard.lines.add(frame["seq"])
                if self._habits.trusts_echo:
                    self.outbox.pop(payload.get("client_id", ""), None)
            case "state_update":
                self.heard.answered.add(payload["turn"])
            case "action_request" if tab is self.main:
                self.heard.cards.append(frame)
        self._moved.set()

    def _refused(self, payload: Mapping[str, Any]) -> None:
        pending = self.outbox.get(payload["id"])
        if pending is None:
            return
        if payload["temporary"]:
            pending.due_s = _now_s() + payload.get("retry_ms", 50) / 1000
        else:
            self.heard.refused.add(payload["id"])
            del self.outbox[payload["id"]]

    # ------------------------------------------------------------ connections

    @property
    def _is_owed(self) -> bool:
        return bool(self.outbox or self.heard.unanswered)

    async def _stay_connected(self) -> None:
        in_vain = 0
        while not self.done:
            in_vain = 0 if await self.main.connect(self._habits.cursor(self.main)) else in_vain + 1
            await asyncio.sleep(min(self._habits.pause_s() * 2**in_vain, LATER_S))

    async def _watch(self) -> None:
        """Send what was refused for a while, and give up a connection that owes something and is silent."""
        while True:
            await asyncio.sleep(TICK_S)
            now_s = _now_s()
            for pending in list(self.outbox.values()):
                if pending.due_s is not None and pending.due_s <= now_s and self.main.is_open:
                    pending.due_s = None
                    await self.main.send(pending.frame)
            if self._is_owed and now_s - self.main.touched_s > self._habits.patience_s:
                self.main.drop()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def line(message_id: str, text: str, **more: object) -> Frame:
    """A user's line as a native client sends it."""
    return {"type": "user_message", "id": message_id, "data": {"text": text, **more}}
