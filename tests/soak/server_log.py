"""What the servers themselves found strange: errors in their log that nobody asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.soak.view import UNEXPLAINED, Violation

#: The clients ask for steps that break.
ASKED_FOR: Final = frozenset({"step_failed"})
NO_START: Final = "cannot_start"
ERRORS: Final = frozenset({"error", "critical"})


def complaints(path: Path, excused_starts: int) -> Iterator[Violation]:
    """A violation for every record of an error, and for every traceback beside the records.

    `excused_starts` is how many processes had a reason not to start, and may say so.
    """
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Traceback"):
            yield Violation(UNEXPLAINED, "traceback", "a traceback stands in the servers' log")
        try:
            record = json.loads(line)
        except ValueError:
            continue  # not a record, or one that a kill cut short
        if not isinstance(record, dict) or record.get("level") not in ERRORS or record.get("event") in ASKED_FOR:
            continue
        if record.get("event") == NO_START and excused_starts > 0:
            excused_starts -= 1
            continue
        says = f"{record['event']}: {str(record.get('exception') or record.get('reason') or '')[-300:]}"
        yield Violation(UNEXPLAINED, "error in the log", says, session=record.get("session_id", ""))
