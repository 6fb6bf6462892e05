"""`scripts/bench`, `python -m tests.bench`: measure, tell, write."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.ops import logs
from tests.bench.bench import Unknown, bench
from tests.bench.charts import write_charts
from tests.bench.contenders import ROOT
from tests.bench.lifeline import lifeline
from tests.bench.options import read_options
from tests.bench.report import as_json, table
from tests.bench.rivals.environment import install

#: Not where temporary files are: those may be in memory, where a sync costs nothing.
PLACE: Final = ROOT / "var" / "bench"
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    logs.configure("error", "json")  # of our own writing to the stores; the servers have logs of their own
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT, too: in the background it may be ignored
        signal.signal(name, _stop)
    PLACE.mkdir(parents=True, exist_ok=True)
    if options.rivals:
        install()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
    folder.chmod(0o755)  # PostgreSQL is another user there, if this one is root
    try:
        with lifeline(folder):
            found = bench(options, folder)
    except KeyboardInterrupt:
        sys.stderr.write("scripts/bench: stopped before its end\n")
        return INTERRUPTED
    except Unknown as error:
        sys.stderr.write(f"scripts/bench: {error}\n")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(table(found))
    if options.json:
        options.json.write_bytes(as_json(found))
    if options.charts:
        write_charts(found.samples, options.charts)
    return 0


def _stop(*_: object) -> None:
    """Leave no server behind."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
