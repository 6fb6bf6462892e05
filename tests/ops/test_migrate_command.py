"""`python -m server migrate` and MIGRATE_ON_START, over every kind of store."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from server.errors import ConfigError
from server.ops.migrate import at_start
from server.settings import Settings
from server.store.postgres.migrate import migrate, shipped
from server.store.postgres.store import PostgresStore
from server.store.sqlite.migrate import MIGRATIONS
from tests.support.databases import OWN, TAKEN, contents, dsn, empty_database
from tests.support.process import ROOT, ServerProcess
from tests.support.writes import open_session

KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
SUPABASE = {"SUPABASE_URL": "https://project.example", "SUPABASE_SERVICE_KEY": "hunter2"}


class Seen(NamedTuple):
    status: int
    out: list[str]
    err: str


def command(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name in KEPT}
    return subprocess.Popen(
        [sys.executable, "-m", "server", "migrate", *arguments],
        env={**inherited, **environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Seen:
    """What it said, without the times that things took."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert "hunter2" not in out + err
    return Seen(process.returncode, [re.sub(r" in \d+ ms$", "", line) for line in out.splitlines()], err)


def run(environ: dict[str, str], *arguments: str) -> Seen:
    return ended(command(environ, *arguments))


@pytest.fixture
def empty() -> Iterator[str]:
    with empty_database() as name:
        yield name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# ---------------------------------------------------------------- SQLite


def test_a_file_is_made_and_then_there_is_nothing_to_do(file: Path) -> None:
    environ = {"STORE_URL": f"sqlite:///{file}"}
    assert run(environ, "--dry-run") == (0, [f"would make {file}"], "")
    assert not file.exists()
    assert run(environ) == (0, [f"applied {one.version}_{one.name}" for one in MIGRATIONS], "")
    nothing = [f"nothing to do, the schema is {MIGRATIONS[-1].version}"]
    before = file.read_bytes()
    assert run(environ) == (0, nothing, "")
    assert run(environ, "--dry-run") == (0, nothing, "")
    assert file.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_file_that_is_none_of_ours_is_left_alone(file: Path, arguments: tuple[str, ...]) -> None:
    file.write_text("a letter to my aunt " * 100)
    seen = run({"STORE_URL": f"sqlite:///{file}"}, *arguments)
    assert (seen.status, seen.out) == (1, [])
    assert seen.err == f"Cannot migrate: cannot open {file}: file is not a database\n"
    assert file.read_text() == "a letter to my aunt " * 100


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("sqlite://", "nothing to do: conversations are in the server's memory"),
        ("redis://:hunter2@127.0.0.1:1/0", "nothing to do: a server moves the keys of a Redis itself, when it starts"),
    ],
)
def test_where_there_is_nothing_to_migrate_it_says_so(url: str, line: str) -> None:
    assert run({"STORE_URL": url}) == (0, [line], "")


# ---------------------------------------------------------------- PostgreSQL


@pytest.mark.parametrize("variable", ["DATABASE_URL", "STORE_URL"])
def test_a_database_is_migrated_once(empty: str, variable: str) -> None:
    environ = {variable: dsn(empty)}
    before = contents(empty)
    assert run(environ, "--dry-run") == (0, [f"would apply {one}" for one in shipped()], "")
    assert contents(empty) == before
    assert run(environ) == (0, [f"applied {one}" for one in shipped()], "")
    assert run(environ) == (0, [f"nothing to do, the schema is {OWN}"], "")


def test_supabase_is_migrated_through_its_database(empty: str) -> None:
    seen = run({**SUPABASE, "DATABASE_URL": dsn(empty)})
    assert seen == (0, [f"applied {one}" for one in shipped()], "")


def test_supabase_without_its_database_says_what_is_missing() -> None:
    seen = run(SUPABASE)
    assert (seen.status, seen.out) == (2, [])
    assert "DATABASE_URL=: expected" in seen.err
    assert "Data API cannot change a schema" in seen.err
    assert "docs/supabase.md" in seen.err


def test_three_commands_at_once_migrate_once(empty: str) -> None:
    seen = [ended(process) for process in [command({"DATABASE_URL": dsn(empty)}) for _ in range(3)]]
    assert [one.status for one in seen] == [0, 0, 0]
    nothing = [f"nothing to do, the schema is {OWN}"]
    assert sorted(one.out for one in seen) == [[f"applied {one}" for one in shipped()], nothing, nothing]


def test_a_failure_is_one_sentence_and_a_status() -> None:
    seen = run({"DATABASE_URL": "postgresql://ann:hunter2@127.0.0.1:1/x"})
    assert (seen.status, seen.out) == (1, [])
    assert seen.err.startswith("Cannot migrate: cannot connect to the database at 127.0.0.1:1: ")


def test_wrong_settings_are_all_named() -> None:
    seen = run({"DATABASE_URL": "mysql://hunter2", "PORT": "x"})
    assert (seen.status, seen.out) == (2, [])
    assert "DATABASE_URL=***" in seen.err
    assert "PORT=x" in seen.err


def test_a_wrong_command_line_has_the_status_of_wrong_settings() -> None:
    assert run({}, "--now").status == 2


# ---------------------------------------------------------------- at the start


async def test_processes_that_start_at_once_migrate_once(empty: str) -> None:
    settings = Settings(store_url=dsn(empty), migrate_on_start=True)

    async def start() -> None:
        await at_start(settings)
        store = PostgresStore(settings.store_url)
        await store.open()
        await open_session(store)
        await store.close()

    await asyncio.gather(*(start() for _ in range(4)))


@pytest.mark.parametrize("settings", [{}, {"migrate_on_start": False}])
async def test_a_start_migrates_only_when_it_is_told_to(empty: str, settings: dict[str, bool]) -> None:
    before = contents(empty)
    await at_start(Settings(store_url=dsn(empty), **settings))  # type: ignore[arg-type]
    assert contents(empty) == before


def test_a_start_on_a_file_leaves_it_to_the_store(file: Path) -> None:
    asyncio.run(at_start(Settings(store_url=f"sqlite:///{file}", migrate_on_start=True)))
    assert not file.exists()


async def test_a_start_on_supabase_needs_the_database(empty: str) -> None:
    settings = Settings(store_url="supabase", migrate_on_start=True)
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        await at_start(settings)
    await at_start(Settings(store_url="supabase", database_url=dsn(empty), migrate_on_start=True))
    assert contents(empty)


async def test_a_server_migrates_at_its_start_and_refuses_a_schema_that_is_too_new(empty: str, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {"STORE_URL": dsn(empty), "MIGRATE_ON_START": "true"})
    try:
        await server.start()
        assert await server.stop() == 0
    finally:
        await server.close()
    assert f"applied {shipped()[-1]}" in server.log()
    before = contents(empty)
    await migrate(dsn(empty), migrations=TAKEN, own=OWN + 2)
    assert contents(empty) != before
    with pytest.raises(AssertionError, match=f"its schema {OWN + 2} is newer than this server's {OWN}"):
        await server.start()
    assert "Traceback" not in server.log()
