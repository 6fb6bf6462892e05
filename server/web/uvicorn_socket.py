"""Gaps of uvicorn's WebSocket protocol, closed, and the short way of a text frame in both directions.

A peer that does not read must cost nothing:

- A ping flood is answered without flow control, so the write buffer grows for as long as the peer sends and does not
  read: while writing is paused, we do not read either.
- Closing waits for the write buffer to drain, for ever if the peer never reads: the application gets `abort`.
- An upgrade that the application refuses with a status is logged as an error of the application.

And a frame must cost little. Through the ASGI queue a line takes a message, a wake-up of its connection's task and two
changes of what the loop polls for; a frame that is sent takes a write of its own. So the application may take texts as
they come (`on_text`) and hand over several at once (`write_texts`). What comes is cut into frames here (RFC 6455 §5.2):
a whole text frame goes to the application; all else – control frames, fragments, extensions, violations, what is long –
goes to websockets, which sees whole frames only, in their order.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without a compiler
    from websockets.utils import apply_mask

#: The ASGI extension under which the application finds this protocol, as its outlet's `Wire`.
WIRE_EXTENSION = "rejoinder.wire"

#: The first byte of a text frame without fragments and extensions: the bit FIN, and opcode 1.
_WHOLE_TEXT: Final = 0x81
_FIN: Final = 0x80
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
#: The head of a masked frame whose size has one byte, and what says that a size has eight.
_SHORTEST: Final = 6
_WIDE: Final = _MASKED | 127
#: What a frame may measure that is kept here until it is whole: each of its pieces copies those before it.
_KEPT_BYTES: Final = 65_536


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with both directions bounded."""

    #: Set by the application: takes each text as it comes. Until then texts go through the ASGI queue.
    on_text: Callable[[str], None] | None = None
    #: Set by the application: called when writes go out without a wait again.
    on_writable: Callable[[], None] | None = None
    #: Whether written bytes go out without a wait.
    is_writable = True
    _cuts = False  # whether frames are cut here: from the upgrade's end on
    _is_early = False  # the peer spoke before that
    _rest = b""  # the beginning of a text frame
    _owed = 0  # bytes that are still to come of a frame that websockets has the beginning of
    _in_parts = False  # between the fragments of a message

    def handle_connect(self, event: Request) -> None:
        """Offer the wire to the application, which starts at the next turn of the loop."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WIRE_EXTENSION] = {"wire": self}

    def pause_writing(self) -> None:
        """The peer does not read: stop reading from it too."""
        super().pause_writing()
        self.is_writable = False
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again: go on reading from it."""
        super().resume_writing()
        self.is_writable = True
        if not self.read_paused:
            self.transport.resume_reading()
        if self.on_writable is not None:
            self.on_writable()

    # ------------------------------------------------------------ inbound

    def data_received(self, data: bytes) -> None:
        """Take the whole text frames; leave all other bytes to the websockets library."""
        if not self._cuts:
            self._is_early = self._is_early or self.handshake_initiated
            super().data_received(data)
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        place, there = 0, len(data)
        if there > _SHORTEST and data[0] == _WHOLE_TEXT and not (self._owed or self._in_parts or self.close_sent):
            # Most of what comes is one line, and nothing else.
            size = data[1] - _MASKED
            start = 6 if size < 126 else 8
            if size == 126:
                size = data[2] << 8 | data[3]
            if 0 <= size == there - start and data[1] != _WIDE:
                self._take(apply_mask(data[start:], data[start - 4 : start]), data)
                return
        if self._owed:
            place = min(self._owed, there)
            self._owed -= place
            super().data_received(data[:place])
        while place < there:
            start, end = _cut(data, place)
            is_text = data[place] == _WHOLE_TEXT and not self._in_parts and not self.close_sent
            if end > there and (start > there or (is_text and end - place <= _KEPT_BYTES)):
                self._rest = data[place:]
                return
            if is_text and end <= there and data[place + 1] & _MASKED:
                self._take(apply_mask(data[start:end], data[start - 4 : start]), data[place:end])
            else:
                self._pass_on(data[place:end], owed=max(0, end - there))
            place = end

    def _take(self, payload: bytes, frame: bytes) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            super().data_received(frame)  # closes with 1007
        else:
            assert self.on_text is not None
            self.on_text(text)

    def _pass_on(self, frame: bytes, owed: int) -> None:
        if not frame[0] & _CONTROL:
            self._in_parts = not frame[0] & _FIN
        self._owed = owed
        super().data_received(frame)

    def send_receive_event_to_app(self) -> None:
        """Pass on a text that websockets assembled or decompressed by the same way, so that lines keep their order."""
        if self.on_text is None or self.curr_msg_data_type != "text" or self.close_sent:
            super().send_receive_event_to_app()
            return
        try:
            text = b"".join(self.frames).decode()
        except UnicodeDecodeError:
            super().send_receive_event_to_app()
        else:
            self.frames = []
            self.on_text(text)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; reading goes on when all are taken, unless writing is paused."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self.writable.is_set():
                self.transport.resume_reading()
        return message

    # ------------------------------------------------------------ outbound

    def write_texts(self, texts: Sequence[bytes]) -> None:
        """Send text frames, given as UTF-8, with one write. Raises OSError when the peer is gone."""
        if self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        if self.conn.extensions:
            for text in texts:
                self.conn.send_text(text)
            self.transport.write(b"".join(self.conn.data_to_send()))
        else:
            heads = [_HEADS[size] if size < len(_HEADS) else _head(size) for size in map(len, texts)]
            self.transport.write(b"".join(chain.from_iterable(zip(heads, texts, strict=True))))

    def abort(self) -> None:
        """End the connection without a closing handshake."""
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """Send an ASGI message. A refusal ends the handshake."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._cuts = self.on_text is not None and not self._is_early
            # They are not read again, and would be kept as long as the connection: 6 KB with a browser's headers.
            self.request.headers.clear()
            self.response.headers.clear()
            self.scope["headers"] = []
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True


def _cut(data: bytes, place: int) -> tuple[int, int]:
    """Where the payload of the frame at `place` begins and ends; beyond the data when its head is not whole."""
    there = len(data)
    if there - place < 2:
        return there + 1, there + 1
    size, start = data[place + 1] & 0x7F, place + 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        size, start = int.from_bytes(data[start : start + wide], "big"), start + wide
    if data[place + 1] & _MASKED:
        start += 4
    return (start, start + size) if start <= there else (there + 1, there + 1)


def _head(size: int) -> bytes:
    """The head of a text frame (RFC 6455 §5.2)."""
    if size < 126:
        return bytes((_WHOLE_TEXT, size))
    return b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")


_HEADS: Final = tuple(_head(size) for size in range(1024))  # of most frames that there are
