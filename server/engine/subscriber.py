"""The driver of one connection machine: between a transport and the engine.

A transport (WebSocket, later server-sent events) gives it parsed frames and an Outlet, and knows nothing of sessions.
"""

import itertools
from collections.abc import Sequence
from typing import Protocol, assert_never, cast

import structlog

from server.clock import new_id, new_ids, now_ms
from server.engine.engine import Engine
from server.engine.run_step import SPARE_IDS
from server.errors import ERROR_CODES, CloseCode, ErrorCode, SessionUnreadable, StoreError
from server.machines import connection, effects, inputs
from server.machines.connection import Connection, Cursor
from server.records import Event, SessionKey
from server.tasks import Tasks
from server.wire import protocol
from server.wire.dialects import Dialect, EncodedEvents
from server.wire.protocol import Transient
from server.wire.published import PublishedEvents, PublishedFrame

log = structlog.get_logger()

_numbers = itertools.count(1)
#: The card that replaces a stale button is looked for in this many last events.
_CARD_WINDOW = 200
#: Types of transient frames that are dropped when the queue of a slow reader is full.
_DROPPABLE = frozenset({"status_update", "stream_delta", "ping", "presence"})


class Outlet(Protocol):
    """The send queue of one connection."""

    def put(self, events: EncodedEvents, *, gap_ms: int) -> int:
        """Queue events in their order. Returns how many were taken: fewer than given when the queue is full.

        Each text that a person sees is sent at least `gap_ms` after the one before it.
        """
        ...

    def put_transient(self, texts: Sequence[bytes], *, droppable: bool) -> None:
        """Queue the texts of a transient frame. A droppable frame is dropped when there is no room for all of it."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether the queue is short enough for the next page."""
        ...

    def close(self, code: CloseCode) -> None:
        """Close the transport once the queue has gone out."""
        ...


