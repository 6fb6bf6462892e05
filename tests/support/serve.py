"""The server with the tests' workflows beside its own: `python -m tests.support.serve`."""

import sys

from server.__main__ import main
from server.workflows.registry import find_workflows
from tests.support import example_workflows

if __name__ == "__main__":
    sys.exit(main({**find_workflows(), **example_workflows.WORKFLOWS}))
