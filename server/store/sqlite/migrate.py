"""Migrates an SQLite file to the server's schema when the store opens it.

- The file is first copied beside itself (`store.db.backup-v1`). If the copy fails, nothing is migrated.
- A migration and its number (`user_version`) are one transaction, so a kill leaves the old schema or the new one.
- A process takes the write lock and then reads the number again: of two that start at once, only one migrates.
- A file with a newer schema is refused, unless its table `rejoinder_schema` allows this server.
"""

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from server.store.schema import Schema

#: The most copies of one version. Each failed migration after which the old server wrote again adds one.
COPIES_LIMIT: Final = 9


class Migration(NamedTuple):
    """One migration: `sql` turns the schema before it into `version`. Each statement ends at the end of a line.

    Servers written for schema `compatible_from` or later can work with the result.
    """

    version: int
    name: str
    sql: str
    compatible_from: int


def _shipped(version: int, name: str, file: str, *, compatible_from: int) -> Migration:
    sql = resources.files("server.store.sqlite").joinpath(file).read_text(encoding="utf-8")
    return Migration(version, name, sql, compatible_from)


#: In order. A released migration is never edited: every change adds a row.
MIGRATIONS: Final = (
    _shipped(1, "sessions", "tables.sql", compatible_from=1),
    _shipped(2, "leases", "leases.sql", compatible_from=1),
    _shipped(3, "log", "log.sql", compatible_from=1),
    _shipped(4, "pages", "pages.sql", compatible_from=1),
    _shipped(5, "owners", "owners.sql", compatible_from=5),
)


def schema_of(connection: sqlite3.Connection) -> Schema:
    """The schema of an SQLite file; version 0 when the file has none. Raises sqlite3.Error."""
    version = _version(connection)
    said = None
    if connection.execute("select 1 from sqlite_master where name = 'rejoinder_schema'").fetchone() is not None:
        row = "select compatible_from from rejoinder_schema where version = ?"
        said = connection.execute(row, (version,)).fetchone()
    return Schema(version, version if said is None else said[0])


def check(connection: sqlite3.Connection, own: int) -> None:
    """Raise sqlite3.Error when a server of schema `own` must not use the file. Writes nothing."""
    if (refusal := schema_of(connection).refusal(own)) is not None:
        raise sqlite3.DatabaseError(refusal)


def migrate(connection: sqlite3.Connection, file: Path | None, migrations: Sequence[Migration]) -> list[str]:
    """Apply the missing ones of `migrations` to `file` (None: a database in memory), open as `connection`.

    Returns one line of text for each step taken. Raises sqlite3.Error: then the file has its old schema, or that of
    the last migration that succeeded.
    """
    done: list[str] = []
    is_copied = False
    while (version := _version(connection)) < migrations[-1].version:
        with transaction(connection):
            if _version(connection) != version:
                continue  # another process has migrated it
            if file is not None and not is_copied and not _is_empty(connection):
                done.append(_copy(file, version))
            is_copied = True
            step = next(one for one in migrations if one.version > version)
            started = time.perf_counter()
            _apply(connection, step)
        done.append(f"applied {step.version}_{step.name} in {(time.perf_counter() - started) * 1000:.0f} ms")
    return done


def plan(file: Path, migrations: Sequence[Migration]) -> list[str]:
    """The steps that `migrate` would take on a file, one line of text each. Writes nothing. Raises sqlite3.Error."""
    if not file.exists():
        return [f"would make {file}"]
    # A `-wal` file holds the last writes. Without one no process writes, and `immutable` keeps SQLite from making one.
    is_quiet = not file.with_name(f"{file.name}-wal").exists()
    with _reading(file, "&immutable=1" if is_quiet else "") as connection:
        check(connection, migrations[-1].version)
        version, is_empty = _version(connection), _is_empty(connection)
    steps = [f"would apply {one.version}_{one.name}" for one in migrations if one.version > version]
    copy = [f"would copy {file.name}, schema {version}, to {file.name}.backup-v{version}"]
    return copy + steps if steps and not is_empty else steps


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at once, so values read inside it do not change before its writes.

    It commits at the end of the block and rolls back when the block raises. Raises sqlite3.Error.
    """
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    for statement in statements(step.sql):
        connection.execute(statement)
    columns = "version integer not null, compatible_from integer not null"
    connection.execute(f"create table if not exists rejoinder_schema ({columns})")
    connection.execute("delete from rejoinder_schema")
    connection.execute("insert into rejoinder_schema values (?, ?)", (step.version, step.compatible_from))
    connection.execute(f"pragma user_version = {step.version}")


def statements(sql: str) -> Iterator[str]:
    """Split SQL into its statements. `executescript` is no alternative: it commits first and so releases the lock."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("pragma user_version").fetchone()
    return int(version)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("select 1 from sqlite_master").fetchone() is None


def _copy(source: Path, version: int) -> str:
    """Copy the file beside itself under a free name and sync it to the disk. The caller holds the write lock.

    If an existing copy has the same content, it is enough: a start that was killed after it made it. Other copies stay.
    """
    name = f"{source.name}.backup-v{version}"
    part = source.with_name(f"{name}.part")
    try:
        part.unlink(missing_ok=True)  # a start that was killed may have left it
        # Read with another connection: SQLite cannot copy from one in a write transaction.
        with _reading(source) as reader:
            for number in range(1, COPIES_LIMIT + 1):
                copy = source.with_name(name if number == 1 else f"{name}-{number}")
                if not copy.exists():
                    _write_copy(source, reader, part, copy)
                    return f"copied {source.name}, schema {version}, to {copy.name}"
                with _reading(copy, "&immutable=1") as before:
                    if _are_same(reader, before):
                        _sync_folder(copy.parent)  # the start that was killed may not have synced it
                        return f"{source.name}, schema {version}, is in {copy.name} already"
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise sqlite3.OperationalError(f"{name}, the copy to make before it is migrated, failed: {error}") from error
    raise sqlite3.OperationalError(f"there are {COPIES_LIMIT} copies {name}* beside it: move those away")


def _write_copy(source: Path, reader: sqlite3.Connection, part: Path, copy: Path) -> None:
    part.touch(0o600, exist_ok=False)
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as target:
        # Only the final rename makes it a copy, so it needs no journal and one sync at the end.
        target.execute("pragma journal_mode = off")
        target.execute("pragma synchronous = off")
        reader.backup(target)
    shutil.copymode(source, part)
    with part.open("r+b") as written:
        os.fsync(written.fileno())
    part.rename(copy)
    _sync_folder(copy.parent)


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and has no such sync
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextlib.contextmanager
def _reading(path: Path, options: str = "") -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro{options}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def _are_same(one: sqlite3.Connection, other: sqlite3.Connection) -> bool:
    """Whether two databases have the same tables and rows. Compares one statement at a time, to save memory."""
    return all(left == right for left, right in zip_longest(one.iterdump(), other.iterdump()))
