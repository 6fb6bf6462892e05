"""From STORE_URL to the inspector of the store it names: the operator's door, with the settings of the server."""

from server.settings import Settings, mask_url
from server.store.inspect.contract import Inspector
from server.store.inspect.remote import RemoteInspector
from server.store.open import POSTGRES, REDIS, SUPABASE, kind, sqlite_path


def open_inspector(settings: Settings) -> Inspector:
    """The inspector of the server's store, not entered yet. Raises ConfigError for settings that name none."""
    url, timeout_ms = settings.store_url, settings.store_timeout_ms
    # Each is imported only where it is used: the others' libraries cost time.
    match kind(settings):
        case scheme if scheme in POSTGRES:
            from server.store.postgres.inspector import PostgresSource

            return RemoteInspector(PostgresSource(url, timeout_ms=timeout_ms), mask_url(url))
        case scheme if scheme in REDIS:
            from server.store.redis.inspector import RedisSource

            return RemoteInspector(RedisSource(url, timeout_ms=timeout_ms), mask_url(url))
        case scheme if scheme == SUPABASE:
            from server.store.supabase.inspector import SupabaseSource

            where, key = settings.supabase_url, settings.supabase_service_key
            return RemoteInspector(SupabaseSource(where, key, timeout_ms=timeout_ms), where)
        case _:
            from server.store.sqlite.inspector import SqliteInspector

            return SqliteInspector(sqlite_path(url), busy_ms=timeout_ms)
