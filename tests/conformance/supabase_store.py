"""Supabase stores for tests that look behind the contract."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from server.store.supabase.store import SupabaseStore
from tests.services.supabase import SECRET_KEY, SupabaseServer

COMMIT: Final = "rejoinder_commit_v1"
READ: Final = "rejoinder_read_v1"
CALLS: Final = 4
PATIENCE_S: Final = 60.0  # PostgREST looks for its database after 1, 2, 4, 8 … s


@contextlib.asynccontextmanager
async def opened(
    project: SupabaseServer, *, key: str = SECRET_KEY, timeout_ms: int = 10_000, calls: int = CALLS
) -> AsyncIterator[SupabaseStore]:
    store = SupabaseStore(project.url, key, timeout_ms=timeout_ms, calls=calls)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
