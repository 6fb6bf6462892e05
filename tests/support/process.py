"""A real server process on a loopback port."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A bound and no promise: the packages of a language model take their time to import on a busy machine.
START_S = 60.0
STOP_S = 60.0
#: A server whose store stalls does not answer: it is asked again.
READY_S = 2.0


class ServerProcess:
    """One server process; the same object can be started again after it was killed."""

    #: What is run, and in which folder.
    module = "tests.support.serve"
    root = ROOT

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.log_path = folder / "server.log"
        self.database = folder / "rejoinder.db"
        self.environ = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
            "PORT": str(self.port),
            "STORE_URL": f"sqlite:///{self.database}",
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
            **(environ or {}),
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, env=self.environ, stdout=log, stderr=log, cwd=self.root
            )
        await self._until_ready()

    async def _until_ready(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(START_S):
            while not await is_ready(self.port):
                if self._process.returncode is not None:
                    raise AssertionError(f"the server ended: {self.log()}")
                await asyncio.sleep(0.02)  # polling a process that can only be asked

    async def kill(self) -> None:
        """SIGKILL: no word, no drain."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM: drain, then the exit status."""
        return await self._end(signal.SIGTERM)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def log(self) -> str:
        return self.log_path.read_text()

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        async with asyncio.timeout(STOP_S):
            return await self._process.wait()


async def is_ready(port: int) -> bool:
    """Ask for `/readyz`, with as little as will do: it is asked very often, and the server needs the time."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(READY_S):
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).split()[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
