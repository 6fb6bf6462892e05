"""`python -m server migrate [--dry-run]`: migrates the configured store to this server's schema.

Ends with 0 when that is done or there is nothing to do, 1 when it could not be done, 2 when the settings or the command
line are wrong.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from server.errors import ConfigError, StoreUnavailable
from server.ops import logs
from server.settings import Settings
from server.store.open import POSTGRES, REDIS, SUPABASE, kind, sqlite_path
from server.store.sqlite.migrate import MIGRATIONS, plan
from server.store.sqlite.store import MEMORY, SqliteStore

log = structlog.get_logger()

NO_DATABASE_URL: Final = (
    "DATABASE_URL=: expected the address of the Supabase project's database (session pooler, port 5432): its Data API"
    " cannot change a schema. Or paste the files of server/store/postgres/migrations in the SQL editor, in the order"
    " of their names; see docs/supabase.md"
)


async def at_start(settings: Settings) -> None:
    """With MIGRATE_ON_START, migrate before the store is opened. SQLite does that by itself.

    Raises StoreUnavailable with a sentence for a person, or ConfigError.
    """
    if settings.migrate_on_start and kind(settings) in (*POSTGRES, SUPABASE):
        for line in await _postgres(settings, dry_run=False):
            log.info("migrated", step=line)


def main(arguments: Sequence[str]) -> int:
    """Migrate with the environment's settings, and say what was done; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m server migrate", description="Bring the store to our schema.")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to do, and do nothing")
    dry_run: bool = parser.parse_args(arguments).dry_run
    logs.configure("error", "console")  # what is done is said below
    try:
        for line in asyncio.run(migrate(Settings.from_env(os.environ), dry_run=dry_run)):
            print(line)  # noqa: T201
    except ConfigError as error:
        print("Cannot migrate:", *error.complaints, sep="\n  ", file=sys.stderr)  # noqa: T201
        return 2
    except StoreUnavailable as error:
        print(f"Cannot migrate: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def migrate(settings: Settings, *, dry_run: bool) -> list[str]:
    """Bring the store of the settings to this server's schema; a line for each thing done, or to do.

    Raises StoreUnavailable or ConfigError.
    """
    match kind(settings):
        case scheme if scheme in REDIS:
            return ["nothing to do: a server moves the keys of a Redis itself, when it starts"]
        case scheme if scheme in (*POSTGRES, SUPABASE):
            return await _postgres(settings, dry_run=dry_run)
        case _:
            return await _sqlite(settings, sqlite_path(settings.store_url), dry_run=dry_run)


async def _postgres(settings: Settings, *, dry_run: bool) -> list[str]:
    # Imported only where it is used: a server on SQLite does not need the driver.
    from server.store.postgres.migrate import migrate

    address = settings.store_url if kind(settings) != SUPABASE else settings.database_url
    if not address:
        raise ConfigError([NO_DATABASE_URL])
    return await migrate(address, dry_run=dry_run)


async def _sqlite(settings: Settings, path: str, *, dry_run: bool) -> list[str]:
    if path == MEMORY:
        return ["nothing to do: conversations are in the server's memory"]
    if dry_run:
        try:
            done = plan(Path(path), MIGRATIONS)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
    else:
        store = SqliteStore(path, synchronous=settings.sqlite_synchronous, busy_ms=settings.store_timeout_ms)
        try:
            await store.open()
        finally:
            await store.close()
        done = store.migrated
    return done or [f"nothing to do, the schema is {MIGRATIONS[-1].version}"]
