"""Several processes behind one listening socket: WEB_CONCURRENCY.

The parent serves no client. It starts the workers, replaces one that dies, and forwards the signal to stop.
Workers are this same command, run again with two file descriptors in WORKER_FDS: the socket, and the reading end of a
pipe that the parent alone can write, so that a worker notices its parent's death and drains.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger()

VARIABLE: Final = "WORKER_FDS"
#: A worker that ends sooner than this (seconds) has a fault that another start will not mend at once.
_SOON_S: Final = 5.0
_PAUSE_S: Final = 1.0
#: How long the workers may take to end, in seconds; longer than the longest drain.
_STOP_S: Final = 60.0


class Inherited(NamedTuple):
    """The file descriptors that a worker gets from its parent."""

    listening: socket.socket
    lifeline: int


def inherited(environ: Mapping[str, str]) -> Inherited | None:
    """The parent's file descriptors, if this process is a worker; else None."""
    if not environ.get(VARIABLE):
        return None
    listening, lifeline = map(int, environ[VARIABLE].split(","))
    return Inherited(socket.socket(fileno=listening), lifeline)


def listen(host: str, port: int) -> socket.socket:
    """The socket that all workers accept from. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(2048)
    listening.setblocking(False)
    return listening


class Supervisor:
    """Keeps `count` workers alive until a signal asks for the end."""

    def __init__(self, count: int, listening: socket.socket) -> None:
        self._count = count
        self._listening = listening
        self._lifeline, self._alive = os.pipe()
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._stopping = False

    def run(self) -> int:
        """Serve until a signal. The exit status: 0, or that of a worker that could not start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._start()
        status = 0
        while self._workers:
            try:
                pid, ended = os.wait()
            except InterruptedError:
                continue
            worker, started_at = self._workers.pop(pid)
            worker.returncode = code = os.waitstatus_to_exitcode(ended)
            if self._stopping:
                continue
            soon = time.monotonic() - started_at < _SOON_S
            log.error("worker_ended", pid=pid, status=code)
            if code > 0 and soon:  # it has said why it cannot start; the others will not either
                status = code
                self._stop(signal.SIGTERM, None)
                continue
            if soon:
                time.sleep(_PAUSE_S)
            self._start()
        return status

    def _start(self) -> None:
        listening = self._listening.fileno()
        worker = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, VARIABLE: f"{listening},{self._lifeline}"},
            pass_fds=(listening, self._lifeline),
        )
        self._workers[worker.pid] = worker, time.monotonic()
        log.info("worker_started", pid=worker.pid)
        if self._stopping:  # the signal came while it was started
            worker.terminate()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Forward the signal to the workers. A second signal, or workers that do not end in time, are killed."""
        again, self._stopping = self._stopping, True
        for worker, _ in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL if again else signal.SIGTERM)
        if not again:
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, _STOP_S)
