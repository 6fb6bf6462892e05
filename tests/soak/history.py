"""What happened, as JSON lines in the order in which it was seen: one file a run, one line a frame or event.

    {"s": session, "t": seconds, "c": client, "n": connection, "e": event, "f": frame, "q": what else is known}

Lines without a session tell of processes: `start`, `ready`, `kill`, `stop`, `cont`, `term`, `exit`. Frames are kept as
they were on the wire, byte for byte.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

#: A frame that is not JSON is kept as a JSON string.
_encoder: Final = msgspec.json.Encoder()
NOTHING: Final = Raw(b"null")


class Record(Struct, frozen=True, omit_defaults=True):
    """One line of a history."""

    s: str
    t: float
    c: str = ""
    n: int = 0
    e: str = ""
    f: Raw = NOTHING
    q: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The frame as it was on the wire."""
        return bytes(self.f).decode()

    @property
    def frame(self) -> dict[str, Any]:
        """The frame read; empty for one that is no JSON object."""
        read = msgspec.json.decode(self.f)
        return read if isinstance(read, dict) else {}


class _Head(Struct):
    s: str


_record: Final = msgspec.json.Decoder(Record)
_head: Final = msgspec.json.Decoder(_Head)


class History:
    """A history that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", buffering=1 << 20)
        self._began = time.monotonic()

    def note(self, session: str, client: str, connection: int, event: str, frame: str = "", /, **known: Any) -> None:
        """Write what happened now. A frame that is not JSON is kept as a text."""
        kept = Raw(frame.encode()) if frame.startswith("{") else Raw(_encoder.encode(frame)) if frame else NOTHING
        line = Record(session, round(time.monotonic() - self._began, 6), client, connection, event, kept, known)
        self._file.write(_encoder.encode(line) + b"\n")

    def note_process(self, event: str, /, **known: Any) -> None:
        """Write what befell a process."""
        self.note("", "", 0, event, **known)

    def flush(self) -> None:
        """What is written can be read."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Recorded:
    """A history that is read: an index of its sessions, and one session at a time in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[int]] = {}
        place = 0
        with path.open("rb") as file:
            for line in file:
                self._places.setdefault(_head.decode(line).s, []).append(place)
                place += len(line)

    @property
    def sessions(self) -> Sequence[str]:
        return [session for session in self._places if session]

    def of(self, session: str) -> list[Record]:
        """The lines of one session, in order; of no session: those of the processes."""
        records: list[Record] = []
        with self._path.open("rb") as file:
            for place in self._places.get(session, ()):
                file.seek(place)
                records.append(_record.decode(file.readline()))
        return records


def connections(records: Sequence[Record]) -> Mapping[tuple[str, int], list[Record]]:
    """A session's lines by client and connection."""
    found: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        found.setdefault((record.c, record.n), []).append(record)
    return found
