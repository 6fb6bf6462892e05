"""The machine of one subscriber: replays the log from the client's cursor to the head, then passes on live events.

No asyncio, no clock, no I/O here: inputs are method calls, and each returns the effects to perform, in order.

It subscribes first and reads then. Events that are published before the replay has ended are not kept; only the highest
`seq` of them is (`high`). While the replay is behind `high`, the machine reads again. So a replay comes from the store
alone, and the race between the read and the subscription can neither lose nor double a frame.

    input                LOADING                  REPLAYING            LIVE
    loaded: a page       Sync, Send → REPLAYING   –                    –
    loaded: nothing      Sync, WentLive → LIVE    –                    –
    loaded: a resume     Send → REPLAYING         –                    –
    loaded: none         Create                   –                    –
    page                 –                        Send                 –
    page: a hole         –                        Close → CLOSED       –
    live: the next       note                     note                 note, Send
    live: old            –                        –                    –
    live: a gap          note                     note                 note, Read → REPLAYING
    hint: ahead          note                     note                 note, Read → REPLAYING
    hint: known          –                        –                    –
    full                 –                        back                 back → REPLAYING
    drained: short       –                        Read                 –
    drained: at head     –                        WentLive → LIVE      –
    resume               –                        Load → LOADING       Load → LOADING
    read_failed          Close → CLOSED           Close → CLOSED       never

note: keep the highest `seq` heard of. back: set `last` to the last event that the send queue took. never: a LIVE
connection does not read. A connection that found no session stays in LOADING until it hears of an event, and loads
again. A replay goes on when the send queue has `drained`; if `loaded` has nothing to send, it goes on at once.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct

from server.errors import CloseCode
from server.records import Snapshot


class Numbered(Protocol):
    """A durable frame, as far as this machine uses it."""

    @property
    def seq(self) -> int: ...  # noqa: D102

    @property
    def message_id(self) -> str: ...  # noqa: D102


class Cursor(Struct, frozen=True):
    """What a client says it has: its last durable frame (`after`: its seq), or its number of items (old builder)."""

    after: int | None = None
    last_message_id: str | None = None
    skip_history: bool = False
    message_count: int | None = None


class Subscribe(Struct, frozen=True):
    """Subscribe to the session's events at the broker."""


class Load(Struct, frozen=True):
    """Load the snapshot and the page behind `after`; answer with `loaded`."""

    read_id: int
    after: int
    limit: int


class Read(Struct, frozen=True):
    """Read the page behind `after`; answer with `page`."""

    read_id: int
    after: int
    limit: int


class Create(Struct, frozen=True):
    """The session does not exist: start it. Its greeting will come as a live event."""


class Sync(Struct, frozen=True):
    """Send the sync response: the session's state, and which replay follows (`action` as on the wire)."""

    action: str
    snapshot: Snapshot


class Send(Struct, frozen=True):
    """Send durable frames, in order. `replay`: whether a paced dialect keeps the gap of a replay between them."""

    items: Sequence[Numbered]
    replay: bool


class WentLive(Struct, frozen=True):
    """The client has all events up to `head`; from now on it gets live events and frames of the running turn."""

    head: int


class Close(Struct, frozen=True):
    """Close the connection with this code."""

    code: CloseCode


Effect = Subscribe | Load | Read | Create | Sync | Send | WentLive | Close


class Phase(Enum):
    """The phase of a subscriber; see the table above."""

    NEW = "new"
    LOADING = "loading"
    REPLAYING = "replaying"
    LIVE = "live"
    CLOSED = "closed"


