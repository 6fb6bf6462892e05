"""Random mutants: small faults at random places of the server, to see which tests notice them.

`python -m tests.model.random_mutants --count 200 --seed 1`. Each mutant changes one place of one file: a comparison, a
condition, a whole number, a boolean, an arithmetic sign, or a statement that is left out. It is applied to a copy, and
the tests of its room run there until the first one fails. Those that survive are printed with their place: each is a
hole in the tests, or equivalent.
"""

import argparse
import ast
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.model.mutant import Mutant
from tests.model.mutants import AT_ONCE, ROOT, broken_copy, failed_tests

#: Room or file → the tests that know it, the quick ones first. The longest prefix counts; "" is for all others.
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "machines": ("tests/pure", "tests/model/test_schedules.py"),
    "records.py": ("tests/pure", "tests/conformance/test_store.py"),
    "errors.py": ("tests/pure",),
    "settings.py": ("tests/pure",),
    "wire": ("tests/pure",),
    "workflows": ("tests/pure", "tests/workflows", "tests/engine"),
    "assistant": ("tests/assistant", "tests/engine"),
    "engine": ("tests/engine", "tests/e2e", "tests/model/test_sweep.py"),
    "store/sqlite": ("tests/conformance", "tests/store", "tests/durability"),
    "store": ("tests/conformance", "tests/store"),
    "broker": ("tests/conformance/test_broker.py", "tests/engine"),
    "ops": ("tests/pure", "tests/ops"),
    "web": ("tests/pure", "tests/web", "tests/e2e"),
    "": ("tests/web", "tests/e2e"),
}
#: Not drawn from: what another database keeps is not tested on a copy, and words are not judged.
LEFT_OUT: Final = ("store/postgres", "store/supabase", "store/redis", "broker/redis", "workflows/builder")
#: A mutant that takes longer hangs, which is caught, too.
LIMIT_S: Final = 240

_COMPARED: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """One possible fault: the text of `path` from byte `start` to `end` becomes `new`."""

    path: str
    line: int
    start: int
    end: int
    new: str


def places(path: str, source: str) -> Iterator[Place]:
    """Every fault that can be made in a file."""
    starts = [0]
    for line in source.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)

    def place(first: ast.expr | ast.stmt, last: ast.expr | ast.stmt, new: str) -> Place:
        assert last.end_lineno is not None
        assert last.end_col_offset is not None
        start = starts[first.lineno - 1] + first.col_offset
        return Place(path, first.lineno, start, starts[last.end_lineno - 1] + last.end_col_offset, new)

    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARED:
                text = f"{ast.unparse(left)} {_COMPARED[type(operator)]} {ast.unparse(right)}"
                yield place(node, node, f"({text})")
            case ast.BoolOp(operator, values):
                joined = " or " if isinstance(operator, ast.And) else " and "
                yield place(node, node, "(" + joined.join(f"({ast.unparse(value)})" for value in values) + ")")
            case ast.UnaryOp(ast.Not(), operand):
                yield place(node, node, f"({ast.unparse(operand)})")
            case ast.Constant(bool() as value):
                yield place(node, node, str(not value))
            case ast.Constant(int() as value):
                yield place(node, node, str(value + 1))
            case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
                sign = "-" if isinstance(operator, ast.Add) else "+"
                yield place(node, node, f"({ast.unparse(left)} {sign} {ast.unparse(right)})")
            case ast.Expr(ast.Call()) | ast.AugAssign():
                yield place(node, node, "pass")
            case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
                yield place(node, node, "return None")


def drawn(count: int, seed: int, of: str) -> list[Place]:
    """So many faults, at random among all that are possible in the files whose path begins with `of`."""
    found: list[Place] = []
    for path in sorted((ROOT / "server").rglob("*.py")):
        within = path.relative_to(ROOT / "server").as_posix()
        if within.startswith(of) and not within.startswith(LEFT_OUT):
            found += places(f"server/{within}", path.read_text(encoding="utf-8"))
    return random.Random(seed).sample(found, min(count, len(found)))


def tests_of(path: str) -> tuple[str, ...]:
    """The tests that know a file."""
    within = path.removeprefix("server/")
    return TESTS[max((room for room in TESTS if within.startswith(room)), key=len)]


async def judge(place: Place) -> tuple[str | None, float]:
    """The first test that fails with the fault, None if none does; and how long that took (s)."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        broken_copy(Mutant("random", "", (), ()), folder)
        shutil.copy2(ROOT / ".env.example", folder)  # a test of the settings reads it
        path = folder / place.path
        text = path.read_bytes()
        path.write_bytes(text[: place.start] + place.new.encode() + text[place.end :])
        return await failed_tests(folder, tests_of(place.path), LIMIT_S)


async def judge_all(chosen: Sequence[Place]) -> int:
    """Judge each fault and print its row; returns how many survive."""
    free, survived = asyncio.Semaphore(AT_ONCE), 0

    async def one(place: Place) -> None:
        nonlocal survived
        async with free:
            caught, took_s = await judge(place)
        survived += caught is None
        new = " ".join(place.new.split())
        sys.stdout.write(
            f"{'SURVIVES' if caught is None else caught} | {place.path}:{place.line} | {new} | {took_s:.0f} s\n"
        )
        sys.stdout.flush()

    await asyncio.gather(*map(one, chosen))
    return survived


def main(arguments: Sequence[str]) -> int:
    """Print a row for each mutant, and how many survive. The exit status is 0: a survivor may be equivalent."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model.random_mutants", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", default="", metavar="PREFIX", help="only files of server/ that begin so, as machines/")
    options = parser.parse_args(arguments)
    chosen = drawn(options.count, options.seed, options.of)
    survived = asyncio.run(judge_all(chosen))
    sys.stdout.write(f"{len(chosen)} mutants, {survived} survive\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
