"""The server with the tests' workflows beside its own: `python -m tests.support.serve`."""

import sys

from server.__main__ import main
from server.workflows.registry import WORKFLOWS
from tests.support import example_workflows

if __name__ == "__main__":
    sys.exit(main({**WORKFLOWS, **example_workflows.WORKFLOWS}))
