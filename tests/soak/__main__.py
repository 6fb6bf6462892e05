"""`scripts/soak`, `python -m tests.soak`: run, judge, tell."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.ops import logs
from server.settings import mask_url
from tests.soak.broken import run_broken
from tests.soak.options import Options, read_options
from tests.soak.run import soak

#: The exit status of a run that was stopped before its end.
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    logs.configure("error", "json")  # of our own reading of the store; the servers have a log of their own
    sys.stderr.write(f"seed {options.seed}\n")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # leave no server behind
    try:
        return run_broken(options) if options.broken else asyncio.run(_run(options))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run(options: Options) -> int:
    folder = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    verdict, wrong = await soak(options, folder)
    sys.stdout.write(verdict.summary() + "\n" + wrong)
    if options.json:
        asked = {"seed": options.seed, "store": mask_url(options.store), "processes": options.processes}
        figures = {**asked, "redis": options.redis, **verdict.figures()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if verdict.violations:
        sys.stdout.write(f"\n\nseed {options.seed}; history and log are kept in {folder}\n")
    elif options.keep is None:
        shutil.rmtree(folder)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
