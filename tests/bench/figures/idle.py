"""Ten thousand connections: what one costs that does nothing, and how fast they all come back after a restart."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Final

from server.store.open import open_store
from tests.bench import usage
from tests.bench.contenders import Contender, Running, running
from tests.bench.job import Job, Told
from tests.bench.measure import cost, run, settle
from tests.bench.options import Plan
from tests.bench.samples import Samples
from tests.bench.seed import seed_crowd
from tests.bench.serve import VARIABLE

_SEED: Final = 0xC0DE
#: Events in the history of each session that comes back.
_LENGTH: Final = 6
#: As many handshakes as a listening socket has room for, with some to spare.
_IN_FLIGHT: Final = 1_000
_CALLS_S: Final = 10.0


def measure_idle(plan: Plan, samples: Samples, contender: Contender, folder: Path, number: int) -> None:
    """Resident memory with so many connections less that with none, each to a new session of its own."""
    with running(contender, folder) as server:
        settle(server)
        before = usage.resident_bytes([server.pid])

        def look(mark: str) -> None:
            settle(server)
            held = int(mark.split()[1])
            grown = usage.resident_bytes([server.pid]) - before
            samples.add("idle", f"{held:,} connections", server.name, number, bytes_per_connection=grown / held)

        run(Job(kind="hold", target=server.target, stops=plan.connections), look)


def measure_storm(plan: Plan, samples: Samples, contender: Contender, folder: Path, number: int) -> None:
    """A server that has just started, and everybody who was connected before it: nobody has missed anything."""
    with running(contender, folder, started=False) as server:
        if contender.is_ours:
            server.start()  # its store has the tables then
            asyncio.run(_seed(server, plan.storm))
            server.stop()
        calls = folder / "calls.json"
        server.start(**({VARIABLE: str(calls)} if contender.is_ours else {}))
        settle(server)
        before = store_calls(server, calls) if contender.is_ours else 0
        spent = cost(server)
        told = _come_back(server, plan.storm)
        spent = cost(server) - spent
        there = int(len(told.opened) * 0.99)
        samples.add(
            "storm",
            f"{plan.storm:,} sessions",
            server.name,
            number,
            to_99_percent_s=told.opened[there - 1],
            accepted_per_s=there / told.opened[there - 1],
            server_cpu_s=spent.server_s / plan.storm * 1000,
            store_calls_each=(store_calls(server, calls) - before) / plan.storm if contender.is_ours else None,
        )


def _come_back(server: Running, count: int) -> Told:
    target = server.target
    path = target.path + (f"&after={_LENGTH}" if server.contender.is_ours else "")
    place = type(target)(port=target.port, path=path, speech=target.speech, headers=target.headers)
    return run(Job(kind="hold", target=place, stops=(count,), in_flight=_IN_FLIGHT, seed=_SEED))


async def _seed(server: Running, count: int) -> None:
    assert server.backing.settings is not None
    store = open_store(server.backing.settings)
    await store.open()
    try:
        await seed_crowd(store, _SEED, count, _LENGTH)
    finally:
        await store.close()


def store_calls(server: Running, path: Path) -> int:
    """How often a counted server has asked its store so far."""
    path.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    deadline = time.monotonic() + _CALLS_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not tell its calls")
        time.sleep(0.005)  # polling for a file of another process
    return sum(json.loads(path.read_text()).values())
