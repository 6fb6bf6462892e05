"""Which files of a folder are workflows, and what a wrong one is told at start."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from server.errors import WorkflowError
from server.workflows.builder import BUILDER
from server.workflows.registry import find_in, find_workflows

Folder = Callable[[dict[str, str]], ModuleType]

TEA = """
    from server.workflows.table import State, Workflow, chat

    def greet(turn):
        yield chat("Tea?")

    ASK, POUR = State("ASK", greet, on={"Yes": "POUR"}), State("POUR", greet, final=True)
    TEA = Workflow("tea", start="ASK", states=[ASK, POUR])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """Make a package of these files, and import it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(files: dict[str, str]) -> ModuleType:
        for name, source in {"__init__.py": "", **files}.items():
            path = tmp_path / "places" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module("places")

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "places"]:
        del sys.modules[name]


def wrong(package: ModuleType) -> list[str]:
    with pytest.raises(WorkflowError) as raised:
        find_in(package)
    assert str(raised.value) == "\n".join(raised.value.complaints)
    return raised.value.complaints


def test_the_servers_own_folder_is_searched() -> None:
    assert find_workflows()["builder"] is BUILDER
    assert list(find_workflows()) == sorted({"builder", "chat", *find_workflows()})


def test_files_without_a_workflow_are_libraries(folder: Folder) -> None:
    package = folder({"tea.py": TEA, "words.py": "HELLO = 'Hello'", "kettle/__init__.py": "", "kettle/hot.py": TEA})
    assert list(find_in(package)) == ["tea"]


def test_files_that_begin_with_an_underscore_are_not_looked_at(folder: Folder) -> None:
    package = folder({"_draft.py": "raise AssertionError", "tea.py": TEA})
    assert list(find_in(package)) == ["tea"]


def test_a_file_may_have_several_workflows_and_a_folder_may_have_one(folder: Folder) -> None:
    more = TEA + "\n    from dataclasses import replace\n    LATE = replace(TEA, name='late-tea')\n"
    package = folder({"tea.py": more, "cake/__init__.py": TEA.replace('"tea"', '"cake"')})
    assert list(find_in(package)) == ["cake", "late-tea", "tea"]


def test_a_workflow_that_another_file_imports_is_the_same_one(folder: Folder) -> None:
    package = folder({"tea.py": TEA, "again.py": "from places.tea import TEA"})
    assert list(find_in(package)) == ["tea"]


def test_a_name_that_is_used_twice_names_both_files(folder: Folder, tmp_path: Path) -> None:
    package = folder({"tea.py": TEA, "chai.py": TEA})
    places = tmp_path / "places"
    assert wrong(package) == [f"two workflows are called 'tea', in {places / 'chai.py'} and {places / 'tea.py'}"]


def test_every_wrong_table_of_the_folder_is_told_with_its_line(folder: Folder, tmp_path: Path) -> None:
    files = {
        "tea.py": TEA.replace('"POUR"}', '"PUOR"}'),
        "uses.py": "from places.tea import TEA",
        "nap.py": TEA.replace('start="ASK"', 'start="SLEEP"'),
    }
    nap, tea = tmp_path / "places" / "nap.py", tmp_path / "places" / "tea.py"
    assert wrong(folder(files)) == [
        f"{nap}, line 8: workflow 'tea': start is 'SLEEP', and there is no such state",
        f"{tea}, line 8: workflow 'tea': state ASK: 'Yes' leads to 'PUOR', and there is no such state;"
        " did you mean 'POUR'?",
        f"{tea}, line 8: workflow 'tea': state POUR cannot be reached: let an intent of another state lead to it,"
        " or take it out",
    ]


def test_a_mistake_of_python_is_pythons_to_tell(folder: Folder) -> None:
    with pytest.raises(NameError, match="gret"):
        find_in(folder({"tea.py": TEA.replace('"ASK", greet', '"ASK", gret')}))


def test_a_module_that_ends_the_process_is_a_complaint(folder: Folder) -> None:
    with pytest.raises(WorkflowError) as raised:
        find_in(folder({"odd.py": "raise SystemExit(0)", "tea.py": TEA}))
    assert raised.value.complaints == ["workflows/odd: it ends the process when it is imported (SystemExit 0)"]
