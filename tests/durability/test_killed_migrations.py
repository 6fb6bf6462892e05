"""`kill -9` at every single touch of a file while a server migrates an old one: the schema of before or the next.

And whenever the file has the next schema, the copy of what it was is whole beside it.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from server.records import SessionKey, Snapshot
from server.store.sqlite.inspector import SqliteInspector
from server.store.sqlite.store import SqliteStore
from tests.conformance.migrated import earlier_file
from tests.durability.soundness import Logs, sound_logs
from tests.durability.syscalls import strace
from tests.durability.troubles import wal
from tests.support.next_schemas import ADDED, ADDS, OWN
from tests.support.process import ROOT
from tests.support.writes import accept, greeting, new_session

MIGRATE: Final = """
import asyncio, sys
from server.store.sqlite.store import SqliteStore
from tests.support.next_schemas import ADDED
asyncio.run(SqliteStore(sys.argv[1], migrations=ADDED).open())
"""
RENEW: Final = """
import asyncio, sys
from server.store.sqlite.store import SqliteStore
asyncio.run(SqliteStore(sys.argv[1]).open())
"""
#: What touches a file. Which of them a Python uses for a rename or a change of mode is its own affair.
TOUCHES: Final = ("pwrite64", "fsync", "fdatasync", "unlink", "rename", "renameat", "chmod", "fchmodat", "fchmodat2")
TOUCHES_LEAST: Final = 20
TOUCHES_MOST: Final = 120


async def crashed_server(database: Path) -> Logs:
    """An old file whose server was killed: all that it wrote is in the log beside it."""
    store = SqliteStore(str(database))
    await store.open()
    session_id = new_session()
    await store.commit([greeting(session_id, to="HELLO"), accept(session_id, "c1")])
    logs = {session_id: await store.read(SessionKey("ann", session_id), 0, 10)}
    names = [database, wal(database)]
    left = {name: name.read_bytes() for name in names}
    await store.close()
    for name, content in left.items():
        name.write_bytes(content)
    return logs


def copy_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.backup-v{OWN}")


def traced_migration(database: Path, *options: str, program: str = MIGRATE) -> int:
    """Migrate in a process of which `trace` beside the file says what it did to files; its exit status."""
    copy = copy_of(database)
    touched = [database, wal(database), copy, f"{copy}.part", database.parent]
    files = [option for file in touched for option in ("-P", str(file))]
    traced = strace(database.with_name("trace"), *options, *files)
    command = [*traced, sys.executable, "-c", program, str(database)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode


def killed_migration(database: Path, touch: str, nth: int, program: str = MIGRATE) -> bool:
    """Migrate in a process that is killed at the nth of its calls of that name; whether it came to that."""
    # `?`: not every machine has every one of the calls.
    kill = ("-e", f"trace=?{touch}", "-e", f"inject=?{touch}:signal=SIGKILL:when={nth}")
    return traced_migration(database, *kill, program=program) == -9


def version_and_columns(database: Path) -> tuple[int, bool]:
    with closing(sqlite3.connect(database)) as connection:
        [version] = connection.execute("pragma user_version").fetchone()
        names = [row[1] for row in connection.execute("pragma table_info(sessions)")]
        return version, "mood" in names


async def test_a_migration_may_end_at_any_touch_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    logs = await crashed_server(tmp_path / "old" / "store.db")
    kills: list[str] = []
    left: set[tuple[int, bool]] = set()
    for touch in TOUCHES:
        for nth in range(1, TOUCHES_MOST):
            folder = tmp_path / f"{touch}-{nth}"
            shutil.copytree(tmp_path / "old", folder)
            was_killed = killed_migration(folder / "store.db", touch, nth)
            left.add(left_by_a_kill(folder / "store.db", logs))
            if not was_killed:
                break
            kills.append(touch)
            await migrate_again(folder / "store.db", logs)
            shutil.rmtree(folder)
    print(f"\nkilled at each of {len(kills)} touches")  # noqa: T201
    assert TOUCHES_LEAST <= len(kills) <= TOUCHES_MOST
    assert {"pwrite64", "fsync", "fdatasync"} < set(kills)
    assert left == {(OWN, False), (OWN, True), (ADDS.version, True)}


def left_by_a_kill(database: Path, logs: Logs) -> tuple[int, bool]:
    """The schema that a kill left, which is a whole one, and whether the copy is there, which is then whole, too."""
    version, has_column = version_and_columns(database)
    assert (version, has_column) in {(OWN, False), (ADDS.version, True)}, "half a migration"
    assert sound_logs(database) == logs
    copy = copy_of(database)
    if copy.exists():
        assert version_and_columns(copy) == (OWN, False)
        assert sound_logs(copy) == logs
    return version, copy.exists()


async def migrate_again(database: Path, logs: Logs) -> None:
    """The next start finishes it, and leaves one copy."""
    store = SqliteStore(str(database), migrations=ADDED)
    await store.open()
    await store.close()
    assert left_by_a_kill(database, logs) == (ADDS.version, True)
    assert [file.name for file in database.parent.glob("*backup*")] == [copy_of(database).name]


async def test_the_change_of_the_keys_may_end_at_any_write_of_the_log(tmp_path: Path) -> None:
    """A file of schema 3, which knew sessions by their ids, is one of that or of this schema, and whole."""
    (tmp_path / "old").mkdir()
    before = await earlier_file(str(tmp_path / "old" / "store.db"), 3)
    kills = 0
    for nth in range(1, TOUCHES_MOST):
        folder = tmp_path / str(nth)
        shutil.copytree(tmp_path / "old", folder)
        was_killed = killed_migration(folder / "store.db", "pwrite64", nth, RENEW)
        assert sound(folder / "store.db", before) in range(3, OWN + 1)
        if not was_killed:
            break
        kills += 1
        store = SqliteStore(str(folder / "store.db"))
        await store.open()
        await store.close()
        assert sound(folder / "store.db", before) == OWN
        assert sound(folder / "store.db.backup-v3", before) == 3
        shutil.rmtree(folder)
    assert kills >= TOUCHES_LEAST / 2


def sound(database: Path, before: Snapshot) -> int:
    """The schema of a file in which every page is whole and the session is as it was, with all of its log."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        [version] = connection.execute("pragma user_version").fetchone()
    with SqliteInspector(str(database)) as inspector:
        look = inspector.look(before.key)
        assert look.snapshot == before
        assert [one.seq for one in look.log] == [1, 2, 3]
    return int(version)


