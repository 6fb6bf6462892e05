"""One client: a place in the log, an outbox that it shares with the other tabs, one connection at a time.

It follows the protocol's rule: `seq ≤ last` drop, `last + 1` apply, more → `resume`.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tests.soak.history import History

Frame = dict[str, Any]
OPEN_S: Final = 1.5
#: Close codes that ask to come back later.
BACK_OFF: Final = range(4100, 4200)
_read: Final = msgspec.json.Decoder(Frame)
VISIBLE: Final = frozenset({"chat_message", "action_request", "slide_update", "presentation_url"})


class Address(NamedTuple):
    """The number of a process, and its port."""

    number: int
    port: int


class Where(Protocol):
    """Where the servers are."""

    def pick(self) -> Address:
        """One of them: each connection may go to another."""


class Listener(Protocol):
    """Who hears of what a tab receives."""

    async def opened(self, tab: "Tab") -> None:
        """The first frame is there."""

    async def received(self, tab: "Tab", frame: Frame) -> None:
        """A frame that is new to this tab."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose session, and under which name the history knows the client."""

    session_id: str
    user_id: str
    name: str
    native: bool = True


class Tab:
    """One client of one session."""

    def __init__(self, who: Identity, where: Where, history: History, listener: Listener) -> None:
        self.who = who
        self.ids: list[str | None] = []
        self.visible = 0
        self.connection = 0
        self.is_open = False
        self.caught_up = asyncio.Event()
        self.touched_s = 0.0
        self._where = where
        self._history = history
        self._listener = listener
        self._socket: ClientConnection | None = None
        self._ours = False
        self._resuming = False
        self._after = 0

    @property
    def last(self) -> int:
        """The last durable frame that was applied."""
        return len(self.ids)

    def cursor(self) -> dict[str, object]:
        """The honest cursor; a frame that was skipped has no id here."""
        if not self.ids:
            return {}
        return {"after": self.last} if self.ids[-1] is None else {"after": self.last, "last_message_id": self.ids[-1]}

    async def connect(self, cursor: Mapping[str, object]) -> bool:
        """Connect and receive until the end of the connection; False: better wait before the next one."""
        self.connection += 1
        self._after = int(str(cursor.get("after", 0)))
        query = {
            "session_id": self.who.session_id,
            "user_id": self.who.user_id,
            "workflow": "echo",
            **{name: str(value) for name, value in cursor.items()},
        }
        dialect = "native" if self.who.native else "builder"
        address = self._where.pick()
        self._note("connect", number=address.number, dialect=dialect, query=query)
        url = f"ws://127.0.0.1:{address.port}/ws?{urlencode(query)}"
        subprotocols = [Subprotocol("rejoinder.v1")] if self.who.native else None
        try:
            self._socket = await connect(
                url,
                subprotocols=subprotocols,
                compression=None,
                max_size=None,
                proxy=None,
                open_timeout=OPEN_S,
                close_timeout=1,
                ping_interval=None,
            )
        except InvalidStatus as error:
            self._note("refused", status=error.response.status_code)
            return False
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            self._note("broken", why=type(error).__name__)
            return False
        return await self._receive(self._socket) not in BACK_OFF

    async def send(self, frame: Frame) -> None:
        """Send a frame; whether it arrives, the history will tell."""
        await self._send("send", json.dumps(frame, ensure_ascii=False))

    async def send_garbage(self, text: str) -> None:
        """Send what is no frame."""
        await self._send("garbage", text)

    def note_open(self) -> None:
        """Write in the history that this tab is open now, if it is."""
        if self.is_open:
            self._note("still")

    def drop(self) -> None:
        """Cut the connection without a word."""
        if self._socket is not None and not self._ours:
            self._ours = True
            self._note("drop")
            self._socket.transport.abort()

    async def leave(self) -> None:
        """Close the connection politely."""
        if self._socket is not None and not self._ours:
            self._ours = True
            self._note("leave")
            await self._socket.close()

    async def _send(self, event: str, text: str) -> None:
        if self._socket is None:
            return
        if event == "send":
            self._history.note(self.who.session_id, self.who.name, self.connection, event, text)
        else:
            self._note(event, text=text)
        with contextlib.suppress(ConnectionClosed):  # the receiving side says so
            await self._socket.send(text)

    async def _receive(self, socket: ClientConnection) -> int:
        self._ours = self._resuming = False
        self.touched_s = asyncio.get_running_loop().time()
        self._note("open")
        try:
            async for message in socket:
                text = message if isinstance(message, str) else message.decode()
                self._history.note(self.who.session_id, self.who.name, self.connection, "recv", text)
                self.touched_s = asyncio.get_running_loop().time()
                if text.startswith("{"):
                    await self._take(_read.decode(text))
        except ConnectionClosed:
            pass
        finally:
            socket.transport.abort()
            self.is_open = False
            self.caught_up.clear()
            self._socket = None
        code = socket.close_code or 1006
        self._note("close", code=code, ours=self._ours)
        return code

    async def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "sync_response":
            await self._synced(frame["payload"])
        elif kind == "live":
            self._resuming = False
            self.caught_up.set()
        elif "seq" in frame:
            if frame["seq"] > self.last + 1:
                if not self._resuming:
                    self._resuming = True
                    await self.send({"type": "resume", "after": self.last})
                return
            if frame["seq"] <= self.last:
                return
            self.ids.append(frame["message_id"])
            self.visible += kind in VISIBLE
        await self._listener.received(self, frame)

    async def _synced(self, payload: Frame) -> None:
        if payload["action"] in ("reset", "send_history"):
            self.ids, self.visible = [], 0
        believed = {"skip_history": payload["head"], "send_delta": self._after}.get(payload["action"], 0)
        self.ids += [None] * (believed - self.last)
        if not self.who.native:
            self.caught_up.set()
        if not self.is_open:
            self.is_open = True
            await self._listener.opened(self)

    def _note(self, event: str, **known: Any) -> None:
        self._history.note(self.who.session_id, self.who.name, self.connection, event, **known)
