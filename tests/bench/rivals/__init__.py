"""Other conversation servers, as far as their packages are installed: `scripts/bench --rivals` installs them.

Each keeps its conversations in SQLite with the same policy of syncs, and answers with the same words.
"""
