"""The store in Supabase, through its Data API."""
