"""Reads a Supabase project through its Data API, each call a transaction of its own that cannot write."""

from collections.abc import Sequence

from server.records import SessionKey
from server.store.inspect.remote import INSPECT, OWNERS, Page, function_arguments, function_page, owners_arguments
from server.store.supabase.store import SupabaseStore


class SupabaseSource(SupabaseStore):
    """The store's own way to the project, of which only what reads without an owner is used."""

    async def owners(self, session_id: str) -> Sequence[str]:
        """Who has a session of this id."""
        owners: list[str] = await self._call(OWNERS, owners_arguments(session_id))
        return owners

    async def page(self, key: SessionKey, after: int) -> Page:
        """The session, and a page of its log."""
        return function_page(await self._call(INSPECT, function_arguments(key, after)))