class Subscriber:
    """One connection to one session."""

    def __init__(
        self, engine: Engine, outlet: Outlet, key: SessionKey, cursor: Cursor, *, workflow: str, dialect: Dialect
    ) -> None:
        settings = engine.settings
        self.number = next(_numbers)
        self.key = key
        self.dialect = dialect.connect()
        self.workflow = workflow
        self.replayed = 0
        self._engine = engine
        self._outlet = outlet
        self._machine = Connection(cursor, page_limit=settings.replay_page_limit)
        self._tasks = Tasks(failed=lambda: self.close(CloseCode.INTERNAL))
        # Lines that came before the session was read or started; None from then on.
        self._early: list[tuple[inputs.Message | inputs.Cancel, str | None]] | None = []
        self._log = log.bind(session_id=key.session_id, user_id=key.user_id, connection_id=self.number)

    def open(self) -> None:
        """Subscribe to the session's events, then read the session."""
        self._engine.replies[self.number] = self
        self._perform(self._machine.open())

    def closed(self) -> None:
        """The transport is gone: unsubscribe and cancel the tasks."""
        self._machine.closed()
        self._engine.replies.pop(self.number, None)
        self._engine.broker.unsubscribe(self.key, self)
        self._tasks.cancel()

    @property
    def head(self) -> int:
        """The highest `seq` of the session that this connection knows of."""
        return self._machine.high

    # ------------------------------------------------------------ from the transport

    def receive(self, frame: protocol.Say | protocol.Resume | protocol.Cancel) -> None:
        """Take a frame of the client. An input that the session cannot take is refused with a frame, not raised."""
        match frame:
            case protocol.Say():
                self._deliver(inputs.Message(self.number, frame, new_id(), now_ms()), frame.client_id)
            case protocol.Cancel(client_id, turn):
                ids = new_ids(SPARE_IDS)
                self._deliver(inputs.Cancel(self.number, client_id, turn, ids, now_ms()), client_id)
            case protocol.Resume(after):
                self._perform(self._machine.resume(after))

    def drained(self) -> None:
        """The outlet has room again: go on with the replay."""
        self._perform(self._machine.drained())

    def refuse(self, code: ErrorCode, client_id: str | None = None, retry_ms: int | None = None) -> None:
        """Send a refusal of the client's frame `client_id`.

        A temporary refusal says when to try again: after `retry_ms`, by default STORE_RETRY_MS.
        """
        if retry_ms is None and ERROR_CODES[code].temporary:
            retry_ms = self._engine.settings.store_retry_ms
        for frame in self.dialect.refusals(code, client_id, retry_ms):
            self.show(frame)

    def show(self, frame: Transient) -> None:
        """Send a transient frame to this client."""
        self._outlet.put_transient(self.encode(frame), droppable=frame.type in _DROPPABLE)

    def encode(self, frame: Transient) -> Sequence[bytes]:
        """Encode a transient frame of this session, with a fresh id and the present time, into texts to send."""
        return self.dialect.encode_transient(frame, self.key.session_id, new_id(), now_ms())

    def _deliver(self, received: inputs.Message | inputs.Cancel, client_id: str | None) -> None:
        if self._early is not None and len(self._early) < self._engine.settings.inbox_limit:
            self._early.append((received, client_id))  # the session may not exist yet
        elif self._early is not None:
            self.refuse(ErrorCode.INBOX_FULL, client_id)
        elif self._engine.draining:
            self.refuse(ErrorCode.DRAINING, client_id)
        elif not self._engine.deliver(self.key, self.workflow, received):
            self.refuse(ErrorCode.OVERLOADED, client_id)

    # ------------------------------------------------------------ from the session

    def hear(self, events: PublishedEvents) -> None:
        """Take events that were just committed."""
        self._perform(self._machine.live(events))

    def hint(self, head: int) -> None:
        """Take the highest `seq` of the session that the broker or the engine knows of."""
        self._perform(self._machine.hint(head))

    def hear_transient(self, published: PublishedFrame) -> None:
        """Send a transient frame if this connection is live. One that becomes live later is shown the running turn."""
        if self._machine.phase is connection.Phase.LIVE:
            droppable = published.frame.type in _DROPPABLE
            self._outlet.put_transient(published.texts(self.dialect), droppable=droppable)

    def acked(self, effect: effects.Ack) -> None:
        """Send the ack of a line or a cancellation of this client, which is durable now."""
        texts = self.dialect.encode_ack(
            effect.client_id,
            effect.seq,
            duplicate=effect.duplicate,
            session_id=self.key.session_id,
            message_id=new_id(),
            now_ms=now_ms(),
        )
        self._outlet.put_transient(texts, droppable=False)

    def rejected(self, effect: effects.Reject) -> None:
        """Send the refusal of a line or a cancellation; after a stale button, send the card that is open now."""
        self.refuse(effect.code, effect.client_id)
        if effect.card is not None:
            self._tasks.spawn(self._show_card(effect.card), "card")

    def close(self, code: CloseCode) -> None:
        """Close the connection with `code`, once the queued frames have gone out."""
        self._machine.closed()
        if code is CloseCode.STORE_UNAVAILABLE:
            self.refuse(ErrorCode.STORE_UNAVAILABLE)
        self._outlet.close(code)

    async def _show_card(self, message_id: str) -> None:
        head = self._machine.high
        try:
            events = await self._engine.store.read(self.key, max(0, head - _CARD_WINDOW), _CARD_WINDOW)
        except StoreError as error:
            self._log.warning("card_failed", error=str(error))
            return
        for card in (event for event in events if event.message_id == message_id):
            # It keeps its id and its time, but has no `seq`: the client would see a gap or a repetition.
            again = Transient(card.type, card.payload, card.role)
            texts = self.dialect.encode_transient(again, self.key.session_id, message_id, card.created_at)
            self._outlet.put_transient(texts, droppable=True)

    # ------------------------------------------------------------ effects

    def _perform(self, effects: Sequence[connection.Effect]) -> None:
        for effect in effects:
            match effect:
                case connection.Send(items, replay):
                    self._send(cast("Sequence[Event]", items), replay=replay)  # the machine sends what it was given
                case connection.Subscribe():
                    self._engine.broker.subscribe(self.key, self)
                case connection.Load():
                    self._tasks.spawn(self._load(effect), "connect")
                case connection.Read():
                    self._tasks.spawn(self._read(effect), "replay")
                case connection.Create():
                    if not self._engine.open(self.key, None, self.workflow):
                        self.close(CloseCode.OVERLOADED)
                case connection.Sync():
                    self._sync(effect)
                case connection.WentLive(head):
                    self._went_live(head)
                case connection.Close(CloseCode.INTERNAL):
                    self._unreadable("its log has a hole")
                case connection.Close(code):
                    self.close(code)
                case _:
                    assert_never(effect)

    def _send(self, events: Sequence[Event], *, replay: bool) -> None:
        dialect = self.dialect
        encode = dialect.encode_events
        try:
            encoded = events.encoded(encode) if isinstance(events, PublishedEvents) else EncodedEvents(encode(events))
        except Exception:  # noqa: BLE001  a dialect is foreign code: close, so that no event is skipped (L7)
            self._log.exception("encoding_failed", dialect=dialect.name)
            self.close(CloseCode.INTERNAL)
            return
        taken = self._outlet.put(encoded, gap_ms=dialect.replay_gap_ms if replay else dialect.gap_ms)
        self.replayed += taken if replay else 0
        if taken < len(events):
            self._machine.full(events[taken].seq - 1)
            return
        if replay and self._outlet.has_room:
            self._perform(self._machine.drained())

    def _sync(self, effect: connection.Sync) -> None:
        snapshot, settings = effect.snapshot, self._engine.settings
        self.workflow = snapshot.workflow
        self.show(
            protocol.sync_response(
                effect.action,
                snapshot,
                state=self._engine.legacy_state(snapshot) if self.dialect.legacy_states else snapshot.state,
                running=self._engine.running(self.key),
                summary=self._engine.summary(snapshot.workflow, snapshot.memory),
                heartbeat_ms=settings.heartbeat_ms,
                limits={
                    "frame_max_bytes": settings.frame_max_bytes,
                    "text_max_chars": settings.text_max_chars,
                    "inbox": settings.inbox_limit,
                },
            )
        )
        self._log = self._log.bind(state=snapshot.state, action=effect.action)
        early, self._early = self._early, None
        for received, client_id in early or ():
            self._deliver(received, client_id)

    def _went_live(self, head: int) -> None:
        self.show(Transient("live", {"head": head}))
        machine = self._engine.machine(self.key)
        for frame in machine.catch_up() if machine else ():
            self.show(frame)
        self._log.info("session_restored", head=head, replayed=self.replayed)

    async def _load(self, effect: connection.Load) -> None:
        await self._engine.broker.joined(self.key)  # later commits are published to us, so none is missed
        try:
            loaded = await self._engine.store.load(self.key, effect.after, effect.limit)
        except StoreError as error:
            self._log.warning("connect_failed", error=str(error))
            if isinstance(error, SessionUnreadable):
                self._unreadable(str(error))
                return
            self._perform(self._machine.read_failed(effect.read_id))
            return
        if loaded is not None and loaded.snapshot.workflow not in self._engine.workflows:
            self._unreadable(f"there is no workflow {loaded.snapshot.workflow[:60]!r} here")
            return
        if loaded is not None and loaded.inbox:
            # Wake the session: its unanswered lines run now, not at the next sweep.
            self._engine.open(self.key, loaded, loaded.snapshot.workflow)
        snapshot, events = (loaded.snapshot, loaded.events) if loaded is not None else (None, ())
        self._perform(self._machine.loaded(effect.read_id, snapshot, events))

    def _unreadable(self, reason: str) -> None:
        """Refuse and close: the session exists but cannot be read. The client may return; an operator may mend it."""
        self._engine.tell_unreadable(self.key, reason)
        self.refuse(ErrorCode.SESSION_UNREADABLE)
        self.close(CloseCode.INTERNAL)

    async def _read(self, effect: connection.Read) -> None:
        try:
            events = await self._engine.store.read(self.key, effect.after, effect.limit)
        except StoreError as error:
            self._log.warning("replay_failed", error=str(error))
            if isinstance(error, SessionUnreadable):
                self._unreadable(str(error))
                return
            self._perform(self._machine.read_failed(effect.read_id))
            return
        self._perform(self._machine.page(effect.read_id, events))
