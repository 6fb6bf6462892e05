"""A start with a wrong key, without the schema or at the wrong address fails, and says what to mend."""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.errors import ConfigError, StoreUnavailable
from server.store.supabase.store import SupabaseStore
from tests.conformance.supabase_store import PATIENCE_S, opened
from tests.services.supabase import (
    PUBLISHABLE_KEY,
    SECRET_KEY,
    SupabaseServer,
    empty_project,
    supabase_server,
    token,
    user_token,
)
from tests.support.process import ROOT, ServerProcess, free_port
from tests.support.writes import open_session

FOREIGN_TOKEN: Final = jwt.encode({"role": "service_role"}, "the secret of another project altogether", "HS256")


@pytest.fixture
def project() -> SupabaseServer:
    return empty_project()


@pytest.fixture(scope="module")
def new_project() -> Iterator[SupabaseServer]:
    """Nobody has run the migrations there."""
    with supabase_server(migrated=False) as server:
        yield server


# ---------------------------------------------------------------- keys

FOR_BROWSERS: Final = {
    "publishable": PUBLISHABLE_KEY,
    "anon": token("anon"),
    "authenticated": user_token("ann"),
}


@pytest.mark.parametrize("role", FOR_BROWSERS)
def test_a_key_for_browsers_is_refused_before_anything_is_asked(project: SupabaseServer, role: str) -> None:
    project.gateway.calls.clear()
    with pytest.raises(ConfigError, match=rf"SUPABASE_SERVICE_KEY=\*\*\*: this is the {role} key") as raised:
        SupabaseStore(project.url, FOR_BROWSERS[role])
    assert FOR_BROWSERS[role] not in str(raised.value)
    assert project.gateway.calls.total() == 0


@pytest.mark.parametrize(
    "key", ["sb_secret_x", "eyJ", "eyJ.eyJ.x", "a.b.c", "..", "eyJ.WzFd.x", "é.é.é", FOREIGN_TOKEN]
)
def test_whatever_else_is_for_supabase_to_judge(key: str) -> None:
    SupabaseStore("http://localhost:1", key)


#: key → what the gateway or PostgREST says
NOT_TAKEN: Final = {
    "unknown secret key": ("sb_secret_of_another_project", "401"),
    "key of another project": (FOREIGN_TOKEN, "401"),
    "no key at all": ("hunter2", "401"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
async def test_a_wrong_key_is_said_to_be_wrong(project: SupabaseServer, name: str) -> None:
    key, code = NOT_TAKEN[name]
    reason = rf"Supabase answered {code}: it does not take SUPABASE_SERVICE_KEY: .*; see docs/supabase\.md"
    with pytest.raises(StoreUnavailable, match=reason) as raised:
        await SupabaseStore(project.url, key).open()
    assert key not in str(raised.value)


#: What a gateway lets through, and PostgREST refuses: expired, of no role, of a role without rights.
TOKENS: Final = {
    "expired": (token("service_role", exp=1), "PGRST30[13]: it does not take SUPABASE_SERVICE_KEY"),
    "signed by somebody else": (FOREIGN_TOKEN, "PGRST301: it does not take SUPABASE_SERVICE_KEY"),
    "without rights": (token("project_auditor"), "42501: SUPABASE_SERVICE_KEY may not call our functions"),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_key_that_postgrest_refuses_is_said_to_be_wrong(project: SupabaseServer, name: str) -> None:
    key, reason = TOKENS[name]
    project.gateway.keys[key] = key
    if name == "without rights":
        project.postgres.sql("postgres", "create role project_auditor; grant project_auditor to authenticator")
    try:
        with pytest.raises(StoreUnavailable, match=f"Supabase answered {reason}"):
            await SupabaseStore(project.url, key).open()
    finally:
        del project.gateway.keys[key]
        if name == "without rights":
            project.postgres.sql("postgres", "drop role project_auditor")


# ---------------------------------------------------------------- addresses, schema


async def test_without_the_migrations_it_says_to_run_them(new_project: SupabaseServer) -> None:
    reason = (
        r"Supabase answered PGRST202: our tables and functions are not there: run the migrations; see docs/supabase"
    )
    with pytest.raises(StoreUnavailable, match=reason):
        await SupabaseStore(new_project.url, SECRET_KEY).open()


async def test_a_migration_is_seen_without_a_restart(new_project: SupabaseServer) -> None:
    """Its last statement tells PostgREST to read the schema again."""
    new_project.migrate()
    async with asyncio.timeout(PATIENCE_S):
        while not await _opens(new_project):
            pass


async def _opens(project: SupabaseServer) -> bool:
    with contextlib.suppress(StoreUnavailable):
        async with opened(project) as store:
            await open_session(store)
            return True
    return False


async def test_an_address_with_nothing_behind_it_is_said_to_be_wrong(project: SupabaseServer) -> None:
    with pytest.raises(StoreUnavailable, match="Supabase cannot be reached: Cannot connect"):
        await SupabaseStore(f"http://127.0.0.1:{free_port()}", SECRET_KEY).open()
    with pytest.raises(StoreUnavailable, match="Supabase answered 404: there is no Data API: SUPABASE_URL is"):
        await SupabaseStore(f"{project.url}/rest/v1", SECRET_KEY).open()


# ---------------------------------------------------------------- TLS


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself, and a server's side that would rather speak HTTP/2."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate = folder / "certificate.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "key.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return certificate, context


async def test_over_tls_no_http_2_is_agreed_on_and_the_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = _certificate(tmp_path)
    with supabase_server(tls=context) as project:
        with pytest.raises(StoreUnavailable, match=r"Supabase cannot be reached: .*[Cc]ertificate"):
            await SupabaseStore(project.url, SECRET_KEY).open()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with opened(project) as store:
            await open_session(store)
        assert project.gateway.versions == {(1, 1)}
        assert project.gateway.protocols <= {None, "http/1.1"}


# ---------------------------------------------------------------- the server


def _start(**environ: str) -> tuple[int, str]:
    """The exit status of a server that cannot start, and what it said."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "server"]
    ended = subprocess.run(
        command,
        env={**known, "PORT": "0", **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


async def test_the_server_starts_on_supabase(project: SupabaseServer, tmp_path: Path) -> None:
    environ = {"STORE_URL": "", "SUPABASE_URL": project.url, "SUPABASE_SERVICE_KEY": SECRET_KEY}
    server = ServerProcess(tmp_path, environ)
    await server.start()
    assert await server.stop() == 0
    assert "PostgreSQL at Supabase" in server.log()
    assert SECRET_KEY not in server.log()


def test_the_server_says_what_is_wrong_and_ends(project: SupabaseServer) -> None:
    wrong = {
        "this is the anon key": project.anon_key,
        "this is the publishable key": PUBLISHABLE_KEY,
        "it does not take SUPABASE_SERVICE_KEY": "sb_secret_of_another_project",
    }
    for reason, key in wrong.items():
        status, said = _start(SUPABASE_URL=project.url, SUPABASE_SERVICE_KEY=key)
        assert status in (1, 2)
        assert reason in said
        assert key not in said
        assert "Traceback" not in said
