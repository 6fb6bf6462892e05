"""docs/architecture.md names every module of the server, and nothing that is not there."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.process import ROOT

SERVER: Final = ROOT / "server"
PAGE: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
#: A file that makes a workflow.
_HOLDS: Final = re.compile(r"^[A-Z]\w* = Workflow\(", re.MULTILINE)
LAWS: Final = re.findall(r"^\| L(\d+) \|", PAGE, re.MULTILINE)


def named(page: str) -> set[str]:
    """The paths that the page names: files, and folders with a slash at the end."""
    return set(re.findall(r"`((?:\w+/)*(?:\w+\.(?:py|md)|\w+/))`", page))


def modules() -> set[str]:
    """Every module of server/ but the builder's rules and a workflow that somebody adds; a package as `name/`."""
    paths = (path.relative_to(SERVER) for path in SERVER.rglob("*.py"))
    ours = {path for path in paths if path.parts[:3] != ("workflows", "builder", "rules")} - added_workflows()
    return {f"{path.parent}/" if path.name == "__init__.py" and path.parent.parts else str(path) for path in ours}


def added_workflows() -> set[Path]:
    """The files of the folder that hold a workflow: adding one is adding one file, and no line here."""
    files = (SERVER / "workflows").glob("*.py")
    return {path.relative_to(SERVER) for path in files if _HOLDS.search(path.read_text(encoding="utf-8"))}


def test_every_module_of_the_server_is_named() -> None:
    """One that is missing gets a line in its room."""
    assert modules() - named(PAGE) == set()
    assert len(modules()) > 80


@pytest.mark.parametrize("path", sorted(named(PAGE)))
def test_what_is_named_is_there(path: str) -> None:
    assert (SERVER / path).exists() or (ROOT / path).exists()


def test_every_law_that_the_code_cites_is_there() -> None:
    cited = {
        law
        for folder in (SERVER, ROOT / "tests", ROOT / "scripts")
        for path in folder.rglob("*.py")
        for law in re.findall(r"\(L(\d+)\)", path.read_text(encoding="utf-8"))
    }
    assert cited
    assert [str(number) for number in range(1, 13)] == LAWS
    assert cited <= set(LAWS)
