"""Servers that are broken on purpose, to show that the soak catches them: each is a copy with a small patch.

A patch names texts that stand exactly once in the server; when one does not fit any more, it is to be mended here.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tests.soak.checker import Verdict
from tests.soak.options import Options
from tests.soak.run import ROOT, soak

#: A broken server must be caught within so many kills.
KILLS: Final = 50
#: The first try is short: most are caught at once.
FIRST_KILLS: Final = 10


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a patch: `old` stands exactly once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Breakage:
    """What is broken, how, and which of the judge's checks must catch it."""

    says: str
    caught_by: frozenset[str]
    changes: tuple[Change, ...]
    #: Over which store, with how many processes and what between them, where that matters.
    needs: Mapping[str, Any] = field(default_factory=dict)


def _answers_first(writes: str) -> tuple[Change, ...]:
    """The store works out the outcome of such a batch, answers, and commits a moment later."""
    return (
        Change(
            "server/store/sqlite/store.py",
            "        planned = self._known.plan(writes) if self._is_open else None\n",
            f"        if {writes}:\n"
            "            return self._answer_first(writes)\n"
            "        planned = self._known.plan(writes) if self._is_open else None\n",
        ),
        Change(
            "server/store/sqlite/store.py",
            "    async def _commit(self, writes: Sequence[Write]) -> list[Outcome]:\n",
            "    async def _answer_first(self, writes):\n"
            "        outcomes = await self._run(self._writer, _foresee, writes)\n"
            "        self._late = asyncio.ensure_future(self._run(self._writer, _write_late, writes))\n"
            "        return outcomes\n\n"
            "    async def _commit(self, writes: Sequence[Write]) -> list[Outcome]:\n",
        ),
        Change(
            "server/store/sqlite/writer.py",
            "def _ask(connection: sqlite3.Connection, query: str, asked: Sequence[Any]) -> list[Any]:\n",
            "def foresee(connection, writes):\n"
            "    keys = [one.key for one in writes]\n"
            "    rows, next_number = _ask(connection, _HEADS, list(set(keys)))\n"
            "    heads = {SessionKey(user_id=user_id, session_id=name): Head(row) for name, user_id, *row in rows}\n"
            "    batch = Batch(heads, _used(connection, heads, writes), next_number)\n"
            "    return list(map(batch.apply, writes, keys))\n\n\n"
            "def _ask(connection: sqlite3.Connection, query: str, asked: Sequence[Any]) -> list[Any]:\n",
        ),
        Change(
            "server/store/sqlite/store.py",
            "def _delete(connection: sqlite3.Connection, key: SessionKey) -> bool:\n",
            "def _foresee(connection, writes):\n"
            "    from server.store.sqlite.writer import foresee\n"
            "    return foresee(connection, writes)\n\n\n"
            "def _write_late(connection, writes):\n"
            '    __import__("time").sleep(0.003)\n'
            "    return write(connection, writes)\n\n\n"
            "def _delete(connection: sqlite3.Connection, key: SessionKey) -> bool:\n",
        ),
    )


