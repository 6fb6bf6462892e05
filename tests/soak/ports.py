"""Loopback ports that nobody listens on, and that no other test process will take while their server restarts."""

import fcntl
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

#: Below the ports that the system gives to clients, so that no client takes a server's while it restarts.
_PORTS: Final = range(20_000, 32_000)
_BLOCK: Final = 100
#: One file a block of ports; who has its lock has the ports, until the process ends.
_LOCKS: Final = Path(tempfile.gettempdir()) / "rejoinder-test-ports"
_held: Final[list[IO[bytes]]] = []


def free_ports(count: int) -> list[int]:
    """So many free ports, none of which this process was given before. Raises OSError when there are no more."""
    found: list[int] = []
    for port in _ours:
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")


def _all() -> Iterator[int]:
    """The ports of one block after the other that no other process has."""
    _LOCKS.mkdir(exist_ok=True)
    for first in _PORTS[::_BLOCK]:
        lock = (_LOCKS / str(first)).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        yield from range(first, first + _BLOCK)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_ours: Final = _all()
