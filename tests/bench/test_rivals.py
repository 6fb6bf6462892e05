"""That a rival which cannot take part is told of, with the reason."""

import json
import re
from pathlib import Path

import pytest

from tests.bench.rivals import environment
from tests.bench.rivals.environment import LOCKS, REQUIREMENTS


def work() -> None:
    """An installation that goes well."""


def fail() -> None:
    environment._run(["sh", "-c", "echo no compiler here >&2; exit 3"])


def test_what_could_not_be_installed_says_why_until_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, lock = tmp_path / "python", tmp_path / "lock"
    lock.write_text("one==1")
    assert environment._why_not(place, [lock]) == "not installed: scripts/bench --rivals"
    environment._install("One", place, [lock], fail)
    assert environment._why_not(place, [lock]) == "could not be installed: sh ended with 3: no compiler here"
    environment._install("One", place, [lock], work)
    assert environment._why_not(place, [lock]) is None
    lock.write_text("one==2")
    assert environment._why_not(place, [lock]) == "installed by other locks than these: scripts/bench --rivals"
    assert "no compiler here" in capsys.readouterr().err


def test_the_locks_are_whole() -> None:
    """Exact versions of everything; where they come from is the installer's business."""
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    package, lock = (json.loads(path.read_text(encoding="utf-8")) for path in LOCKS)
    packages = {name: one for name, one in lock.pop("packages").items() if name}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in package["dependencies"]} == (
        package["dependencies"]
    )
    assert all(one["integrity"] and "resolved" not in one for one in packages.values())