BREAKAGES: Final = {
    "ack-first": Breakage(
        "a line is acknowledged before it is committed",
        frozenset({"acked line lost"}),
        _answers_first("all(write.update is None for write in writes)"),
    ),
    "publish-first": Breakage(
        "an answer is published before it is committed",
        frozenset({"seen and lost", "seen otherwise"}),
        _answers_first("all(write.update is not None for write in writes)"),
    ),
    "no-version": Breakage(
        "a turn is committed whatever the session's version is",
        frozenset({"answered twice", "turn on an old state"}),
        (Change("server/store/batch.py", "write.expected_version != head.version", "write.expected_version is False"),),
    ),
    "cursor-stays": Breakage(
        "a turn is committed, and the cursor is not",
        frozenset({"answered twice"}),
        (
            Change(
                "server/store/batch.py",
                "head.cursor, head.card = update.cursor, update.card",
                "head.cursor, head.card = head.cursor, update.card",
            ),
        ),
    ),
    "no-dedupe": Breakage(
        "an id takes effect as often as it is sent",
        frozenset({"line twice"}),
        (
            Change(
                "server/store/batch.py",
                "            return Duplicate(before)\n",
                "            before = None\n",
            ),
            Change(
                "server/store/sqlite/owners.sql",
                "create unique index events_by_client",
                "create index events_by_client",
            ),
        ),
    ),
    "new-ids": Breakage(
        "a replay gives events new message ids",
        frozenset({"seen otherwise"}),
        (
            Change(
                "server/engine/subscriber.py",
                "        items = encode_all(loaded.events) if loaded else []\n",
                "        from msgspec.structs import replace\n"
                "        events = loaded.events if loaded else []\n"
                "        items = encode_all([replace(event, message_id=new_id()) for event in events])\n",
            ),
        ),
    ),
    "short-resume": Breakage(
        "a resume leaves out the first missed event",
        frozenset({"hole in a resume"}),
        (
            Change(
                "server/machines/connection.py",
                "self.last = cursor.after\n",
                "self.last = min(cursor.after + 1, snapshot.seq)\n",
            ),
        ),
    ),
    "same-times": Breakage(
        "two events may have one time",
        frozenset({"time"}),
        (
            Change(
                "server/records.py",
                "updated_at = event.created_at if event.created_at > updated_at else updated_at + 1",
                "updated_at = max(event.created_at, updated_at)",
            ),
        ),
    ),
    "no-guard": Breakage(
        "the SQL function commits a turn whatever the session's version is",
        frozenset({"answered twice", "turn on an old state"}),
        (
            Change(
                "server/store/postgres/migrations/20261201000020_rejoinder_owner_identity.sql",
                "when n.expects <> s.version then 'conflict'",
                "when n.expects = 0 and s.version > 0 then 'conflict'",
            ),
        ),
        {"store": "postgres", "processes": 3, "redis": "yes"},
    ),
    "deaf": Breakage(
        "nobody is told how far the log goes elsewhere",
        frozenset({"never converged"}),
        (Change("server/broker/__init__.py", "subscriber.hint(head)", "pass"),),
        {"store": "sqlite", "processes": 3, "redis": "no"},
    ),
}


class UnfitPatch(Exception):
    """A patch does not fit the server any more."""


def check_fit(breakage: Breakage, root: Path = ROOT) -> None:
    """Raises UnfitPatch when one of the changes has not exactly one place."""
    for change in breakage.changes:
        found = (root / change.path).read_text(encoding="utf-8").count(change.old)
        if found != 1:
            raise UnfitPatch(f"{change.path} has {found} times: {change.old.strip()}")


def break_copy(breakage: Breakage, folder: Path, root: Path = ROOT) -> None:
    """A copy of the server and its tests in `folder`, patched."""
    check_fit(breakage, root)
    for package in ("server", "tests"):
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in breakage.changes:
        path = folder / change.path
        path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")


async def catch(breakage: Breakage, options: Options) -> tuple[Verdict, str, bool]:
    """Soak a broken server, first for a few kills, then for all of them; whether the right checks caught it."""
    for kills in (FIRST_KILLS, KILLS):
        with tempfile.TemporaryDirectory(prefix="broken-") as name:
            folder = Path(name)
            break_copy(breakage, folder)
            verdict, wrong = await soak(replace(options, kills=kills, **breakage.needs), folder, folder)
        is_caught = any(violation.check in breakage.caught_by for violation in verdict.violations)
        if is_caught:
            break
    return verdict, wrong, is_caught


def run_broken(options: Options) -> int:
    """Soak the broken servers that `options` names; exit status 1 if one of them is not caught."""
    names = list(BREAKAGES) if options.broken == "all" else [options.broken or ""]
    if unknown := set(names) - BREAKAGES.keys():
        sys.stderr.write(f"{', '.join(unknown)}: none of all, {', '.join(BREAKAGES)}\n")
        return 2
    return asyncio.run(_run_all(names, options))


async def _run_all(names: Sequence[str], options: Options) -> int:
    missed = 0
    for name in names:
        verdict, wrong, is_caught = await catch(BREAKAGES[name], options)
        checks = ", ".join(sorted({violation.check for violation in verdict.violations})) or "nothing"
        found = f"{'caught' if is_caught else 'NOT CAUGHT'} after {verdict.counts['kills']} kills by: {checks}"
        missed += not is_caught
        sys.stdout.write(f"{name:<14} {BREAKAGES[name].says}: {found}\n")
        sys.stdout.flush()
        if len(names) == 1:
            sys.stdout.write(wrong + "\n")
    return 1 if missed else 0
