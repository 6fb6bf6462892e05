"""One connection: the real machine, its send queue, and the socket to a client."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from server.errors import CloseCode
from server.machines import connection, effects, inputs
from server.machines.connection import Connection, Cursor, Phase
from server.records import Event, Loaded, SessionKey
from server.wire.protocol import Transient
from tests.model.process import PAGE_LIMIT, Process
from tests.support.builders import USER

if TYPE_CHECKING:
    from tests.model.client import Client

#: How many frames a send queue takes, and at how many it has room for the next page.
HARD_FRAMES = 4
SOFT_FRAMES = 1

Frame = connection.Sync | Event | effects.Ack | effects.Reject | Transient


class Tab:
    """Between a process and a client, until either lets go of the socket."""

    def __init__(self, number: int, client: "Client", process: Process, cursor: Cursor) -> None:
        self.number = number
        self.client = client
        self.process = process
        self.session_id = client.session_id
        self.machine = Connection(cursor, page_limit=PAGE_LIMIT)
        self.queue: deque[Frame] = deque()
        self._laws = process.world.laws
        self._cursor = cursor
        self.heard = 0  # what its process has heard of since the client came
        self._next: int | None = None  # the `seq` that must come next
        self._found_nothing = False
        self._was_full = False
        self._early: list[inputs.Message | inputs.Cancel] | None = []

    def open(self) -> None:
        self.process.tabs[self.number] = self
        self.perform(self.machine.open())

    def closed(self) -> None:
        """The socket is gone."""
        self.machine.closed()
        self.process.tabs.pop(self.number, None)
        subscribers = self.process.subscribers[self.session_id]
        if self in subscribers:
            subscribers.remove(self)

    # ------------------------------------------------------------ from the client

    def receive(self, received: inputs.Message | inputs.Cancel) -> None:
        if self._early is not None:
            self._early.append(received)
        else:
            self.process.deliver(self.session_id, received)

    def resume(self, after: int) -> None:
        if self.machine.phase in (Phase.REPLAYING, Phase.LIVE):
            self._next, self._cursor, self._found_nothing = None, Cursor(after=after), False
        self.perform(self.machine.resume(after))

    @property
    def is_syncing(self) -> bool:
        """Whether a word is on its way to the client that may take away what it has."""
        return any(isinstance(frame, connection.Sync) for frame in self.queue)

    def read(self, count: int) -> None:
        """The client takes so many frames off the socket."""
        for _ in range(min(count, len(self.queue))):
            if not self.queue:
                return
            self.client.take(self, self.queue.popleft())
        if self._was_full and len(self.queue) <= SOFT_FRAMES:
            self._was_full = False
            self.perform(self.machine.drained())

    # ------------------------------------------------------------ to the client

    def put(self, frame: Frame) -> None:
        """A frame that is not in the log; a slow reader does without some."""
        if not isinstance(frame, Transient) or len(self.queue) < HARD_FRAMES:
            self.queue.append(frame)

    def hear(self, events: Sequence[Event]) -> None:
        self.heard = max(self.heard, events[-1].seq)
        self.perform(self.machine.live(events))

    def hint(self, head: int) -> None:
        self.heard = max(self.heard, head)
        self.perform(self.machine.hint(head))

    def hear_transient(self, frame: Transient) -> None:
        if self.machine.phase is Phase.LIVE:
            self.put(frame)

    def close(self, code: CloseCode) -> None:
        failed = code is CloseCode.STORE_UNAVAILABLE and not self.process.world.is_faultless
        self._laws.hold(failed, f"a connection was closed: {code.name}")
        self.client.lost(self)

    # ------------------------------------------------------------ effects

    def perform(self, effects: Sequence[connection.Effect]) -> None:
        for effect in effects:
            self.process.world.tell(self.session_id, self.number, effect)
            match effect:
                case connection.Subscribe():
                    subscribers = self.process.subscribers[self.session_id]
                    subscribers += [self] if self not in subscribers else []
                case connection.Load():
                    self._load(effect)
                case connection.Read():
                    self._read(effect)
                case connection.Create():
                    self.process.open(self.session_id, None)
                case connection.Sync():
                    self._sync(effect)
                case connection.Send(items, replay):
                    self._send(items, replay=replay)
                case connection.WentLive(head):
                    self._laws.hold(head + 1 == self._next, f"live at {head} before event {self._next} was sent")
                    self._laws.hold(head >= self.heard, f"live at {head}, though event {self.heard} was heard of")
                    self._catch_up()
                case connection.Close(code):
                    self.close(code)

    def keeps_up_with(self, head: int) -> None:
        """What the session here knows of, its connections here know of: no later news may be needed for that."""
        if self.machine.phase in (Phase.REPLAYING, Phase.LIVE):
            self._laws.hold(self.machine.high >= head, f"the session has event {head}, a connection was not told")

    def _catch_up(self) -> None:
        if (awake := self.process.awake.get(self.session_id)) is not None:
            frames = awake.machine.catch_up()
            awake.caught_up(frames)
            for frame in frames:
                self.put(frame)

    def _sync(self, sync: connection.Sync) -> None:
        after = self._laws.synced(self.session_id, self._cursor, sync, unknown=self._found_nothing)
        self._next = after + 1
        self.put(sync)
        early, self._early = self._early, None
        for received in early or ():
            self.process.deliver(self.session_id, received)

    def _send(self, items: Sequence[connection.Numbered], *, replay: bool) -> None:
        """Everything behind the cursor, and nothing else, in order."""
        self._laws.are_durable(self.session_id, items, "sent")
        for item in items:
            assert isinstance(item, Event)
            expected = self._next or (self._cursor.after or 0) + 1
            self._laws.hold(item.seq == expected, f"event {item.seq} was sent where {expected} must follow")
            if sum(isinstance(frame, Event) for frame in self.queue) >= HARD_FRAMES:
                self._was_full = True
                self.machine.full(item.seq - 1)
                self._next = item.seq
                return
            self._next = item.seq + 1
            self.queue.append(item)
        if replay and not self._is_full():
            self.perform(self.machine.drained())

    def _is_full(self) -> bool:
        self._was_full = self._was_full or len(self.queue) > SOFT_FRAMES
        return len(self.queue) > SOFT_FRAMES

    def _load(self, effect: connection.Load) -> None:
        store = self.process.world.store

        def loaded(found: Loaded | Exception | None) -> None:
            if self.machine.phase is Phase.CLOSED:
                return
            if isinstance(found, Exception):
                self.perform(self.machine.read_failed(effect.read_id))
                return
            if found is not None and found.inbox:
                self.process.open(self.session_id, found)
            self._found_nothing = self._found_nothing or found is None
            items = found.events if found else []
            self._be_resumed(found)
            self.perform(self.machine.loaded(effect.read_id, found.snapshot if found else None, items))

        self.process.store.ask(
            "load", lambda: store.load(SessionKey(USER, self.session_id), effect.after, effect.limit), loaded
        )

    def _be_resumed(self, found: Loaded | None) -> None:
        """A resume within a connection is answered by frames alone, so they must follow its cursor."""
        if self._next is None and self._early is None and found is not None:
            self._next = (self._cursor.after or 0) + 1

    def _read(self, effect: connection.Read) -> None:
        store = self.process.world.store

        def read(page: list[Event] | Exception) -> None:
            if isinstance(page, Exception):
                self.perform(self.machine.read_failed(effect.read_id))
            elif self.machine.phase is not Phase.CLOSED:
                self.perform(self.machine.page(effect.read_id, page))

        self.process.store.ask(
            "read", lambda: store.read(SessionKey(USER, self.session_id), effect.after, effect.limit), read
        )
