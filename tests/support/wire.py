"""A client that speaks the protocol and keeps everything that it received."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

#: A bound and no promise: what is waited for comes much sooner, but on a busy machine.
WAIT_S = 60.0

Frame = dict[str, Any]


class Client:
    """One connection. `frames` is what came, in order; texts that are not JSON are there as {"raw": …}."""

    def __init__(self, port: int, *, native: bool = True, subprotocol: str = "rejoinder.v1", **query: Any) -> None:
        query.setdefault("workflow", "echo")
        self.url = f"ws://127.0.0.1:{port}/ws?{urlencode({k: str(v) for k, v in query.items()})}"
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self._subprotocols = [Subprotocol(subprotocol)] if native else None
        self._socket: ClientConnection | None = None
        self._seen = 0
        self._arrived = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._socket = await connect(
            self.url, subprotocols=self._subprotocols, compression=None, max_size=None, proxy=None, close_timeout=1
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        assert self._socket is not None
        assert self._reader is not None
        await self._socket.close()
        await self._reader

    async def send(self, frame: object) -> None:
        await self.send_raw(json.dumps(frame))

    async def send_raw(self, message: str | bytes) -> None:
        assert self._socket is not None
        await self._socket.send(message)

    async def say(self, text: str, message_id: str | None = None, **data: object) -> str:
        """Send a line; the answer is its id."""
        message_id = message_id or str(uuid.uuid4())
        await self.send({"type": "user_message", "id": message_id, "data": {"text": text, **data}})
        return message_id

    async def until(self, wanted: Callable[[Frame], bool], what: str = "a frame") -> Frame:
        """The next frame, behind those that were waited for before, that is wanted."""
        try:
            async with asyncio.timeout(WAIT_S), self._arrived:
                while True:
                    while self._seen < len(self.frames):
                        frame = self.frames[self._seen]
                        self._seen += 1
                        if wanted(frame):
                            return frame
                    if self.close_code is not None:
                        raise AssertionError(f"closed with {self.close_code} before {what}: {self.story()}")
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {WAIT_S} s: {self.story()}") from None

    async def until_type(self, kind: str, **payload: object) -> Frame:
        def fits(frame: Frame) -> bool:
            return frame.get("type") == kind and all(frame["payload"].get(k) == v for k, v in payload.items())

        return await self.until(fits, f"{kind} {payload}")

    async def turn(self, text: str, message_id: str | None = None, **data: object) -> Frame:
        """Say a line and wait for its turn's end; the answer is its state_update."""
        message_id = await self.say(text, message_id, **data)
        acked = await self.until_type("ack", id=message_id)
        return await self.until_type("state_update", turn=acked["payload"]["seq"])

    async def until_closed(self) -> int:
        async with asyncio.timeout(WAIT_S), self._arrived:
            while self.close_code is None:
                await self._arrived.wait()
            return self.close_code

    @property
    def durable(self) -> list[Frame]:
        return [frame for frame in self.frames if "seq" in frame]

    def texts(self, role: str = "assistant") -> Sequence[str]:
        return [f["payload"]["text"] for f in self.durable if f["type"] == "chat_message" and f["role"] == role]

    def story(self) -> str:
        return "\n".join(json.dumps(frame)[:200] for frame in self.frames[-20:])

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for message in self._socket:
                text = message if isinstance(message, str) else message.decode()
                async with self._arrived:
                    self.frames.append(json.loads(text) if text.startswith("{") else {"raw": text})
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        async with self._arrived:
            self.close_code = self._socket.close_code or 1006
            self._arrived.notify_all()