class Connection:
    """One subscriber of one session. `page_limit` is the most events of one read."""

    def __init__(self, cursor: Cursor, *, page_limit: int) -> None:
        self._cursor = cursor
        self._page_limit = page_limit
        self._read_id = 0
        self._reading = False
        self._creating = False
        self._greeted = False
        self._unknown = False  # the first load found no session: the cursor is wrong
        self.phase = Phase.NEW
        self.last = 0
        self.high = 0

    def open(self) -> list[Effect]:
        """Subscribe, then load: an event that is committed between the two is not missed."""
        return [Subscribe(), *self._load()]

    def loaded(self, read_id: int, snapshot: Snapshot | None, items: Sequence[Numbered]) -> list[Effect]:
        """Take the answer to Load: the snapshot (None: no such session) and the events of the page."""
        if read_id != self._read_id or self.phase is not Phase.LOADING:
            return []
        self._reading = False
        if snapshot is None:
            if self._greeted:
                return self._close(CloseCode.SESSION_ENDED)
            self._unknown = True
            if self.high > 0:  # another tab started it between our read and now
                self.high = 0  # the next load covers the events heard of, or finds no session again
                return self._load()
            self._creating = True
            return [Create()]
        first, self._greeted = not self._greeted, True
        self.phase = Phase.REPLAYING
        self.high = max(self.high, snapshot.seq)
        action = self._position(snapshot, items)
        told: list[Effect] = [Sync(action, snapshot)] if first or action == "reset" else []
        return told + self._send([item for item in items if item.seq > self.last])

    def page(self, read_id: int, items: Sequence[Numbered]) -> list[Effect]:
        """Take the answer to Read. A page that does not begin behind `last` means a cut log: close the connection."""
        if read_id != self._read_id or self.phase is not Phase.REPLAYING:
            return []
        self._reading = False
        if not self._joins(items):
            # Events with a hole between them stay so: the client must not come back at once.
            return self._close(CloseCode.INTERNAL if items else CloseCode.INSUFFICIENT_STATE)
        return self._send(items)

    def read_failed(self, read_id: int) -> list[Effect]:
        """A read of the store failed: close the connection. The client returns later with its own cursor."""
        if read_id != self._read_id or self.phase is Phase.CLOSED:
            return []
        return self._close(CloseCode.STORE_UNAVAILABLE)

    def live(self, items: Sequence[Numbered]) -> list[Effect]:
        """Take events that were just committed. They are sent when LIVE and without a gap; else only noted."""
        if not items:
            return []
        fresh = items if items[0].seq == self.last + 1 else [item for item in items if item.seq > self.last]
        if self.phase is not Phase.LIVE or not self._joins(fresh):
            return self.hint(items[-1].seq)
        self.high = self.last = fresh[-1].seq
        return [Send(fresh, replay=False)]

    def hint(self, head: int) -> list[Effect]:
        """Note the session's head. If it is ahead of a LIVE connection, read the missing events."""
        self.high = max(self.high, head)
        if self._creating and self.phase is Phase.LOADING and head > 0:
            self._creating = False
            return self._load()
        if self.phase is Phase.LIVE and self.high > self.last:
            self.phase = Phase.REPLAYING
            return self._go_on()
        return []

    def full(self, last: int) -> list[Effect]:
        """The send queue took no frame behind `last`. After it has drained, the frames left are read again."""
        if self.phase in (Phase.REPLAYING, Phase.LIVE):
            self.phase = Phase.REPLAYING
            self.last = last
        return []

    def drained(self) -> list[Effect]:
        """The send queue has room: go on with the replay."""
        if self.phase is Phase.REPLAYING and not self._reading:
            return self._go_on()
        return []

    def resume(self, after: int) -> list[Effect]:
        """The client saw a gap: load again, and replay behind `after`."""
        if self.phase not in (Phase.REPLAYING, Phase.LIVE):
            return []
        self._cursor, self._unknown = Cursor(after=after), False
        return self._load()

    def closed(self) -> None:
        """The connection is gone: ignore all later inputs."""
        self.phase = Phase.CLOSED

    def _load(self) -> list[Effect]:
        cursor = self._cursor
        after, limit = cursor.after or 0, self._page_limit
        if after > 0 and cursor.last_message_id is not None:
            after, limit = after - 1, limit + 1  # one event more: the one whose id the client claims to have
        elif cursor.skip_history:
            limit = 0
        self.phase = Phase.LOADING
        return [Load(self._next_read(), after, limit)]

    def _position(self, snapshot: Snapshot, items: Sequence[Numbered]) -> str:
        """Check the cursor and set `last` to the last event the client has. Returns the wire's `action`."""
        cursor = self._cursor
        self.last = 0
        if cursor.after:
            claimed = cursor.last_message_id
            if cursor.after > snapshot.seq or self._unknown:
                return "reset"
            if claimed is not None and (not items or items[0].message_id != claimed):
                return "reset"
            self.last = cursor.after
            return "send_delta"
        if cursor.skip_history and cursor.message_count == snapshot.visible:
            self.last = snapshot.seq
            return "skip_history"
        return "send_history"

    def _send(self, items: Sequence[Numbered]) -> list[Effect]:
        """Send a page. The next read waits for `drained`, so that a slow client paces its own replay."""
        if not self._joins(items):
            return self._go_on()
        self.last = items[-1].seq
        return [Send(items, replay=True)]

    def _joins(self, items: Sequence[Numbered]) -> bool:
        """Whether the items follow `last` without a gap."""
        return bool(items) and items[0].seq == self.last + 1 and items[-1].seq == self.last + len(items)

    def _go_on(self) -> list[Effect]:
        if self.last < self.high:
            return [Read(self._next_read(), self.last, self._page_limit)]
        self.phase = Phase.LIVE
        return [WentLive(self.last)]

    def _next_read(self) -> int:
        self._reading = True
        self._read_id += 1
        return self._read_id

    def _close(self, code: CloseCode) -> list[Effect]:
        self.phase = Phase.CLOSED
        return [Close(code)]
