"""What the formats have in common."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from tests.vendors.plays import FaultKind, Play


@dataclass(frozen=True)
class Reply:
    """An answer that is not a stream."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Format(Protocol):
    """One vendor's format; each module of a vendor is one."""

    PATH: str
    ROOT: str
    HAS_KEY: str
    WHOLE_OBJECTS: bool

    def fault(self, kind: FaultKind, retry_after: str | None) -> Reply: ...
    def wants_object(self, body: dict[str, Any]) -> bool: ...
    def start(self, body: dict[str, Any], *, as_object: bool) -> Iterator[bytes]: ...
    def piece(self, body: dict[str, Any], text: str, *, as_object: bool) -> Iterator[bytes]: ...
    def finish(
        self, body: dict[str, Any], play: Play, tokens: tuple[int, int], *, as_object: bool
    ) -> Iterator[bytes]: ...
    def refusal(self, body: dict[str, Any], tokens: tuple[int, int]) -> Iterator[bytes]: ...
    def overload(self, body: dict[str, Any]) -> Iterator[bytes]: ...
    def garbage(self) -> bytes: ...
    def input_text(self, body: dict[str, Any]) -> str: ...


def sse(value: dict[str, Any], event: str | None = None) -> bytes:
    """One server-sent event."""
    data = b"data: " + msgspec.json.encode(value) + b"\n\n"
    return f"event: {event}\n".encode() + data if event else data
