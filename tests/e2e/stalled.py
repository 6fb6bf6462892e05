"""A tab that stops reading its socket: what it has not read waits in the server, behind buffers as on a real line."""

import asyncio
import json
import socket
from typing import Any, Final
from urllib.parse import urlencode

from websockets.client import ClientProtocol
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.support.wire import WAIT_S, Frame

#: Between processes of one machine a segment has 64 kB, and the buffers on both sides are sized by it: several MB.
SEGMENT_BYTES: Final = 1_400
RECEIVE_BYTES: Final = 8_192


class StalledTab:
    """One connection of the native dialect, read only while somebody waits for a frame."""

    def __init__(self, port: int, **query: str) -> None:
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self._address = ("127.0.0.1", port)
        uri = parse_uri(f"ws://127.0.0.1:{port}/ws?{urlencode(query)}")
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol("rejoinder.v1")], max_size=None)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        self._socket.setblocking(False)
        self._seen = 0

    async def open(self) -> None:
        """Connect, and ask for the upgrade."""
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        self._protocol.send_request(self._protocol.connect())
        await self._send()

    def close(self) -> None:
        """The socket is gone, without a word."""
        self._socket.close()

    async def read_until(self, kind: str, **payload: Any) -> Frame:
        """Read up to the next frame of this type, and no further than the socket's next bytes."""
        async with asyncio.timeout(WAIT_S):
            while True:
                while self._seen < len(self.frames):
                    frame = self.frames[self._seen]
                    self._seen += 1
                    if frame["type"] == kind and all(frame["payload"].get(k) == v for k, v in payload.items()):
                        return frame
                await self._read()

    async def read_to_the_end(self) -> None:
        """Read until the server has closed or cut the connection."""
        async with asyncio.timeout(WAIT_S):
            try:
                while await self._read():
                    pass
            except ConnectionError:
                pass

    @property
    def durable(self) -> list[Frame]:
        return [frame for frame in self.frames if "seq" in frame]

    async def _read(self) -> bool:
        received = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        if received:
            self._protocol.receive_data(received)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, WebSocketFrame) and event.opcode is Opcode.TEXT:
                self.frames.append(json.loads(bytes(event.data)))
        await self._send()
        return bool(received)

    async def _send(self) -> None:
        for outgoing in self._protocol.data_to_send():
            if outgoing:
                await asyncio.get_running_loop().sock_sendall(self._socket, outgoing)
