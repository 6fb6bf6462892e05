"""Who is measured: how each is started, what it keeps, and by which policy it syncs."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import backings, lifeline
from tests.bench.backings import Backing
from tests.bench.job import Target
from tests.soak.ports import free_ports

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 60.0
STOP_S: Final = 20.0
OURS: Final = "/ws?workflow=echo&session_id={session}&user_id={user}"
NATIVE: Final = {"Sec-WebSocket-Protocol": "rejoinder.v1"}
FULL: Final = "SQLite, WAL, synchronous=FULL: a sync a commit"
#: What a server knows of this process's environment.
KEPT: Final = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", lifeline.VARIABLE)
#: The limits of one connection are for people. Everything else is as it is by default, the log included.
LIMITS: Final = {
    "LINE_RATE_PER_S": "1000000",
    "LINE_BURST": "1000000",
    "FRAME_RATE_PER_S": "1000000",
    "FRAME_BURST": "1000000",
    "CONNECTIONS_PER_SESSION_LIMIT": "1000",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server that can be measured. `command` has `{port}`; `ready` is asked over HTTP until it answers below 400.

    `enter` gets the port of the running server, and its answer is what each connection sends: headers.
    """

    name: str
    policy: str
    command: Sequence[str]
    open: backings.Open
    path: str
    speech: str
    environ: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/readyz"
    cwd: Path = ROOT
    enter: Callable[[int], Mapping[str, str]] | None = None
    #: Whether it is one of ours, and not somebody else's or the floor.
    is_ours: bool = False

    @property
    def is_rival(self) -> bool:
        """Whether it is somebody else's server."""
        return not self.is_ours and self is not FLOOR


def _ours(name: str, policy: str, opened: backings.Open, **environ: str) -> Contender:
    return Contender(
        name=name,
        policy=policy,
        command=(sys.executable, "-m", "tests.bench.serve"),
        open=opened,
        path=OURS,
        speech="native",
        headers=NATIVE,
        environ={**LIMITS, **environ},
        is_ours=True,
    )


FLOOR: Final = Contender(
    name="floor",
    policy="keeps nothing",
    command=(sys.executable, "-m", "tests.bench.floor", "{port}"),
    open=backings.nothing,
    path=OURS,
    speech="plain",
    headers=NATIVE,
)
#: Our stores, each as it is by default.
STORES: Final = ("sqlite", "postgres", "redis", "supabase")
_POSTGRES: Final = "PostgreSQL, fsync=on, synchronous_commit=on"
OWN: Final = (
    _ours("sqlite", FULL, backings.sqlite),
    _ours("sqlite, no group commit", FULL, backings.sqlite, BATCH_LIMIT="1"),
    _ours("sqlite, quiet log", FULL, backings.sqlite, LOG_LEVEL="warning"),
    _ours("postgres", _POSTGRES, backings.postgres),
    _ours("postgres, 2 processes", f"{_POSTGRES}; Redis for news", backings.postgres_and_redis, WEB_CONCURRENCY="2"),
    _ours("redis", "Redis, appendfsync=always", backings.redis),
    _ours(
        "redis, 2 processes", "Redis, appendfsync=always, for the news, too", backings.redis_twice, WEB_CONCURRENCY="2"
    ),
    _ours("supabase", f"{_POSTGRES}, behind PostgREST", backings.supabase),
)


class Running:
    """A contender that runs."""

    def __init__(self, contender: Contender, folder: Path, backing: Backing) -> None:
        self.contender = contender
        self.backing = backing
        self.folder = folder
        self.start_s = 0.0
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._headers: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        return self.contender.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def target(self) -> Target:
        """Where clients find it."""
        contender = self.contender
        headers = {**contender.headers, **self._headers}
        return Target(port=self.port, path=contender.path, speech=contender.speech, headers=headers)

    def start(self, **environ: str) -> None:
        """Start it, and return when it is ready. Raises RuntimeError with its log."""
        known = {name: os.environ[name] for name in KEPT if name in os.environ}
        began = time.perf_counter()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [word.format(port=self.port) for word in self.contender.command],
                cwd=self.contender.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **known,
                    "PORT": str(self.port),
                    "PYTHONPATH": str(ROOT),
                    **self.backing.environ,
                    **self.contender.environ,
                    **environ,
                },
            )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} does not start: {self.log()[-2000:]}")
            time.sleep(0.005)  # polling a server that may be anybody's
        self.start_s = time.perf_counter() - began
        if self.contender.enter is not None:
            self._headers = self.contender.enter(self.port)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.contender.ready)
            return connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextlib.contextmanager
def running(contender: Contender, parent: Path, *, started: bool = True) -> Iterator[Running]:
    """A contender over an empty store, in a folder of its own below `parent`, until the end of the block."""
    folder = parent / contender.name.replace(" ", "-").replace(",", "")
    folder.mkdir(exist_ok=True)
    with contender.open(folder) as backing:
        server = Running(contender, folder, backing)
        try:
            if started:
                server.start()
            yield server
        finally:
            server.stop()
