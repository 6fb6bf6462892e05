"""The workflows of this server: every file in this folder is one, found and checked when the server starts."""

import importlib
import pkgutil
from typing import Final

import server.workflows
from server.errors import WorkflowError
from server.workflows.table import Workflow


def find_workflows() -> dict[str, Workflow]:
    """Name → workflow, for every module of this folder. Raises WorkflowError for a wrong table or a name used twice."""
    found: dict[str, Workflow] = {}
    for module in sorted(pkgutil.iter_modules(server.workflows.__path__), key=lambda module: module.name):
        if module.name in ("table", "move", "outputs", "page", "registry"):
            continue
        source = importlib.import_module(f"server.workflows.{module.name}")
        workflows = [value for value in vars(source).values() if isinstance(value, Workflow)]
        if len(workflows) != 1:
            raise WorkflowError(f"workflows/{module.name}.py defines {len(workflows)} workflows instead of one")
        if workflows[0].name in found:
            raise WorkflowError(f"two workflows are called {workflows[0].name!r}")
        found[workflows[0].name] = workflows[0]
    return found


WORKFLOWS: Final = find_workflows()
