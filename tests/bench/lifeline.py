"""No server outlives its bench, not even one that was killed: a small process sees to it.

It reads from a pipe that the bench holds open. When the bench is gone, however it went, it ends every process that has
the mark of this run in its environment, and removes the run's folder. `python -m tests.bench.lifeline MARK FOLDER`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: What starts with it in the environment of a process says whose it is.
VARIABLE: Final = "BENCH_RUN"
#: A process may start another one while they are being ended.
_ROUNDS: Final = 5


@contextlib.contextmanager
def lifeline(folder: Path) -> Iterator[None]:
    """Whatever this process starts inside the block ends with it at the latest."""
    os.environ[VARIABLE] = mark = uuid.uuid4().hex
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-m", "tests.bench.lifeline", mark, str(folder)]
    # A session of its own: Ctrl-C is for the bench.
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, env=environ, start_new_session=True)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        watcher.communicate()


def left(mark: str) -> list[int]:
    """The processes that bear the mark, as far as this user may look at them."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{VARIABLE}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def main() -> int:
    """Wait for the end of the bench, and clear up behind it. A bench that ended well leaves nothing to do."""
    mark, folder = sys.argv[1:]
    sys.stdin.buffer.read()
    for _ in range(_ROUNDS):
        for pid in left(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