async def test_the_copy_is_on_the_disk_before_the_migration_begins(tmp_path: Path) -> None:
    """`kill -9` leaves the page cache, so it finds no missing sync: the order of the calls does."""
    database = tmp_path / "store.db"
    await crashed_server(database)
    assert traced_migration(database, "-e", f"trace={','.join(f'?{touch}' for touch in TOUCHES)}") == 0
    lines = (tmp_path / "trace").read_text(errors="replace").splitlines()
    part, folder, log = (re.escape(str(path)) for path in (f"{copy_of(database)}.part", tmp_path, wal(database)))
    patterns = (
        rf"pwrite64\(\d+<{part}>",
        rf"fsync\(\d+<{part}>\) += 0",
        rf'rename\w*\(.*"{part}"',
        rf"fsync\(\d+<{folder}>\) += 0",
        rf"pwrite64\(\d+<{log}>",
        rf"fdatasync\(\d+<{log}>\) += 0",
    )
    # The last writes to the copy and the first ones to the log are what counts.
    found = [[number for number, line in enumerate(lines) if re.search(pattern, line)] for pattern in patterns]
    assert all(found), lines
    written, synced, named, kept, begun, committed = found
    assert written[-1] < synced[0] < named[0] < kept[0] < begun[0] < committed[0]
