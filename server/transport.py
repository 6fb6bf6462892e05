"""Gaps of uvicorn's WebSocket protocol, closed: a peer that does not read must cost nothing.

- A ping flood is answered without flow control, so the write buffer grows for as long as the peer sends and does not
  read: while writing is paused, we do not read either.
- Closing waits for the write buffer to drain, for ever if the peer never reads: the application gets `abort`.
- An upgrade that the application refuses with a status is logged as an error of the application.
- Each frame is a write of its own: the application may hand over several, which then are one. The four frames of a turn
  took a third of the event loop's time as four writes, and take a twentieth as one.
"""

from collections.abc import Sequence
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

#: The ASGI extension under which the application finds this protocol, as its outlet's `Wire`.
WIRE_EXTENSION = "rejoinder.wire"


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with both directions bounded."""

    def handle_connect(self, event: Request) -> None:
        """Offer the wire to the application, which starts at the next turn of the loop."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WIRE_EXTENSION] = {"wire": self}

    def pause_writing(self) -> None:
        """The peer does not take what we write: take nothing of it either."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    @property
    def is_writable(self) -> bool:
        """Whether `send_texts` goes out without a wait."""
        return self.writable.is_set()

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Send text frames with one write. Raises OSError when the peer is gone."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        for text in texts:
            self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))

    def abort(self) -> None:
        """End the connection without a word."""
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """Send; and take a refusal for the end of the handshake that it is."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Nobody reads these again, and they would stay as long as the connection: 6 KB with a browser's headers.
            self.request.headers.clear()
            self.response.headers.clear()
            self.scope["headers"] = []
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; reading goes on when all are taken, unless writing is paused."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self.writable.is_set():
                self.transport.resume_reading()
        return message
