"""One measurement: the client program does a job, and what the server spends meanwhile is noted at its marks."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Final

import msgspec
from msgspec import Struct

from tests.bench import usage
from tests.bench.contenders import ROOT, Running
from tests.bench.job import Job, Mark, Told

#: The longest job with the slowest server.
LIMIT_S: Final = 600.0
#: How long a server may be busy with what a client left behind.
IDLE_WITHIN_S: Final = 15.0


class Cost(Struct, frozen=True, kw_only=True):
    """What a contender spent, in processor seconds: its own processes, and those of its store."""

    server_s: float
    store_s: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(server_s=self.server_s - other.server_s, store_s=self.store_s - other.store_s)


class Load(Struct, frozen=True, kw_only=True):
    """What came of turns: rates a second, seconds of processor time per 1,000 turns, latencies in milliseconds.

    `client_share` is the part of one core that the client program used, `quiet_share` that of the acks for which the
    machine was as fast as usual. A latency that nobody told of is None.
    """

    turns_per_s: float
    server_cpu_s: float | None
    store_cpu_s: float | None
    ack_p50_ms: float | None
    ack_p99_ms: float | None
    reply_p50_ms: float | None
    reply_p99_ms: float | None
    quiet_ack_p99_ms: float | None
    quiet_share: float | None
    client_share: float


OnMark = Callable[[str], None]


def cost(server: Running) -> Cost:
    """What it has spent so far."""
    return Cost(server_s=usage.cpu_s([server.pid]), store_s=usage.cpu_s(server.backing.pids))


def begin(job: Job) -> subprocess.Popen[bytes]:
    """A client program that has its job."""
    command = [sys.executable, "-m", "tests.bench.client", msgspec.json.encode(job).decode()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


def finish(client: subprocess.Popen[bytes], on_mark: OnMark) -> Told:
    """What it found. `on_mark` is told each mark; one that waits goes on afterwards. Raises RuntimeError."""
    assert client.stdin is not None
    assert client.stdout is not None
    assert client.stderr is not None
    watchdog = threading.Timer(LIMIT_S, client.kill)
    watchdog.start()
    told = b""
    try:
        for line in client.stdout:
            if not line.startswith(b'{"mark"'):
                told = line
                continue
            mark = msgspec.json.decode(line, type=Mark)
            on_mark(mark.mark)
            if mark.waits:
                client.stdin.write(b"\n")
                client.stdin.flush()
        status = client.wait()
        if status != 0:
            reason = client.stderr.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"the client ended with {status}: {reason}")
        return msgspec.json.decode(told, type=Told)
    finally:
        watchdog.cancel()
        client.kill()
        for stream in (client.stdin, client.stdout, client.stderr):
            stream.close()
        client.wait()


def run(job: Job, on_mark: OnMark = lambda _: None) -> Told:
    """Do a job."""
    return finish(begin(job), on_mark)


def load(server: Running, job: Job) -> Load:
    """Do a job of turns, and find what they cost."""
    costs: dict[str, Cost] = {}
    told = run(job, lambda mark: costs.update({mark: cost(server)}))
    spent = costs["end"] - costs["begin"]
    settle(server)
    thousands = told.turns / 1000
    acks, replies = percentiles(told.acks), percentiles(told.replies)
    return Load(
        turns_per_s=told.turns / told.seconds,
        server_cpu_s=spent.server_s / thousands if thousands else None,
        store_cpu_s=spent.store_s / thousands if thousands else None,
        ack_p50_ms=acks[0],
        ack_p99_ms=acks[1],
        reply_p50_ms=replies[0],
        reply_p99_ms=replies[1],
        quiet_ack_p99_ms=percentiles(told.quiet_acks)[1],
        quiet_share=len(told.quiet_acks) / len(told.acks) if told.quiet_acks else None,
        client_share=told.cpu_s / told.seconds,
    )


def settle(server: Running) -> None:
    """Let it end what the last client left behind, so that the next measurement begins with quiet."""
    usage.wait_until_idle([server.pid, *server.backing.pids], IDLE_WITHIN_S)


def percentiles(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """The median and the 99th percentile, in milliseconds."""
    if len(seconds) < 2:
        return (seconds[0] * 1000, seconds[0] * 1000) if seconds else (None, None)
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000
