"""A client as the protocol wants it: a cursor, an outbox, and everything that it was shown."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.errors import ERROR_CODES
from server.machines import connection, effects, inputs
from server.machines.connection import Cursor
from server.records import SYSTEM, Event
from server.wire.protocol import Cancel, Say, Transient
from tests.model.laws import POISON

if TYPE_CHECKING:
    from tests.model.process import Process
    from tests.model.tab import Frame, Tab
    from tests.model.world import World


class Client:
    """One browser tab. `applied` are the durable frames that it has, `outbox` what was not acknowledged yet."""

    def __init__(self, world: "World", name: str, session_id: str) -> None:
        self.world = world
        self.name = name
        self.session_id = session_id
        self.tab: Tab | None = None
        self.applied: list[Event] = []
        self.outbox: dict[str, Say | Cancel] = {}
        self.said: dict[str, Say] = {}
        self.running: int | None = None
        self._streams: dict[str, tuple[int, str] | None] = {}
        self._said: tuple[int, int, int, str] | None = None  # turn, attempt and number of the last piece; text so far

    # ------------------------------------------------------------ the socket

    def connect(self, process: "Process", cursor: Cursor) -> None:
        self.drop()
        self._streams.clear()
        self._said = None
        self.tab = self.world.new_tab(self, process, cursor)
        self.tab.open()

    def drop(self) -> None:
        """The socket breaks; what was on it is lost."""
        if self.tab is not None:
            self.tab.closed()
            self.tab = None

    def lost(self, tab: "Tab") -> None:
        """The server closed the socket."""
        tab.closed()
        if self.tab is tab:
            self.tab = None

    def cursor(self, *, with_id: bool) -> Cursor:
        """What it has, truthfully."""
        if not self.applied:
            return Cursor()
        return Cursor(after=len(self.applied), last_message_id=self.applied[-1].message_id if with_id else None)

    def shown(self) -> int:
        """How many items a person sees."""
        return sum(frame.role != SYSTEM for frame in self.applied)

    # ------------------------------------------------------------ to the server

    def send(self, request: Say | Cancel) -> None:
        """Put a request into the outbox, and on the socket if there is one."""
        if request.client_id is not None:
            self.outbox[request.client_id] = request
            if isinstance(request, Say):
                self.said[request.client_id] = request
        self.transmit(request)

    def transmit(self, request: Say | Cancel) -> None:
        if self.tab is None:
            return
        world, place = self.world, self.tab.process.place
        world.laws.asked(self.tab.number, request)
        world.tell(self.session_id, self.tab.number, request)
        if isinstance(request, Say):
            self.tab.receive(inputs.Message(self.tab.number, request, world.fresh(), world.now_ms(place)))
        else:
            ids = [world.fresh() for _ in range(3)]
            self.tab.receive(inputs.Cancel(self.tab.number, request.client_id, request.turn, ids, world.now_ms(place)))

    def transmit_all(self) -> None:
        for request in list(self.outbox.values()):
            self.transmit(request)

    def give_up_poison(self) -> None:
        """Nobody can store such a line."""
        said = {key: request for key, request in self.outbox.items() if isinstance(request, Say)}
        for client_id in [key for key, say in said.items() if POISON in say.text]:
            del self.outbox[client_id]

    # ------------------------------------------------------------ from the server

    def take(self, tab: "Tab", frame: "Frame") -> None:
        match frame:
            case connection.Sync(action, snapshot):
                self._begin(action, snapshot.seq)
            case Event():
                self._apply(tab, frame)
            case effects.Ack(_, client_id):
                self.outbox.pop(client_id or "", None)
            case effects.Reject(_, client_id, code):
                # A person reads the answer before they say it again.
                if not ERROR_CODES[code].temporary or code == "turn_running":
                    self.outbox.pop(client_id or "", None)
            case Transient():
                self._show(frame)

    def _begin(self, action: str, head: int) -> None:
        laws = self.world.laws
        if action == "skip_history":
            log = laws.frames(self.session_id)[:head]
            seen, kept = ([event for event in events if event.role != SYSTEM] for events in (self.applied, log))
            laws.hold(seen == kept, f"{self.name} skipped a history that it does not have")
            self.applied = log
        elif action != "send_delta":
            self.applied = []
            self._streams.clear()

    def _apply(self, tab: "Tab", frame: Event) -> None:
        last, laws = len(self.applied), self.world.laws
        if frame.seq <= last:
            laws.hold(self.applied[frame.seq - 1] == frame, f"{self.name} has another event {frame.seq}")
            return
        if frame.seq > last + 1:
            laws.hold(False, f"{self.name} has {last} events and got event {frame.seq}")
            tab.resume(last)
            return
        self.applied.append(frame)
        event = laws.log(self.session_id)[frame.seq - 1]
        if event.client_id is not None:
            self.outbox.pop(event.client_id, None)
        self._end_stream(event)

    def _show(self, frame: Transient) -> None:
        """A piece of an answer; whoever missed one waits for the next reset."""
        if frame.type == "status_update":
            self.running = frame.payload["turn"]
        if frame.type != "stream_delta" or frame.message_id is None:
            return
        self.running = frame.payload["turn"]
        self._hear(frame.payload)
        known, n, text = self._streams.get(frame.message_id), frame.payload["n"], frame.payload["text"]
        if frame.payload["reset"] or n == 1:
            self._streams[frame.message_id] = n, text
        elif known is not None and n == known[0] + 1:
            self._streams[frame.message_id] = n, known[1] + text
        else:
            self._streams[frame.message_id] = None

    def _hear(self, piece: Mapping[str, Any]) -> None:
        """What a person reads of the newest attempt at the newest turn; a piece behind a hole is not shown."""
        now, said = (piece["turn"], piece["attempt"], piece["n"]), self._said
        if said is not None and now <= said[:3]:
            return
        if piece["reset"]:
            self._said = *now, piece["text"]
        elif said is not None and now == (*said[:2], said[2] + 1):
            self._said = *now, said[3] + piece["text"]

    def was_shown(self, turn: int, attempt: int) -> str:
        """What the person reads of a turn now; nothing once a later attempt replaces it."""
        said = self._said
        return said[3] if said is not None and said[0] == turn and said[1] >= attempt else ""

    def _end_stream(self, event: Event) -> None:
        """What was streamed is the beginning of what was said.

        A cancellation keeps what tabs of its own process were shown until then (`was_shown`); tabs of others may
        have been shown more of the same.
        """
        streamed = self._streams.pop(event.message_id, None)
        if streamed is None or event.role == SYSTEM:
            return
        shown, said = streamed[1], str(event.payload.get("text"))
        is_more = event.payload.get("cancelled") is True and shown.startswith(said)
        self.world.laws.hold(said.startswith(shown) or is_more, f"streamed as {shown!r}, said as {said!r}")
