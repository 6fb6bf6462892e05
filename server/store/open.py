"""Parses STORE_URL and makes the store. The server and the inspector share this parser."""

from typing import Final

from server.errors import ConfigError
from server.settings import Settings, mask_url
from server.store.library import FullStore
from server.store.sqlite.store import MEMORY, SqliteStore

POSTGRES: Final = ("postgres", "postgresql")
REDIS: Final = ("redis", "rediss")
SUPABASE: Final = "supabase"


def kind(settings: Settings) -> str:
    """The scheme of STORE_URL; the URL `supabase` is its own scheme."""
    return settings.store_url.partition(":")[0]


def is_shared(settings: Settings) -> bool:
    """Whether other processes may use the same store: a database server, or several workers (WEB_CONCURRENCY)."""
    return settings.web_concurrency > 1 or kind(settings) != "sqlite"


def open_store(settings: Settings) -> FullStore:
    """Make the store that STORE_URL names, without opening it.

    Raises ConfigError for an unknown kind, and for a database in memory with several workers.
    """
    url, timeout_ms = settings.store_url, settings.store_timeout_ms
    # Import only the store that is used: the libraries of the others cost start time and memory.
    match kind(settings):
        case scheme if scheme in POSTGRES:
            from server.store.postgres.store import PostgresStore

            return PostgresStore(url, timeout_ms=timeout_ms, connections=settings.store_connections)
        case scheme if scheme in REDIS:
            from server.store.redis.store import RedisStore

            return RedisStore(url, timeout_ms=timeout_ms, connections=settings.store_connections)
        case "supabase":
            from server.store.supabase.store import SupabaseStore

            return SupabaseStore(
                settings.supabase_url,
                settings.supabase_service_key,
                timeout_ms=timeout_ms,
                calls=settings.supabase_calls,
            )
        case _:
            path = sqlite_path(url)
            if path == MEMORY and settings.web_concurrency > 1:
                raise ConfigError([f"STORE_URL={url}: memory belongs to one process; WEB_CONCURRENCY is more"])
            return SqliteStore(
                path,
                synchronous=settings.sqlite_synchronous,
                busy_ms=timeout_ms,
                timeout_ms=timeout_ms,
                known_limit=settings.session_max_concurrent,
            )


def sqlite_path(url: str) -> str:
    """The path in an SQLite URL, MEMORY when it has none. Raises ConfigError for a URL that is not SQLite's."""
    if not url.startswith("sqlite:"):
        raise ConfigError(
            [f"STORE_URL={mask_url(url)}: expected sqlite:///path, postgresql://…, redis://… or supabase"]
        )
    path = url.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if url.startswith("sqlite:////"):
        path = "/" + path.lstrip("/")
    return path or MEMORY
