"""The server processes over one store: one that clients are sent to, and now and then an old one beside it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.faults.points import VARIABLE
from tests.soak.history import History

START_S: Final = 20.0
STOP_S: Final = 20.0
#: Generous rates and short pauses: the soak looks for lost lines, not for limits.
ENVIRON: Final = {
    "LOG_LEVEL": "warning",
    "LOG_FORMAT": "json",
    "LINE_RATE_PER_S": "100000",
    "LINE_BURST": "100000",
    "FRAME_RATE_PER_S": "100000",
    "FRAME_BURST": "100000",
    "STORE_RETRY_MS": "50",
    "SWEEP_MS": "1000",
    "DRAIN_MS": "1000",
    "STATUS_AFTER_MS": "50",
    "BUILDER_FRAME_GAP_MS": "2",
    "BUILDER_REPLAY_GAP_MS": "1",
}
#: Below the ports that the system gives to clients, so that no client takes a server's while it restarts.
_PORTS: Final = range(20_000, 32_000)


class Server:
    """One process, from its start to its end."""

    def __init__(self, number: int, port: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.port = port
        self.process = process
        self.stopped = False

    @property
    def is_up(self) -> bool:
        return self.process.returncode is None


class Fleet:
    """Starts, signals and watches the processes; every one of these goes to the history."""

    def __init__(self, folder: Path, root: Path, history: History, environ: Mapping[str, str]) -> None:
        self.log_path = folder / "server.log"
        self.current: Server | None = None
        self.kills = 0
        self._root = root
        self._history = history
        self._ports = free_ports(2)
        self._servers: list[Server] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._environ = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
            "PYTHONPATH": str(root),
            "PYTHONUNBUFFERED": "1",
            **ENVIRON,
            **environ,
        }

    @property
    def port(self) -> int:
        """Where clients find the conversations, whether or not a process listens there just now."""
        return self.current.port if self.current else self._ports[0]

    @property
    def number(self) -> int:
        """The number of the process that clients are sent to."""
        return self.current.number if self.current else 0

    async def start(self, faults: str = "", **environ: str) -> Server:
        """Start a process and send clients to it; it may not be ready yet."""
        port = self.port
        if self.current is not None and self.current.is_up:  # beside the one that still has its port
            port = next(other for other in self._ports if other != port)
        with self.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.faults.serve",
                env={**self._environ, "PORT": str(port), VARIABLE: faults, **environ},
                stdout=log,
                stderr=log,
                cwd=self._root,
            )
        self.current = server = Server(len(self._servers) + 1, port, process)
        self._servers.append(server)
        self._history.note_process("start", number=server.number, port=port, pid=process.pid, faults=faults)
        watch = asyncio.create_task(self._watch(server))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return server

    async def ready(self, server: Server) -> bool:
        """Wait until it answers `/readyz` with 200; False when it ends before. Raises TimeoutError."""
        async with asyncio.timeout(START_S):
            while server.is_up:
                if await is_ready(server.port):
                    self._history.note_process("ready", number=server.number)
                    return True
                await asyncio.sleep(0.01)
        return False

    async def ended(self, server: Server, within_s: float) -> bool:
        """Whether it ends by itself within this time."""
        try:
            async with asyncio.timeout(within_s):
                await server.process.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self, server: Server) -> None:
        """SIGKILL: no word, no drain."""
        self._signal(server, signal.SIGKILL, "kill")
        await server.process.wait()

    def stop(self, server: Server) -> None:
        """SIGSTOP: it stands still, and its sockets with it."""
        server.stopped = True
        self._signal(server, signal.SIGSTOP, "stop")

    def go_on(self, server: Server) -> None:
        """SIGCONT: it wakes and believes that no time has passed."""
        server.stopped = False
        self._signal(server, signal.SIGCONT, "cont")

    async def terminate(self, server: Server, within_s: float = STOP_S) -> bool:
        """SIGTERM: it drains and ends. False: it did not within this time, or did not end well."""
        self._signal(server, signal.SIGTERM, "term")
        return await self.ended(server, within_s) and server.process.returncode == 0

    async def close(self) -> None:
        """Kill what is left."""
        for server in self._servers:
            if server.is_up:
                await self.kill(server)
        await asyncio.gather(*self._watches)

    def _signal(self, server: Server, number: signal.Signals, event: str) -> None:
        if server.is_up:
            self._history.note_process(event, number=server.number)
            server.process.send_signal(number)

    async def _watch(self, server: Server) -> None:
        status = await server.process.wait()
        self.kills += status == -signal.SIGKILL
        self._history.note_process("exit", number=server.number, status=status)


async def is_ready(port: int) -> bool:
    """Ask for `/readyz`, with as little as will do: it is asked very often."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(2):
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).split()[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
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
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")
