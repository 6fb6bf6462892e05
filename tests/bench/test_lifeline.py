"""What a bench leaves behind when it is killed: nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.support.process import ROOT

WAIT_S: Final = 20.0
#: A bench that starts a process, which starts another one.
BENCH: Final = """
import subprocess, sys, time
from pathlib import Path
from tests.bench.lifeline import lifeline
folder = Path(sys.argv[1])
with lifeline(folder):
    child = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    server = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(server.pid, server.stdout.readline().decode(), flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_bench_that_is_killed_takes_its_servers_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    bench = subprocess.Popen([sys.executable, "-c", BENCH, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    assert bench.stdout is not None
    with bench.stdout:
        pids = [int(word) for word in bench.stdout.readline().split()]
        assert [is_running(pid) for pid in (*pids, os.getpid())] == [True] * 3
        bench.send_signal(signal.SIGKILL)
        bench.wait()
    deadline = time.monotonic() + WAIT_S
    while (any(map(is_running, pids)) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, pids))
    assert not folder.exists()
    assert tmp_path.exists()
