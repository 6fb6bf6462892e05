"""Loopback ports that nobody listens on."""

import os
import socket
from typing import Final

#: Below the ports that the system gives to clients, so that no client takes a server's while it restarts.
_PORTS: Final = range(20_000, 32_000)
_taken: Final[set[int]] = set()


def free_ports(count: int) -> list[int]:
    """So many free ports, none of which this process was given before."""
    found: list[int] = []
    start = os.getpid() * 7 % len(_PORTS)
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port in _taken:
            continue
        _taken.add(port)
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")
