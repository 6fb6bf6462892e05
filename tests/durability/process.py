"""A real server process inside another program: strace, or one that takes rights away."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.process import ROOT, START_S, ServerProcess

SERVE = (sys.executable, "-m", "tests.support.serve")


class WrappedProcess(ServerProcess):
    """A server started by `prefix`, which must become the server (exec), so that its pid is the server's."""

    def __init__(self, folder: Path, prefix: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environ)
        self._prefix = prefix

    async def begin(self) -> None:
        """Start the process, and wait for nothing."""
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._prefix, *SERVE, env=self.environ, stdout=log, stderr=log, cwd=ROOT
            )

    async def start(self) -> None:
        await self.begin()
        await self._until_ready()

    async def wait(self) -> int:
        """The exit status of a server that ends by itself."""
        assert self._process is not None
        async with asyncio.timeout(START_S):
            return await self._process.wait()
