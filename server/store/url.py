"""From STORE_URL to the store it names: one reading of it for the server and for whoever looks at its files."""

from server.errors import ConfigError
from server.settings import Settings, mask_url
from server.store import Store
from server.store.sqlite import MEMORY, SqliteStore


def open_store(settings: Settings) -> Store:
    """The store that STORE_URL names. Raises ConfigError for a kind that this version does not know."""
    if settings.redis_url:
        raise ConfigError(["REDIS_URL: this version runs as one process and knows no Redis; leave it unset"])
    path = sqlite_path(settings.store_url)
    return SqliteStore(path, synchronous=settings.sqlite_synchronous, busy_ms=settings.store_timeout_ms)


def sqlite_path(url: str) -> str:
    """The file of an SQLite URL, or MEMORY. Raises ConfigError for any other URL."""
    if not url.startswith("sqlite:"):
        raise ConfigError(
            [f"STORE_URL: this version keeps conversations in SQLite only (sqlite:///path), not {mask_url(url)}"]
        )
    path = url.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if url.startswith("sqlite:////"):
        path = "/" + path.lstrip("/")
    return path or MEMORY
