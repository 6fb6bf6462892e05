"""The rivals' packages, in an environment of their own below var/bench: put there once, looked for ever after."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.contenders import ROOT

HERE: Final = Path(__file__).parent
PLACE: Final = ROOT / "var" / "bench" / "rivals"
PYTHON: Final = PLACE / "python"
NODE: Final = PLACE / "node"
#: Some of it may have to be compiled.
INSTALL_S: Final = 1800.0
BETTER_SQLITE: Final = "better-sqlite3"
NODE_SQLITE: Final = "node:sqlite"


def install() -> None:
    """Install what is not there yet. What cannot be installed is told, and the run goes on without it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    for name, work in (("Chainlit and LangGraph", _install_python), ("Socket.IO", _install_node)):
        try:
            work()
        except (OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"{name} could not be installed: {error}\n")


def why_no_python(package: str) -> str | None:
    """Why a package of Python is not there, or None when it is."""
    if not (PYTHON / "bin" / "python").exists():
        return "not installed: scripts/bench --rivals"
    return _complaint([PYTHON / "bin" / "python", "-c", f"import importlib.metadata as m; m.version({package!r})"])


def node_driver() -> tuple[str, str | None]:
    """The SQLite driver that Node has, and why Socket.IO cannot run with it, or None when it can."""
    node = shutil.which("node")
    if node is None:
        return "", "there is no node here"
    if not (NODE / "node_modules" / "socket.io").exists():
        return "", "not installed: scripts/bench --rivals"
    complaint: str | None = None
    for driver, works in (
        (BETTER_SQLITE, "new (require('better-sqlite3'))(':memory:')"),
        (NODE_SQLITE, "new (require('node:sqlite').DatabaseSync)(':memory:')"),
    ):
        complaint = _complaint([node, "-e", works])
        if complaint is None:
            return driver, None
    return "", f"neither {BETTER_SQLITE} nor {NODE_SQLITE} works: {complaint}"


def _install_python() -> None:
    python = PYTHON / "bin" / "python"
    if why_no_python("chainlit") is None and why_no_python("langgraph") is None:
        return
    sys.stderr.write("installing Chainlit and LangGraph under var/bench\n")
    _run([sys.executable, "-m", "venv", PYTHON])
    options = ("-q", "--disable-pip-version-check", "--no-input")
    _run([python, "-m", "pip", "install", *options, "-r", HERE / "requirements.txt"])


def _install_node() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm here")
    if node_driver()[1] is None:
        return
    sys.stderr.write("installing Socket.IO under var/bench\n")
    NODE.mkdir(exist_ok=True)
    for name in ("package.json", "../../.npmrc"):
        shutil.copy(HERE / name, NODE)
    options = ("--no-audit", "--no-fund", "--loglevel=error")
    try:
        _run([npm, "install", *options], cwd=NODE)  # its driver comes built, or is compiled
    except subprocess.SubprocessError:
        _run([npm, "install", "--ignore-scripts", *options], cwd=NODE)  # then Node's own may do


def _run(command: Sequence[str | Path], cwd: Path = ROOT) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=INSTALL_S)


def _complaint(command: Sequence[str | Path]) -> str | None:
    """The last line of what a command complains of; None when it does not."""
    place = NODE if NODE.exists() else PLACE
    tried = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env={**os.environ})
    if tried.returncode == 0:
        return None
    lines = [line for line in tried.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), lines[-1] if lines else "it does not run")
