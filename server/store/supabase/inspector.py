"""Reads a Supabase project through its Data API, each call a transaction of its own that cannot write."""

from server.store.inspect.remote import INSPECT, Page, function_arguments, function_page
from server.store.supabase.store import SupabaseStore


class SupabaseSource(SupabaseStore):
    """The store's own way to the project, of which only what reads without an owner is used."""

    async def page(self, session_id: str, after: int) -> Page:
        """The session, and a page of its log."""
        return function_page(await self._call(INSPECT, function_arguments(session_id, after)))
