"""Every fault of an assistant has words for the user, and says truly whether trying again can help."""

import pytest

from server.assistant.errors import TEMPORARY, Fault
from server.errors import ERROR_CODES


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_has_its_words(fault: Fault) -> None:
    assert ERROR_CODES[fault].temporary == (fault in TEMPORARY)
