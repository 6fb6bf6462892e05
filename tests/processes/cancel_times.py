"""How long after a cancel the vendor sees its connection close: `python -m tests.processes.cancel_times [COUNT]`.

On the process that runs the turn, and from a tab on another one, with Redis between them. For people: no test asserts
these times.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.live import LONG, environment, talk
from tests.services.postgres import running_server
from tests.services.redis import empty_server
from tests.support.process import ServerProcess
from tests.support.wire import Client
from tests.vendors import Vendors, say


async def cancelled_after_ms(vendors: Vendors, writes: Client, cancels: Client) -> float:
    """One line by one tab, cancelled by another in mid-answer."""
    vendors.reset()
    vendors.next(say(LONG * 10, per_s=50))
    await writes.say("Go on.")
    turn = (await writes.until_type("ack"))["payload"]["seq"]
    await cancels.until_type("stream_delta", turn=turn, n=3)
    sent = time.monotonic()
    await cancels.send({"type": "cancel", "id": str(uuid.uuid4()), "turn": turn})
    await vendors.until(lambda: vendors.calls[0].outcome == "left", "the vendor sees the connection close")
    ended = vendors.calls[0].ended
    assert ended is not None
    await writes.until_type("state_update", turn=turn)
    return (ended - sent) * 1000


async def measure(writes_on: ServerProcess, cancels_on: ServerProcess, vendors: Vendors, count: int) -> list[float]:
    """So many times; the first turn of a process, which opens its connection to the vendor, is not among them."""
    session_id = str(uuid.uuid4())
    async with talk(writes_on.port, session_id) as writes, talk(cancels_on.port, session_id) as cancels:
        await asyncio.gather(writes.until_type("live"), cancels.until_type("live"))
        times = [await cancelled_after_ms(vendors, writes, cancels) for _ in range(count + 1)]
    return times[1:]


async def main(count: int) -> None:
    """Print both rows."""
    with Vendors() as vendors, running_server().database() as url, tempfile.TemporaryDirectory() as name:
        environ = {**environment(vendors), "STORE_URL": url, "REDIS_URL": empty_server("plain").url}
        folders = [Path(name, number) for number in "12"]
        for folder in folders:
            folder.mkdir()
        first, second = (ServerProcess(folder, environ) for folder in folders)
        try:
            await asyncio.gather(first.start(), second.start())
            report("same process", await measure(first, first, vendors, count))
            report("other process, by Redis", await measure(first, second, vendors, count))
        finally:
            await asyncio.gather(first.close(), second.close())


def report(where: str, times_ms: Sequence[float]) -> None:
    """One row."""
    told = f"median {statistics.median(times_ms):.0f} ms, max {max(times_ms):.0f} ms of {len(times_ms)}"
    sys.stdout.write(f"cancel on the {where}: {told}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
