"""WebSocket frames by hand (RFC 6455), as a client needs them: little enough work not to be what is measured.

Masks are zero: a mask is against proxies, which a loopback socket does not have, and the server unmasks all the same.
"""

from collections.abc import Mapping
from typing import Final

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
#: The nonce is for the server's answer, which nobody doubts here.
_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="


class NotAFrame(Exception):
    """The peer said what this client does not expect: no upgrade, or a fragment."""


def upgrade(port: int, path: str, headers: Mapping[str, str]) -> bytes:
    """The request that opens a WebSocket at a loopback port."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": _KEY,
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def mask(payload: bytes, kind: int = TEXT) -> bytes:
    """A whole frame from a client, up to 65,535 bytes long."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | kind, 0x80 | size, 0, 0, 0, 0)) + payload
    return bytes((0x80 | kind, 0x80 | 126)) + size.to_bytes(2, "big") + b"\0\0\0\0" + payload


class Inbound:
    """Cuts what a server sends into frames: the answer to the upgrade first, which is checked and dropped."""

    __slots__ = ("_rest", "upgraded")

    def __init__(self) -> None:
        self._rest = b""
        self.upgraded = False

    def feed(self, received: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole now, as (kind, payload). Raises NotAFrame."""
        buffer = self._rest + received if self._rest else received
        place = 0
        if not self.upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._rest = buffer
                return []
            if not buffer.startswith(b"HTTP/1.1 101"):
                raise NotAFrame(buffer[:200].decode("latin-1"))
            self.upgraded = True
            place = end + 4
        frames: list[tuple[int, bytes]] = []
        there = len(buffer)
        while there - place >= 2:
            first, size, start = buffer[place], buffer[place + 1], place + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(buffer[place + 2 : start], "big")
            if start + size > there:
                break
            if not first & 0x80:
                raise NotAFrame("a fragment")
            frames.append((first & 0x0F, buffer[start : start + size]))
            place = start + size
        self._rest = buffer[place:]
        return frames
