"""What a test needs of its machine, and what becomes of it where the machine does not have that."""

import os
import shutil
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip with the reason; in CI, fail with it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


def without_power_over_files() -> tuple[str, ...]:
    """A prefix under which root is refused what the permissions of a file refuse."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        absent("root may write every file, and there is no setpriv here that takes this right away")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
