"""What the summary of a test run says of the services behind it."""

import sys
from typing import Any, Final

import pytest

SUPABASE: Final = pytest.StashKey[set[str]]()


def _tested_with() -> set[str]:
    """What stood in for Supabase in this process; nothing is imported for a run that did not need it."""
    module = sys.modules.get("tests.services.supabase")
    return set() if module is None else module.TESTED_WITH


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUPABASE] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["supabase"] = sorted(_tested_with())
    else:
        session.config.stash[SUPABASE].update(_tested_with())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: a worker process has ended."""
    known: set[str] = node.config.stash[SUPABASE]
    known.update(getattr(node, "workeroutput", {}).get("supabase", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    known: set[str] = config.stash[SUPABASE]
    for name in sorted(known):
        terminalreporter.write_line(f"supabase: {name}")
