"""What a Supabase project is to a client of its Data API: PostgreSQL with its roles, PostgREST, a gateway, four keys.

Each part can be killed and started again. Where a real PostgREST cannot be had, a stand-in takes its place, and the
summary of the tests says so.
"""

import atexit
import contextlib
import functools
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jwt

from tests.services.gateway import Gateway
from tests.services.postgres import MIGRATIONS, PostgresServer, postgres_server
from tests.services.postgrest import PostgREST, RestServer, executable
from tests.services.postgrest_standin import PostgrestStandIn

DATABASE: Final = "supabase"
SECRET: Final = "a secret of the tests, long enough for HMAC-SHA256"
PUBLISHABLE_KEY: Final = "sb_publishable_ofthetests"
SECRET_KEY: Final = "sb_secret_ofthetests"
TOKEN_S: Final = 3600
#: What stood behind the gateways of this process that did not ask for the stand-in: for the summary of a test run.
TESTED_WITH: Final[set[str]] = set()
BOOTSTRAP: Final = Path(__file__).with_name("supabase.sql")
#: Since 2026-10-30 nothing in `public` is exposed unless it is granted; in a project from before, everything was.
EXPOSE_ALL: Final = """
    alter default privileges for role project_owner in schema public
        grant all on tables to anon, authenticated, service_role;
    alter default privileges for role project_owner in schema public
        grant all on functions to anon, authenticated, service_role;
"""


def token(role: str, **claims: object) -> str:
    """A signed token of a database role: the legacy `anon` and `service_role` keys are such, and users' tokens are."""
    return jwt.encode({"role": role, "exp": int(time.time()) + TOKEN_S, **claims}, SECRET, algorithm="HS256")


def user_token(user_id: str, **claims: object) -> str:
    """The token of a signed-in user."""
    return token("authenticated", sub=user_id, aud="authenticated", **claims)


class SupabaseServer:
    """One project over one PostgreSQL server.

    `exposes_all`: as in a project from before 2026-10-30. `standin`: do without a real PostgREST, though there is one.
    """

    def __init__(
        self,
        postgres: PostgresServer,
        folder: Path,
        *,
        database: str = DATABASE,
        exposes_all: bool = False,
        standin: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.postgres = postgres
        self.database = database
        self.anon_key = token("anon")
        self.service_role_key = token("service_role")
        self._create(exposes_all=exposes_all)
        dsn = postgres.dsn(database).replace("//postgres@", "//authenticator@")
        program = "" if standin else executable()
        server = PostgrestStandIn if isinstance(program, str) else PostgREST
        self.rest: RestServer = server(folder, dsn, SECRET)
        if not standin:
            TESTED_WITH.add(f"{server.name} ({program})" if isinstance(program, str) else server.name)
        keys = {
            PUBLISHABLE_KEY: self.anon_key,
            SECRET_KEY: self.service_role_key,
            self.anon_key: self.anon_key,
            self.service_role_key: self.service_role_key,
        }
        self.gateway = Gateway(self.rest.socket, keys, tls)

    @property
    def url(self) -> str:
        return self.gateway.url

    def start(self) -> None:
        """Start what does not run, on the same data and the same port."""
        if not self.postgres.running:
            self.postgres.start()
        if not self.rest.running:
            self.rest.start()
        if not self.gateway.running:
            self.gateway.start()

    def kill(self) -> None:
        """SIGKILL to PostgreSQL and PostgREST; the gateway stays and says that there is nothing behind it."""
        self.postgres.kill()
        self.rest.kill()

    def restart(self) -> None:
        """Kill both, if they run, and start them again."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Stop the gateway and PostgREST."""
        self.gateway.stop()
        self.rest.kill()

    def migrate(self) -> None:
        """Each file as the SQL editor runs it: all of its text at once, as a role that is no superuser."""
        for path in sorted(MIGRATIONS.glob("*.sql")):
            self.sql(path.read_text(encoding="utf-8"))

    def sql(self, text: str) -> str:
        """Run statements as in the SQL editor."""
        return self.postgres.sql(self.database, text, user="project_owner")

    def wipe(self) -> None:
        """Forget every session and every lease."""
        self.sql("truncate public.rejoinder_sessions, public.rejoinder_events, public.rejoinder_leases")

    def _create(self, *, exposes_all: bool) -> None:
        self.postgres.sql("postgres", f"create database {self.database}")
        self.postgres.sql(self.database, BOOTSTRAP.read_text(encoding="utf-8"))
        if exposes_all:
            self.postgres.sql(self.database, EXPOSE_ALL)


@contextlib.contextmanager
def supabase_server(
    *, migrated: bool = True, exposes_all: bool = False, standin: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[SupabaseServer]:
    """A project of one's own, for a while."""
    folder = Path(tempfile.mkdtemp(prefix="rejoinder-supabase-"))
    with contextlib.ExitStack() as own:
        own.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = own.enter_context(postgres_server())
        server = SupabaseServer(postgres, folder, exposes_all=exposes_all, standin=standin, tls=tls)
        own.callback(server.close)
        if migrated:
            server.migrate()
        server.start()
        yield server


@functools.cache
def shared_project() -> SupabaseServer:
    """The project of this test process: started when it is first asked for, killed when the process ends."""
    own = contextlib.ExitStack()
    atexit.register(own.close)
    return own.enter_context(supabase_server())


def empty_project() -> SupabaseServer:
    """The project of this test process, running and healthy, without a session."""
    server = shared_project()
    server.start()
    server.gateway.heal()
    server.wipe()
    return server
