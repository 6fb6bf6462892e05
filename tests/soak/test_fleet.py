"""Which process a client is noted to have come to: the one whose socket it waits at, whatever that one is doing."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.soak.fleet import Fleet
from tests.soak.history import History
from tests.soak.run import ROOT
from tests.soak.tab import Address


class Visited(Fleet):
    """A client comes while a process is being started."""

    came_to: Address

    async def _spawn(self, environ: Mapping[str, str], listening: socket.socket | None) -> asyncio.subprocess.Process:
        self.came_to = self.pick()
        _, writer = await asyncio.open_connection("127.0.0.1", self.came_to.port)
        writer.close()
        return await super()._spawn(environ, listening)


async def test_who_comes_while_a_worker_is_started_is_that_workers_client(tmp_path: Path) -> None:
    """It waits in the line of the socket that the worker will have, so the worker's end explains the client's."""
    history = History(tmp_path / "history.jsonl")
    fleet = Visited(tmp_path, ROOT, history, {"STORE_URL": f"sqlite:///{tmp_path / 'log.db'}"}, as_workers=True)
    try:
        for _ in range(2):
            server = await fleet.start(fleet.places[0])
            assert fleet.came_to == (server.number, server.port)
            await fleet.kill(server)
    finally:
        await fleet.close()
        history.close()
