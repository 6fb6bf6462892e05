"""The rivals' packages, in environments of their own below var/bench: put there once, looked for ever after.

Both lists are locks: whole, pinned, and installed as they are. Nothing is resolved, so nothing drifts.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.bench.contenders import ROOT

HERE: Final = Path(__file__).parent
PLACE: Final = ROOT / "var" / "bench" / "rivals"
PYTHON: Final = PLACE / "python"
NODE: Final = PLACE / "node"
REQUIREMENTS: Final = HERE / "requirements.txt"
LOCKS: Final = (HERE / "package.json", HERE / "package-lock.json")
#: Some of it may have to be compiled.
INSTALL_S: Final = 1800.0
BETTER_SQLITE: Final = "better-sqlite3"
NODE_SQLITE: Final = "node:sqlite"
_NOT_YET: Final = "not installed: scripts/bench --rivals"


def install() -> None:
    """Install what is not there yet, or is of older locks. What cannot be is told, and the run goes on without it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    _install("Chainlit and LangGraph", PYTHON, [REQUIREMENTS], _install_python)
    _install("Socket.IO", NODE, LOCKS, _install_node)


def why_no_python(package: str) -> str | None:
    """Why a package of Python is not there, or None when it is."""
    if why := _why_not(PYTHON, [REQUIREMENTS]):
        return why
    return _complaint([PYTHON / "bin" / "python", "-c", f"import importlib.metadata as m; m.version({package!r})"])


def node_driver() -> tuple[str, str | None]:
    """The SQLite driver that Node has, and why Socket.IO cannot run with it, or None when it can."""
    node = shutil.which("node")
    if node is None:
        return "", "there is no node here"
    if why := _why_not(NODE, LOCKS):
        return "", why
    complaint: str | None = None
    for driver, works in (
        (BETTER_SQLITE, "new (require('better-sqlite3'))(':memory:')"),
        (NODE_SQLITE, "new (require('node:sqlite').DatabaseSync)(':memory:')"),
    ):
        complaint = _complaint([node, "-e", works])
        if complaint is None:
            return driver, None
    return "", f"neither {BETTER_SQLITE} nor {NODE_SQLITE} works: {complaint}"


def _install(names: str, place: Path, locks: Sequence[Path], work: Callable[[], None]) -> None:
    """Leaves a stamp of the locks, or the reason why there is none."""
    if _why_not(place, locks) is None:
        return
    sys.stderr.write(f"installing {names} under var/bench\n")
    _stamp(place).unlink(missing_ok=True)
    _reason(place).unlink(missing_ok=True)
    try:
        work()
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        _reason(place).write_text(f"could not be installed: {error}\n", encoding="utf-8")
        sys.stderr.write(f"{names} could not be installed: {error}\n")
        return
    _stamp(place).write_text(_state(locks), encoding="utf-8")


def _install_python() -> None:
    _run([sys.executable, "-m", "venv", "--clear", PYTHON])
    pip = (PYTHON / "bin" / "python", "-m", "pip")
    quiet = ("-q", "--disable-pip-version-check", "--no-input")
    _run([*pip, "install", *quiet, "--no-deps", "-r", REQUIREMENTS])
    _run([*pip, "check", "--disable-pip-version-check"])  # the lock is whole


def _install_node() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm here")
    shutil.rmtree(NODE, ignore_errors=True)
    NODE.mkdir()
    for path in (*LOCKS, ROOT / "tests" / ".npmrc"):
        shutil.copy(path, NODE)
    options = ("--no-audit", "--no-fund", "--loglevel=error")
    try:
        _run([npm, "ci", *options], cwd=NODE)  # its driver comes built, or is compiled
    except (RuntimeError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{BETTER_SQLITE} could not be built: {error}\n")
        _run([npm, "ci", "--ignore-scripts", *options], cwd=NODE)  # then Node's own may do


def _run(command: Sequence[str | Path], cwd: Path = ROOT) -> None:
    """Raises RuntimeError with what the command said last, OSError, subprocess.TimeoutExpired."""
    pipe = subprocess.PIPE
    ended = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, check=False, text=True,
        timeout=INSTALL_S,
    )  # fmt: skip
    if ended.returncode != 0:
        last = [line.strip() for line in ended.stdout.splitlines() if line.strip()][-3:]
        raise RuntimeError(f"{Path(command[0]).name} ended with {ended.returncode}: {' | '.join(last)[:300]}")


def _why_not(place: Path, locks: Sequence[Path]) -> str | None:
    """Why an environment is not there, or None when it is there and of these locks."""
    if _reason(place).exists():
        return _reason(place).read_text(encoding="utf-8").strip()
    if not _stamp(place).exists():
        return _NOT_YET
    if _stamp(place).read_text(encoding="utf-8") != _state(locks):
        return "installed by other locks than these: scripts/bench --rivals"
    return None


def _stamp(place: Path) -> Path:
    return place.with_suffix(".installed")


def _reason(place: Path) -> Path:
    return place.with_suffix(".why-not")


def _state(locks: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()


def _complaint(command: Sequence[str | Path]) -> str | None:
    """The last line of what a command complains of; None when it does not."""
    place = NODE if NODE.exists() else PLACE
    tried = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env={**os.environ})
    if tried.returncode == 0:
        return None
    lines = [line for line in tried.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), lines[-1] if lines else "it does not run")
