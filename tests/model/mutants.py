"""Servers that are broken on purpose: what the tests must catch.

Each mutant is a patch of texts that stand exactly once in their files. It is applied to a copy, and the tests run on
the copy: first the schedules, then those that know the broken part best. One that survives both is a hole in the tests.
"""

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.model.broken_busy import BUSY_MUTANTS
from tests.model.broken_containment import CONTAINMENT_MUTANTS
from tests.model.broken_machines import CONNECTION_MUTANTS, SESSION_MUTANTS
from tests.model.broken_processes import PROCESS_MUTANTS, ROUND_MUTANTS, SHOWN_MUTANTS
from tests.model.broken_stores import GROUP_MUTANTS, STORE_MUTANTS
from tests.model.mutant import Mutant

MUTANTS: Final = (
    *STORE_MUTANTS,
    *GROUP_MUTANTS,
    *CONNECTION_MUTANTS,
    *SESSION_MUTANTS,
    *BUSY_MUTANTS,
    *PROCESS_MUTANTS,
    *SHOWN_MUTANTS,
    *ROUND_MUTANTS,
    *CONTAINMENT_MUTANTS,
)

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("server", "tests", "scripts", "pyproject.toml")
MODEL: Final = "tests/model/test_schedules.py"
#: Whatever takes longer hangs, which is caught, too.
LIMIT_S: Final = 90
#: All the tests together, on the server as it is.
WHOLE_LIMIT_S: Final = 900
#: No mutant is of a store that another server keeps.
CHOSEN: Final = "not (postgres or redis or supabase)"
AT_ONCE: Final = 2
EXAMPLES: Final = os.environ.get("MODEL_EXAMPLES", "800")
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?([\w-]+\.py)(?:::(\S+))?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What caught a mutant: by the schedules, by the other tests, and how long each took."""

    mutant: Mutant
    model: str | None
    others: str | None
    model_s: float
    others_s: float

    @property
    def is_caught(self) -> bool:
        return self.model is not None or self.others is not None


def stale(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """The files in which the patch does not match exactly once."""
    texts = [(change, (root / change.path).read_text(encoding="utf-8")) for change in mutant.changes]
    return [change.path for change, text in texts if text.count(change.old) != 1]


def broken_copy(mutant: Mutant, folder: Path) -> None:
    """A copy of the repository with the mutant's patch."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=leave) if source.is_dir() else shutil.copy2(source, folder)
    for change in mutant.changes:
        path = folder / change.path
        path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")


async def failed_tests(folder: Path, tests: Sequence[str], limit_s: int) -> tuple[str | None, float]:
    """The first test that fails on the copy, None if none does; and how long that took."""
    began = time.monotonic()
    command = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-k", CHOSEN, *tests)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MODEL_SHORTEST": "0", "MODEL_EXAMPLES": EXAMPLES},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), limit_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        return "hangs", time.monotonic() - began
    took_s = time.monotonic() - began
    if process.returncode == 0:
        return None, took_s
    found = _FAILED.search(output.decode(errors="replace"))
    return (f"{found[1]} {found[2] or ''}".strip() if found else f"exit {process.returncode}"), took_s


def whole(mutants: Sequence[Mutant]) -> Mutant:
    """No mutant at all: what the others are compared with, by all of their tests."""
    return Mutant("whole", "nothing is broken", (), tuple(sorted({test for one in mutants for test in one.tests})))


async def judge(mutant: Mutant, limit_s: int = LIMIT_S) -> Verdict:
    """Run the tests on a copy with the patch."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        broken_copy(mutant, folder)
        model, model_s = await failed_tests(folder, [MODEL], limit_s) if mutant.is_in_model else (None, 0.0)
        others, others_s = await failed_tests(folder, mutant.tests, limit_s) if mutant.tests else (None, 0.0)
    return Verdict(mutant, model, others, model_s, others_s)


async def judge_all(mutants: Sequence[Mutant]) -> list[Verdict]:
    """Judge the mutants, a few at a time, and tell of each as soon as it is known."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(mutant: Mutant) -> Verdict:
        async with free:
            verdict = await judge(mutant)
        sys.stdout.write(row(verdict))
        sys.stdout.flush()
        return verdict

    return await asyncio.gather(*map(one, mutants))


def row(verdict: Verdict) -> str:
    """A row of the table."""
    model = f"{verdict.model or ('–' if verdict.mutant.is_in_model else '')} {verdict.model_s:.0f} s"
    others = f"{verdict.others or '–'} {verdict.others_s:.0f} s"
    name = verdict.mutant.name if verdict.is_caught else f"{verdict.mutant.name} SURVIVES"
    return f"| {name} | {model if verdict.mutant.is_in_model else ''} | {others if verdict.mutant.tests else ''} |\n"


def main(arguments: Sequence[str]) -> int:
    """Exit 0: every mutant was caught. 1: one survives, or its patch is stale."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants")
    parser.add_argument("--list", action="store_true", help="name the mutants and stop")
    options = parser.parse_args(arguments)
    known = {mutant.name: mutant for mutant in MUTANTS}
    if options.list:
        sys.stdout.writelines(f"{mutant.name:30} {mutant.says}\n" for mutant in MUTANTS)
        return 0
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such mutant: {', '.join(unknown)}")
    chosen = [known[name] for name in options.names] or list(MUTANTS)
    if old := {mutant.name: stale(mutant) for mutant in chosen if stale(mutant)}:
        sys.stdout.writelines(f"stale: {name} in {', '.join(paths)}\n" for name, paths in old.items())
        return 1
    if (failed := asyncio.run(judge(whole(chosen), WHOLE_LIMIT_S))).is_caught:
        sys.stdout.write(f"the tests fail on the server as it is: {failed.model or failed.others}\n")
        return 1
    sys.stdout.write("| mutant | caught by the schedules | caught by other tests |\n|---|---|---|\n")
    survivors = [verdict for verdict in asyncio.run(judge_all(chosen)) if not verdict.is_caught]
    sys.stdout.write(f"{len(chosen)} mutants, {len(survivors)} survive\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
