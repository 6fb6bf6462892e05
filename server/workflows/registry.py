"""Finds the workflows of this folder. The server calls it at start, and importing a workflow checks it.

Every Workflow among the names of a module or package is found. A module without one is a library for the others; a
module whose name begins with "_" is not imported.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import server.workflows
from server.errors import WorkflowError
from server.workflows.table import Workflow

_TABLE: Final = Path(__file__).with_name("table.py")
_ROOT: Final = Path(__file__).parents[2]


@cache
def find_workflows() -> dict[str, Workflow]:
    """Name → workflow, for every workflow of this folder, sorted by name.

    Raises WorkflowError with the complaints about all workflows, each with its file. Any other exception of a module
    is passed on.
    """
    return find_in(server.workflows)


def find_in(package: ModuleType) -> dict[str, Workflow]:
    """Like `find_workflows`, for the modules of any package."""
    found: dict[str, tuple[Workflow, str]] = {}
    complaints: dict[str, None] = {}  # ordered and unique: several modules may import the same wrong one
    for name in sorted(one.name for one in pkgutil.iter_modules(package.__path__) if not one.name.startswith("_")):
        try:
            module = importlib.import_module(f"{package.__name__}.{name}")
        except WorkflowError as error:
            complaints.update((f"{_line_of(error, package)}: {complaint}", None) for complaint in _told(error))
            continue
        except SystemExit as error:  # else the start would end in silence, with the status of the module
            complaints[f"workflows/{name}: it ends the process when it is imported (SystemExit {error.code!r})"] = None
            continue
        for workflow in _workflows_of(module):
            here = _shown(module.__file__)
            known, there = found.setdefault(workflow.name, (workflow, here))
            if known is not workflow:
                complaints[f"two workflows are called {workflow.name!r}, in {there} and {here}"] = None
    if complaints:
        raise WorkflowError(None, list(complaints))
    return {name: found[name][0] for name in sorted(found)}


def _workflows_of(module: ModuleType) -> list[Workflow]:
    return [value for value in vars(module).values() if isinstance(value, Workflow)]


def _told(error: WorkflowError) -> Iterator[str]:
    return (f"workflow {error.workflow!r}: {complaint}" for complaint in error.complaints)


def _line_of(error: WorkflowError, package: ModuleType) -> str:
    """The file and line of the wrong table: the innermost frame of the traceback in the package, except `table.py`."""
    place, trace, folders = package.__name__, error.__traceback__, {Path(path) for path in package.__path__}
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if folders & set(path.parents) and path not in (_TABLE, Path(__file__)):
            place = f"{_shown(str(path))}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _shown(file: str | None) -> str:
    path = Path(file or "")
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else str(path)
