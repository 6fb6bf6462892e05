"""Every kind of store that a session may be kept in: a new one is one more row here."""

import contextlib
import json
import os
import shutil
import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from server.store.library import FullStore
from server.store.postgres.store import PostgresStore
from server.store.redis.store import RedisStore
from server.store.sqlite.store import SqliteStore
from server.store.supabase.store import SupabaseStore
from tests.services.gateway import Fault
from tests.services.postgres import PostgresServer, running_server
from tests.services.redis import RedisServer, empty_server
from tests.services.supabase import SECRET_KEY, SupabaseServer, empty_project
from tests.support.databases import contents
from tests.support.kept import Kept
from tests.support.stored import SESSION, edit

#: How a key of each type is read whole.
READ: Final[dict[str, Callable[[str], tuple[str | int, ...]]]] = {
    "string": lambda key: ("GET", key),
    "hash": lambda key: ("HGETALL", key),
    "list": lambda key: ("LRANGE", key, 0, -1),
    "set": lambda key: ("SMEMBERS", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
}


class KeptInSqlite(Kept):
    def __init__(self, folder: Path) -> None:
        self._path = folder / "kept.db"
        self.environ = {"STORE_URL": f"sqlite:///{self._path}"}
        (folder / "empty.db").touch()
        self.empty = {"STORE_URL": f"sqlite:///{folder / 'empty.db'}"}

    def store(self) -> FullStore:
        return SqliteStore(str(self._path))

    def contents(self) -> object:
        return self._path.read_bytes()

    def spoil(self, seq: int, payload: str) -> None:
        edit(self._path, f"update events set payload = '{payload}' where seq = {seq}")

    def remove(self, seq: int) -> None:
        edit(self._path, f"delete from events where seq = {seq}")

    def alter(self, column: str, value: str | int) -> None:
        edit(self._path, f"update sessions set {column} = '{value}'")

    def orphan(self) -> None:
        edit(self._path, "delete from sessions")

    def renew_schema(self) -> None:
        edit(self._path, "pragma user_version = 99")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        elsewhere = self._path.with_name("elsewhere.db")
        shutil.move(self._path, elsewhere)
        try:
            yield
        finally:
            shutil.move(elsewhere, self._path)


class KeptInTables(Kept):
    """In PostgreSQL, however it is reached."""

    is_renewed = False

    @abstractmethod
    def sql(self, text: str) -> str:
        """Run it as the owner of the tables."""

    def spoil(self, seq: int, payload: str) -> None:
        self.sql(f"update rejoinder_events set payload = '{payload}' where seq = {seq}")

    def remove(self, seq: int) -> None:
        self.sql(f"delete from rejoinder_events where seq = {seq}")

    def alter(self, column: str, value: str | int) -> None:
        self.sql(f"update rejoinder_sessions set {column} = '{value}'")

    def orphan(self) -> None:
        self.sql("delete from rejoinder_sessions")

    def renew_schema(self) -> None:
        self.is_renewed = True
        self.sql(
            "create or replace function rejoinder_schema_v1() returns json language sql stable as"
            " $$ select json_build_object('version', 99, 'compatible_from', 99) $$"
        )


class KeptInPostgres(KeptInTables):
    is_one_transaction = True

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self.server = server
        self._dsn = dsn
        self.name = dsn.rpartition("/")[2]
        self.environ = {"DATABASE_URL": dsn}
        self.strange = {"DATABASE_URL": dsn.replace("//postgres@", "//stranger:secret@")}
        self.empty = {"DATABASE_URL": server.dsn("postgres")}

    def store(self) -> FullStore:
        return PostgresStore(self._dsn)

    def contents(self) -> object:
        return contents(self.name, self.server)

    def sql(self, text: str) -> str:
        return self.server.sql(self.name, text)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)


class KeptInSupabase(KeptInTables):
    def __init__(self, project: SupabaseServer) -> None:
        self.project = project
        self.environ = {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_KEY": SECRET_KEY}
        self.strange = {**self.environ, "SUPABASE_SERVICE_KEY": "sb_secret_stranger"}

    def store(self) -> FullStore:
        return SupabaseStore(self.project.url, SECRET_KEY)

    def contents(self) -> object:
        return contents(self.project.database, self.project.postgres)

    def sql(self, text: str) -> str:
        return self.project.sql(text)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self.project.gateway.stop()
        try:
            yield
        finally:
            self.project.start()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        self.project.gateway.fail(Fault.STALLED)
        try:
            yield
        finally:
            self.project.gateway.heal()


class KeptInRedis(Kept):
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.environ = {"STORE_URL": server.url}
        self.strange = {"STORE_URL": server.url.replace("//", "//stranger:secret@")}
        self.empty = {"STORE_URL": server.url.removesuffix("0") + "1"}
        self.log: Final = f"rejoinder:2:log:u:{SESSION}"
        self.session: Final = f"rejoinder:2:session:u:{SESSION}"

    def store(self) -> FullStore:
        return RedisStore(self.server.url)

    def contents(self) -> object:
        keys = sorted(self.server.command("KEYS", "*"))
        return {key: self.server.command(*READ[self.server.command("TYPE", key)](key)) for key in keys}

    def spoil(self, seq: int, payload: str) -> None:
        fields = json.loads(self.server.command("LINDEX", self.log, seq - 1))
        self.server.command("LSET", self.log, seq - 1, json.dumps(fields[:-1])[:-1] + f",{payload}]")

    def remove(self, seq: int) -> None:
        self.server.command("LSET", self.log, seq - 1, "gone")
        self.server.command("LREM", self.log, 1, "gone")

    def alter(self, column: str, value: str | int) -> None:
        self.server.command("HSET", self.session, column, value)

    def orphan(self) -> None:
        self.server.command("DEL", self.session)

    def renew_schema(self) -> None:
        self.server.command("SET", "rejoinder:schema", 99)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    def stalled(self) -> AbstractContextManager[None]:
        return self.server.paused()


@contextlib.contextmanager
def _sqlite(folder: Path) -> Iterator[Kept]:
    yield KeptInSqlite(folder)


@contextlib.contextmanager
def _postgres(_: Path) -> Iterator[Kept]:
    server = running_server()
    with server.database() as dsn:
        yield KeptInPostgres(server, dsn)


@contextlib.contextmanager
def _supabase(_: Path) -> Iterator[Kept]:
    kept = KeptInSupabase(empty_project())
    try:
        yield kept
    finally:
        if kept.is_renewed:
            kept.project.migrate()


@contextlib.contextmanager
def _redis(_: Path) -> Iterator[Kept]:
    yield KeptInRedis(empty_server("durable"))


#: Makes a store over empty storage, and cleans up afterwards. The folder is the test's own.
KEPT: Final[dict[str, Callable[[Path], AbstractContextManager[Kept]]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "supabase": _supabase,
    "redis": _redis,
}
