"""Parse STORE_URL and open the store: one parser for the server and for the inspector."""

from typing import Final

from server.errors import ConfigError
from server.settings import Settings, mask_url
from server.store.library import FullStore
from server.store.sqlite.store import MEMORY, SqliteStore

POSTGRES: Final = ("postgres", "postgresql")
REDIS: Final = ("redis", "rediss")
SUPABASE: Final = "supabase"


def kind(settings: Settings) -> str:
    """The scheme of STORE_URL, or `supabase`."""
    return settings.store_url.partition(":")[0]


def is_shared(settings: Settings) -> bool:
    """Whether other processes may work on the same store: a server's store, or workers over one file."""
    return settings.web_concurrency > 1 or kind(settings) != "sqlite"


def open_store(settings: Settings) -> FullStore:
    """The store that STORE_URL names, not opened yet. Raises ConfigError for a kind that there is not."""
    url, timeout_ms = settings.store_url, settings.store_timeout_ms
    # Each is imported only where it is used: the others' libraries cost time at start, and memory.
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
    """The file of an SQLite URL, or MEMORY. Raises ConfigError for any other URL."""
    if not url.startswith("sqlite:"):
        raise ConfigError(
            [f"STORE_URL={mask_url(url)}: expected sqlite:///path, postgresql://…, redis://… or supabase"]
        )
    path = url.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if url.startswith("sqlite:////"):
        path = "/" + path.lstrip("/")
    return path or MEMORY
