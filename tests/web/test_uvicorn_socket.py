"""The short way of a frame: what comes in any pieces is taken whole, in its order, and what is wrong is refused."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import pytest
import uvicorn

from server.web.uvicorn_socket import WIRE_EXTENSION, BoundedWebSocketProtocol
from tests.bench.frames import CLOSE, PING, PONG, TEXT, Inbound, upgrade
from tests.support.process import free_port

BINARY: Final = 2
CONTINUATION: Final = 0
#: The sizes at which the head of a frame changes, those at which a frame is no longer kept, and what is usual.
SIZES: Final = (0, 1, 60, 125, 126, 300, 65_529, 65_536, 70_000)
MAX_BYTES: Final = 200_000
Message = MutableMapping[str, Any]
#: The texts that the last server took.
taken: list[str] = []


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Says every text again, and the size of what is none."""
    assert scope["type"] == "websocket"
    await receive()
    wire = scope["extensions"][WIRE_EXTENSION]["wire"]

    def take(text: str) -> None:
        taken.append(text)
        wire.write_texts([text.encode()])

    wire.on_text = take
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        wire.write_texts([b"binary %d" % len(message["bytes"])])


class Chopped(BoundedWebSocketProtocol):
    """What comes, comes in pieces: of any size, or byte by byte."""

    choose = random.Random(0)
    longest = 1

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            size = self.choose.randint(1, self.longest)
            super().data_received(data[:size])
            data = data[size:]


@contextlib.asynccontextmanager
async def served(protocol: type[BoundedWebSocketProtocol], *, deflate: bool = False) -> AsyncIterator[int]:
    taken.clear()
    port = free_port()
    config = uvicorn.Config(
        echo, port=port, ws=protocol, ws_max_size=MAX_BYTES, ws_per_message_deflate=deflate, lifespan="off",
        log_config=None,
    )  # fmt: skip
    server = uvicorn.Server(config)
    config.load()
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)  # uvicorn has no event for this
    try:
        yield port
    finally:
        server.should_exit = True
        await serving


def frame(kind: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame of a client (RFC 6455 §5.2)."""
    size, first, bit = len(payload), (0x80 if fin else 0) | reserved | kind, 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65_536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + mixed.to_bytes(size, "big")


async def heard(port: int, sent: bytes, *, then: bytes = b"") -> list[tuple[int, bytes]]:
    """What the server says to it, up to its close; `then` is sent when it has heard of something binary."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    inbound, frames = Inbound(), list[tuple[int, bytes]]()
    try:
        writer.write(upgrade(port, "/", {}))
        while not inbound.upgraded:
            frames += inbound.feed(await reader.read(65_536))
        writer.write(sent)
        while not any(kind == CLOSE for kind, _ in frames) and (got := await reader.read(65_536)):
            frames += inbound.feed(got)
            if then and any(b"binary" in said for _, said in frames):
                writer.write(then)
                then = b""
    finally:
        writer.close()
    return frames


def goodbye() -> bytes:
    return frame(CLOSE, (1000).to_bytes(2, "big"))


def play(choose: random.Random) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Frames in any order, whole and in fragments with pings between, and what is to be heard."""
    sent, expected = b"", list[tuple[int, bytes]]()
    for number in range(40):
        text = f"{number}-{choose.choice('aä€😀')}".encode() + b"x" * choose.choice(SIZES)
        match choose.randrange(5):
            case 0 | 1:
                sent += frame(TEXT, text)
                expected.append((TEXT, text))
            case 2:
                cut = sorted(choose.randrange(len(text) + 1) for _ in range(2))
                sent += frame(TEXT, text[: cut[0]], fin=False)
                sent += frame(PING, b"between")
                sent += frame(CONTINUATION, text[cut[0] : cut[1]], fin=False)
                sent += frame(CONTINUATION, text[cut[1] :])
                expected += [(PONG, b"between"), (TEXT, text)]
            case 3:
                sent += frame(PING, b"%d" % number)
                expected.append((PONG, b"%d" % number))
            case _:
                sent += frame(TEXT, b"")
                expected.append((TEXT, b""))
    return sent + goodbye(), expected


@pytest.mark.parametrize("longest", [1, 7, 200, 40_000, 10_000_000])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate offered"])
async def test_texts_come_whole_and_in_their_order_in_whatever_pieces(longest: int, deflate: bool) -> None:
    choose = random.Random(longest)
    sent, expected = play(choose)
    chopped = type("Chopped", (Chopped,), {"choose": choose, "longest": longest})
    async with served(chopped, deflate=deflate) as port:
        frames = await heard(port, sent)
    assert frames[:-1] == expected
    assert frames[-1][0] == CLOSE


async def test_what_is_no_text_is_heard_of_behind_the_texts_before_it() -> None:
    async with served(BoundedWebSocketProtocol) as port:
        frames = await heard(port, frame(TEXT, b"one") + frame(BINARY, b"1234"), then=frame(TEXT, b"two") + goodbye())
    assert [said for kind, said in frames if kind == TEXT] == [b"one", b"binary 4", b"two"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"bare", masked=False), 1002),
        (frame(TEXT, b"reserved", reserved=0x40), 1002),
        (frame(3, b"no such kind"), 1002),
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(TEXT, b"begun", fin=False) + frame(TEXT, b"another"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(TEXT, b"x" * (MAX_BYTES + 1)), 1009),
        (frame(TEXT, b"x" * MAX_BYTES, fin=False) + frame(CONTINUATION, b"x"), 1009),
    ],
    ids=["no UTF-8", "no mask", "reserved bit", "kind", "continuation", "in the middle", "long ping", "long", "sum"],
)
@pytest.mark.parametrize("longest", [3, 10_000_000])
async def test_what_is_wrong_closes_with_the_code_for_it_and_nothing_behind_it_is_taken(
    wrong: bytes, code: int, longest: int
) -> None:
    chopped = type("Chopped", (Chopped,), {"choose": random.Random(1), "longest": longest})
    async with served(chopped) as port:
        frames = await heard(port, frame(TEXT, b"before") + wrong + frame(TEXT, b"behind"))
    assert [said for kind, said in frames if kind == TEXT] == [b"before"]
    assert taken == ["before"]
    assert [int.from_bytes(said[:2], "big") for kind, said in frames if kind == CLOSE] == [code]


async def test_a_length_that_never_comes_keeps_nothing() -> None:
    """The head says more than a frame may have: it is refused before any of it comes."""
    async with served(BoundedWebSocketProtocol) as port:
        frames = await heard(port, frame(TEXT, b"x" * 5)[:1] + b"\xff" + (2**40).to_bytes(8, "big") + b"abcd")
    assert [int.from_bytes(said[:2], "big") for kind, said in frames if kind == CLOSE] == [1009]
