"""A real server process on a loopback port."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
#: A bound and no promise: the packages of a language model take their time to import on a busy machine.
START_S = 60.0
STOP_S = 15.0


class ServerProcess:
    """One server process; the same object can be started again after it was killed."""

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
                sys.executable, "-m", "tests.serve", env=self.environ, stdout=log, stderr=log, cwd=ROOT
            )
        async with asyncio.timeout(START_S), httpx.AsyncClient() as client:
            while not await self._is_ready(client):
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

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
