"""A TCP proxy on a loopback port in front of a server: it passes, cuts, stalls or refuses, whatever the protocol."""

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 65_536
#: How PostgreSQL ends an answer: it is ready, and no transaction is open, so what was asked for is committed.
POSTGRES_DONE: Final = b"Z\x00\x00\x00\x05I"


class _Pair:
    """A client's connection and the one to the server behind it. `ending`: see `Proxy.cut_next_answer`."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.ending: bytes | None = None

    def cut(self) -> None:
        """No farewell: whoever waits sees the connection break."""
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Stands in front of the server on `target`, a loopback port.

    `accepted` counts connections, `cuts` answers that were cut. Made and used in one event loop, as `async with`.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.accepted = 0
        self.cuts = 0
        self._target = target
        self._listening: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._ending: bytes | None = None

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        await self.refuse()
        self.go_on()  # what was kept goes nowhere: its connections are cut
        await asyncio.gather(*self._serving)

    def cut_next_answer(self, ending: bytes | None = b"") -> None:
        """Forward the next request; when its answer ends with these bytes, cut the connection instead of answering.

        None: do not, if no request came yet.
        """
        self._ending = ending

    def stall(self) -> None:
        """Keep what comes, from either side, and connections open: nobody is told anything."""
        self._moving.clear()

    def go_on(self) -> None:
        """End a stall: what was kept is passed on."""
        self._moving.set()

    def cut(self) -> None:
        """Break every connection; new ones are welcome."""
        for pair in self._pairs:
            pair.cut()

    async def refuse(self) -> None:
        """Break every connection and take no new one."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self.cut()

    async def accept(self) -> None:
        """Take connections, after `refuse` on the same port again."""
        self._listening = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            behind, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, server)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._requests(reader, pair), self._answers(behind, pair))
        finally:
            self._pairs.discard(pair)
            pair.cut()

    async def _requests(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._moving.wait()
                if self._ending is not None:
                    pair.ending, self._ending = self._ending, None
                pair.server.write(chunk)
                await pair.server.drain()
        # A client that went away may not take the server's answer with it: the server hears of it in the same order.
        with contextlib.suppress(OSError):
            pair.server.write_eof()

    async def _answers(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        kept = b""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if pair.ending is not None:
                    kept += chunk
                    if kept.endswith(pair.ending):
                        self.cuts += 1
                        pair.cut()
                        return
                    continue
                await self._moving.wait()
                pair.client.write(chunk)
                await pair.client.drain()
        pair.cut()
