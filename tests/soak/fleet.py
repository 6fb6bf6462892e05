"""The server processes over one store, each in a place of its own, and now and then an old one beside its successor."""

import asyncio
import itertools
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from server.ops.workers import VARIABLE as WORKER_FDS
from server.ops.workers import listen
from tests.faults.points import VARIABLE
from tests.soak.history import History
from tests.soak.ports import free_ports
from tests.soak.tab import Address
from tests.support.process import is_ready

#: Longer than the longest stall of a store: a process whose store stalls is not ready.
START_S: Final = 90.0
STOP_S: Final = 20.0
LAST_WORDS_S: Final = 1.0
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
    "TAKEOVER_MS": "600",
    "HEAD_POLL_MS": "300",
    "HEAD_CHECK_MS": "1000",
    "BROKER_TIMEOUT_MS": "500",
    "DRAIN_MS": "1000",
    "STATUS_AFTER_MS": "50",
    "BUILDER_FRAME_GAP_MS": "2",
    "BUILDER_REPLAY_GAP_MS": "1",
}


class Server:
    """One process, from its start to its end."""

    def __init__(self, number: int, port: int, process: asyncio.subprocess.Process, faults: str) -> None:
        self.number = number
        self.port = port
        self.process = process
        self.faults = faults

    @property
    def is_up(self) -> bool:
        return self.process.returncode is None


class Place:
    """Where one process after the other runs: two ports, so that a successor can start beside the old one."""

    def __init__(self) -> None:
        self.ports = free_ports(2)
        self.current: Server | None = None
        self.address = Address(0, self.ports[0])

    def pick(self) -> Address:
        """Where clients find the conversations, whether or not a process listens there just now."""
        return self.address


class Fleet:
    """Starts, signals and watches the processes; every one of these goes to the history.

    `places` is how many serve at a time. `as_workers`: as one server's, over what they cannot share otherwise.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        history: History,
        environ: Mapping[str, str],
        *,
        places: int = 1,
        as_workers: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        self.log_path = folder / "server.log"
        self.places = [Place() for _ in range(places)]
        self.kills = 0
        self._root = root
        self._history = history
        self._rng = rng or random.Random(0)
        self._numbers = itertools.count(1)
        self._servers: list[Server] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._lifeline = os.pipe() if as_workers else None
        self._environ = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
            "PYTHONPATH": str(root),
            "PYTHONUNBUFFERED": "1",
            **ENVIRON,
            **environ,
            **({"WEB_CONCURRENCY": str(places)} if as_workers else {}),
        }

    def pick(self) -> Address:
        """Where a client goes that connects now: as behind a balancer, to any of them."""
        return self._rng.choice(self.places).pick()

    async def start(self, place: Place, faults: str = "", **environ: str) -> Server:
        """Start a process in a place and send clients to it; it may not be ready yet."""
        port = place.address.port
        if place.current is not None and place.current.is_up:  # beside the one that still has its port
            port = next(other for other in place.ports if other != port)
        # Whoever comes from now on is this process's client, also before it runs: they wait in its socket's line.
        place.address = Address(next(self._numbers), port)
        listening = listen("127.0.0.1", port) if self._lifeline else None
        process = await self._spawn({"PORT": str(port), VARIABLE: faults, **environ}, listening)
        place.current = server = Server(place.address.number, port, process, faults)
        self._servers.append(server)
        self._history.note_process("start", number=server.number, port=port, pid=process.pid, faults=faults)
        watch = asyncio.create_task(self._watch(server))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return server

    async def _spawn(self, environ: Mapping[str, str], listening: socket.socket | None) -> asyncio.subprocess.Process:
        passed: Sequence[int] = ()
        if listening is not None and self._lifeline is not None:
            passed = (listening.fileno(), self._lifeline[0])
            environ = {**environ, WORKER_FDS: ",".join(map(str, passed))}
        try:
            with self.log_path.open("ab") as log:
                return await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "tests.faults.serve",
                    env={**self._environ, **environ},
                    stdout=log,
                    stderr=log,
                    cwd=self._root,
                    pass_fds=passed,
                )
        finally:
            if listening is not None:
                listening.close()  # so that nobody waits in the line of a process that is gone

    async def ready(self, server: Server) -> bool:
        """Wait until it answers `/readyz` with 200; False when it ends before. One that never does is killed."""
        deadline_s = asyncio.get_running_loop().time() + START_S
        while server.is_up:
            if await is_ready(server.port):
                self._history.note_process("ready", number=server.number)
                return True
            if asyncio.get_running_loop().time() > deadline_s:
                self._signal(server, signal.SIGUSR1, "unready")
                await self.ended(server, LAST_WORDS_S)
                await self.kill(server)
            await asyncio.sleep(0.02)
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
        self._signal(server, signal.SIGSTOP, "stop")

    def go_on(self, server: Server) -> None:
        """SIGCONT: it wakes and believes that no time has passed."""
        self._signal(server, signal.SIGCONT, "cont")

    async def terminate(self, server: Server) -> None:
        """SIGTERM: it drains and ends; one that does not is killed, and the history says so."""
        self.ask_to_end(server)
        if not await self.ended(server, STOP_S):
            self._signal(server, signal.SIGUSR1, "stuck")  # it writes to its log what it waits for
            await self.ended(server, LAST_WORDS_S)
            await self.kill(server)

    def ask_to_end(self, server: Server) -> None:
        """SIGTERM, without waiting for what comes of it."""
        self._signal(server, signal.SIGTERM, "term")

    async def close(self) -> None:
        """Kill what is left."""
        for server in self._servers:
            if server.is_up:
                await self.kill(server)
        await asyncio.gather(*self._watches)
        for end in self._lifeline or ():
            os.close(end)

    def _signal(self, server: Server, number: signal.Signals, event: str) -> None:
        if server.is_up:
            self._history.note_process(event, number=server.number)
            server.process.send_signal(number)

    async def _watch(self, server: Server) -> None:
        status = await server.process.wait()
        self.kills += status == -signal.SIGKILL
        self._history.note_process("exit", number=server.number, status=status)
