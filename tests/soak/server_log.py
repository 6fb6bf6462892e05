"""What the servers themselves found strange: errors in their log that nobody asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.soak.view import UNEXPLAINED, Violation

#: The clients ask for steps that break.
ASKED_FOR: Final = frozenset({"step_failed"})
ERRORS: Final = frozenset({"error", "critical"})


def complaints(path: Path) -> Iterator[Violation]:
    """A violation for every record of an error, and for every traceback beside the records."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Traceback"):
            yield Violation(UNEXPLAINED, "traceback", "a traceback stands in the servers' log")
        try:
            record = json.loads(line)
        except ValueError:
            continue  # not a record, or one that a kill cut short
        if isinstance(record, dict) and record.get("level") in ERRORS and record.get("event") not in ASKED_FOR:
            says = f"{record['event']}: {str(record.get('exception', ''))[-300:]}"
            yield Violation(UNEXPLAINED, "error in the log", says, session=record.get("session_id", ""))
