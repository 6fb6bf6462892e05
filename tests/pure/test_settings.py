"""The environment in, settings or every complaint out."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.settings import ROWS, Settings, example

ROOT = Path(__file__).parents[2]


def complaints(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Settings.from_env(environ)
    return raised.value.complaints


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_default_is_a_value_that_its_own_row_accepts() -> None:
    shown = dict(line.split("=", 1) for line in Settings().describe())
    assert shown.keys() == ROWS.keys()
    assert Settings.from_env(shown) == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_an_empty_or_blank_value_is_none() -> None:
    assert Settings.from_env({"PORT": "", "STORE_URL": "  ", "LOG_LEVEL": ""}) == Settings()


def test_blanks_around_a_value_are_dropped() -> None:
    assert Settings.from_env({"PORT": " 81 "}).port == 81


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("CHAT_CONTEXT_LIMIT", "7", 7),
        ("CHAT_CONTEXT_LIMIT", "0", 1),
        ("CHAT_CONTEXT_LIMIT", "-3", 1),
        ("CHAT_CONTEXT_LIMIT", "201", 200),
        ("WS_COMPRESSION", "True", True),
        ("WS_COMPRESSION", "1", True),
        ("WS_COMPRESSION", "off", False),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("SQLITE_SYNCHRONOUS", "extra", "EXTRA"),
        ("PUBLIC_URL", "https://chat.example.com/", "https://chat.example.com"),
        ("PUBLIC_URL", "http://localhost:8080/chat/", "http://localhost:8080/chat"),
        ("ALLOWED_ORIGINS", "*", ("*",)),
        (
            "ALLOWED_ORIGINS",
            "https://A.example , http://b.example:3000/",
            ("https://a.example", "http://b.example:3000"),
        ),
        ("STORE_URL", "sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("REDIS_URL", "rediss://:pw@cache:6379/0", "rediss://:pw@cache:6379/0"),
        ("CHAT_SYSTEM_PROMPT", "Be kind.\nBe brief.", "Be kind.\nBe brief."),
        ("ASSISTANT_PRICES", "my-model=0.25/2", "my-model=0.25/2"),
        ("CLASSIFIER_CONTEXT_LIMIT", "900", 200),
    ],
)
def test_a_fit_value_is_read(variable: str, text: str, value: object) -> None:
    assert getattr(Settings.from_env({variable: text}), variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "eighty"),
        ("PORT", "8_000"),
        ("PORT", "٨٠"),
        ("PORT", "9" * 5000),
        ("CHAT_CONTEXT_LIMIT", "many"),
        ("WS_COMPRESSION", "maybe"),
        ("LOG_LEVEL", "loud"),
        ("LOG_LEVEL", "debug|info"),
        ("HOST", "a b"),
        ("PUBLIC_URL", "chat.example.com"),
        ("PUBLIC_URL", "ftp://chat.example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://chat.example.com?x=1"),
        ("PUBLIC_URL", "https://chat.example.com:99999"),
        ("PUBLIC_URL", "https://chat.example.com:0"),
        ("PUBLIC_URL", "http://[::1"),
        ("ALLOWED_ORIGINS", "https://a.example/page"),
        ("ALLOWED_ORIGINS", "https://*.example"),
        ("ALLOWED_ORIGINS", "https://a.example,"),
        ("STORE_URL", "var/rejoinder.db"),
        ("DATABASE_URL", "mysql://db"),
        ("REDIS_URL", "cache:6379"),
        ("SUPABASE_SERVICE_KEY", "two words"),
        ("ASSISTANT", "gpt-5-mini"),
        ("ASSISTANT", "openai:"),
        ("ASSISTANT", "mistral:large"),
        ("ASSISTANT_PRICES", "gpt-5-mini=cheap"),
    ],
)
def test_a_bad_value_is_named_with_what_is_expected(variable: str, text: str) -> None:
    (complaint,) = complaints(**{variable: text})
    assert complaint.startswith(f"{variable}=")
    assert complaint.endswith(f"expected {ROWS[variable].expected}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "1", "yes", "on", "True", "YES")),
        *((text, False) for text in ("false", "0", "no", "off", "FALSE", "Off")),
    ],
)
def test_a_flag_is_said_in_one_of_a_few_words(text: str, value: bool) -> None:
    assert Settings.from_env({"WS_COMPRESSION": text}).ws_compression is value


@pytest.mark.parametrize("text", ["2", "y", "t", "truest", "nope", "on off"])
def test_a_flag_is_said_in_no_other_word(text: str) -> None:
    (complaint,) = complaints(WS_COMPRESSION=text)
    assert complaint == f"WS_COMPRESSION={text}: expected true or false"


def test_every_complaint_comes_at_once() -> None:
    found = complaints(PORT="x", LOG_LEVEL="loud", INBOX_LIMT="4", HEARTBEAT_MS="50000")
    assert [complaint.split("=")[0] for complaint in found] == ["INBOX_LIMT", "PORT", "LOG_LEVEL", "HEARTBEAT_MS"]


@pytest.mark.parametrize("name", ["CHAT_CONTXT_LIMIT", "CHAT_CONTEXT_LIMITS", "LINE_BRUST", "log_level", "STOREURL"])
def test_a_misspelt_name_stops_the_start(name: str) -> None:
    (complaint,) = complaints(**{name: "7"})
    assert complaint.startswith(f"{name}=7: unknown; expected ")


@pytest.mark.parametrize(
    "name",
    ["PATH", "SESSION_MANAGER", "PORTS", "HOSTS", "HOSTNAME", "DATABASE_PUBLIC_URL", "REDISHOST", "SUPABASE_DB_URL"],
)
def test_a_name_of_somebody_else_does_not(name: str) -> None:
    assert Settings.from_env({name: "x"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SUPABASE_SERVICE_KEY", "hunter2 hunter2"),
        ("SUPABASE_SERVICE_KYE", "hunter2"),
        ("DATABASE_URL", "mysql://me:hunter2@db/x"),
        ("REDIS_URL", "hunter2"),
        ("PUBLIC_URL", "https://me:hunter2@host"),
        ("PUBLIC_URL", "me:hunter2@host"),
        ("STORE_URL", "me:hunter2@ host"),
        ("PUBLIC_URL", "https://host?key=hunter2"),
    ],
)
def test_a_complaint_shows_no_secret(variable: str, text: str) -> None:
    (complaint,) = complaints(**{variable: text})
    assert "***" in complaint
    assert "hunter2" not in complaint


def test_a_description_shows_no_secret_and_says_which_are_set() -> None:
    environ = {
        "SUPABASE_URL": "https://project.example",
        "SUPABASE_SERVICE_KEY": "hunter2",
        "DATABASE_URL": "postgresql://me:hunter2@db/x",
        "STORE_URL": "postgresql://me:hunter2@db/x?sslpassword=hunter2",
    }
    settings = Settings.from_env(environ)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in "".join(settings.describe())
    assert {"STORE_URL=postgresql://***@db/x?***", "SUPABASE_SERVICE_KEY=***", "REDIS_URL="} <= {*settings.describe()}


@pytest.mark.parametrize(
    ("environ", "mended"),
    [
        ({"SEND_QUEUE_SOFT_BYTES": "1048576"}, {"SEND_QUEUE_SOFT_BYTES": "1048575"}),
        ({"FRAME_MAX_BYTES": "4194305"}, {"FRAME_MAX_BYTES": "4194304"}),
        ({"HEARTBEAT_MS": "35000"}, {"HEARTBEAT_MS": "34999"}),
    ],
)
def test_values_that_do_not_go_together_are_refused(environ: dict[str, str], mended: dict[str, str]) -> None:
    (complaint,) = complaints(**environ)
    assert complaint.startswith("=".join(*environ.items()) + ": expected ")
    assert Settings.from_env(mended)


def test_a_value_is_not_compared_with_one_that_was_refused() -> None:
    (complaint,) = complaints(SEND_QUEUE_SOFT_BYTES="2000000", SEND_QUEUE_HARD_BYTES="x")
    assert complaint.startswith("SEND_QUEUE_HARD_BYTES=x")


SUPABASE = {"SUPABASE_URL": "https://project.example", "SUPABASE_SERVICE_KEY": "key"}
POSTGRES = {"DATABASE_URL": "postgresql://db/x"}


@pytest.mark.parametrize(
    ("environ", "store_url"),
    [
        ({**SUPABASE, **POSTGRES, "STORE_URL": "sqlite:///a.db"}, "sqlite:///a.db"),
        ({**SUPABASE, **POSTGRES}, "supabase"),
        ({**SUPABASE, **POSTGRES, "STORE_URL": "supabase"}, "supabase"),
        (POSTGRES, "postgresql://db/x"),
        ({}, "sqlite:///var/rejoinder.db"),
        ({"SUPABASE_URL": "https://project.example", "STORE_URL": "sqlite:///a.db"}, "sqlite:///a.db"),
    ],
)
def test_the_store_is_chosen_in_order(environ: dict[str, str], store_url: str) -> None:
    assert Settings.from_env(environ).store_url == store_url


@pytest.mark.parametrize(("given", "missing"), [SUPABASE, tuple(reversed(SUPABASE))])
def test_half_of_supabase_does_not_quietly_become_a_file(given: str, missing: str) -> None:
    (complaint,) = complaints(**{given: SUPABASE[given]})
    assert complaint.startswith(f"{missing}=: expected a value")


def test_a_store_at_supabase_needs_its_address_and_its_key() -> None:
    found = complaints(STORE_URL="supabase")
    assert found == [
        "SUPABASE_URL=: expected a value, as STORE_URL is supabase",
        "SUPABASE_SERVICE_KEY=: expected a value, as STORE_URL is supabase",
    ]
    (complaint,) = complaints(STORE_URL="supabase", SUPABASE_URL="nowhere", SUPABASE_SERVICE_KEY="key")
    assert complaint.startswith("SUPABASE_URL=nowhere")


@pytest.mark.parametrize("names", [*itertools.permutations(["SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"])])
def test_the_secret_key_is_known_by_its_other_names(names: tuple[str, str]) -> None:
    url = {"SUPABASE_URL": "https://project.example"}
    assert Settings.from_env({**url, names[0]: "one"}).supabase_service_key == "one"
    both = {"SUPABASE_SERVICE_ROLE_KEY": "role", "SUPABASE_SECRET_KEY": "secret"}
    assert Settings.from_env({**url, **both}).supabase_service_key == "secret"
    assert Settings.from_env({**url, **both, "SUPABASE_SERVICE_KEY": "service"}).supabase_service_key == "service"
    assert Settings.from_env({**url, "SUPABASE_SERVICE_KEY": "", names[0]: "one"}).store_url == "supabase"
    (complaint,) = complaints(**url, **{names[0]: "two words"})
    assert complaint == f"{names[0]}=***: expected a key without blanks"


@pytest.mark.parametrize("name", ["SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEY"])
def test_the_key_for_browsers_is_not_the_secret_key(name: str) -> None:
    (complaint,) = complaints(**SUPABASE, **{name: "key"})
    assert complaint.startswith("SUPABASE_SERVICE_KEY=***: expected the secret key; this one is SUPABASE_ANON_KEY, too")
    assert Settings.from_env({**SUPABASE, name: "another"}).supabase_anon_key == "another"
    assert Settings.from_env({name: "another"}).store_url == Settings().store_url


def test_a_refused_half_of_supabase_is_one_complaint() -> None:
    (complaint,) = complaints(SUPABASE_URL="nowhere", SUPABASE_SERVICE_KEY="key")
    assert complaint.startswith("SUPABASE_URL=nowhere")


@pytest.mark.parametrize("store", [SUPABASE, {**SUPABASE, "STORE_URL": "supabase"}])
def test_supabase_alone_cannot_be_migrated(store: dict[str, str]) -> None:
    (complaint,) = complaints(**store, MIGRATE_ON_START="true")
    assert complaint.startswith("DATABASE_URL=: expected a value, as MIGRATE_ON_START is true")
    assert Settings.from_env({**store, **POSTGRES, "MIGRATE_ON_START": "true"}).migrate_on_start
    assert not Settings.from_env({**store, **POSTGRES}).migrate_on_start
    assert Settings.from_env({**POSTGRES, "MIGRATE_ON_START": "true"}).migrate_on_start


@pytest.mark.parametrize("store", [{}, {"STORE_URL": "redis://cache"}, {**SUPABASE, "STORE_URL": "sqlite:///a.db"}])
def test_a_store_that_needs_no_migration_may_be_told_to_migrate(store: dict[str, str]) -> None:
    assert Settings.from_env({**store, "MIGRATE_ON_START": "true"}).migrate_on_start


def test_a_refused_database_is_not_missed_as_well() -> None:
    (complaint,) = complaints(**SUPABASE, MIGRATE_ON_START="true", DATABASE_URL="mysql://db")
    assert complaint.startswith("DATABASE_URL=***")


@pytest.mark.parametrize(
    ("environ", "public_url"),
    [
        ({"PORT": "81"}, "http://localhost:81"),
        ({"RAILWAY_PUBLIC_DOMAIN": "x.up.railway.app"}, "https://x.up.railway.app"),
        ({"RAILWAY_PUBLIC_DOMAIN": "x.up.railway.app", "PUBLIC_URL": "https://chat.example"}, "https://chat.example"),
    ],
)
def test_the_public_url_is_found(environ: dict[str, str], public_url: str) -> None:
    assert Settings.from_env(environ).public_url == public_url


def test_without_a_word_the_rules_answer() -> None:
    assert Settings.from_env({"OPENAI_API_KEY": "key"}).spec is None


@pytest.mark.parametrize(
    ("assistant", "variable"),
    [
        ("openai:gpt-5-mini", "OPENAI_API_KEY"),
        ("openai-responses:gpt-5-mini", "OPENAI_API_KEY"),
        ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("google:gemini-2.5-flash", "GOOGLE_API_KEY"),
    ],
)
def test_a_model_wants_its_key(assistant: str, variable: str) -> None:
    (complaint,) = complaints(ASSISTANT=assistant)
    assert complaint == f"{variable}=: expected a value, as ASSISTANT is {assistant}"
    (complaint,) = complaints(ASSISTANT=assistant, **{variable: "two words"})
    assert complaint.startswith(f"{variable}=***")
    settings = Settings.from_env({"ASSISTANT": assistant, variable: "secret-key"})
    assert str(settings.spec) == assistant
    assert settings.vendor(assistant.partition(":")[0]) == ("secret-key", "")
    assert "secret-key" not in repr(settings)


def test_a_server_of_ones_own_may_want_no_key() -> None:
    settings = Settings.from_env({"ASSISTANT": "openai:llama3.2:3b", "OPENAI_BASE_URL": "http://localhost:11434/v1/"})
    assert settings.vendor("openai") == ("", "http://localhost:11434/v1")
    (complaint,) = complaints(ASSISTANT="anthropic:x", ANTHROPIC_BASE_URL="http://localhost:1/")
    assert complaint.startswith("ANTHROPIC_API_KEY=")


def test_the_example_is_in_step_with_the_table() -> None:
    remedy = "run: python -c 'import server.settings as s; print(s.example(), end=\"\")' > .env.example"
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example(), remedy


def test_the_example_names_every_variable_and_sets_none() -> None:
    lines = example().splitlines()
    assert {line[1:].split("=")[0] for line in lines if line.startswith("#") and line[1] != " "} == ROWS.keys()
    assert all(line.startswith("#") for line in lines if line)
