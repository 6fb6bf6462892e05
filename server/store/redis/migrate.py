"""Migrates the keys of a Redis server to this server's layout when the store opens it.

Layout 1 named a session by its id alone, layout 2 names it by owner and id. The migration first shuts out servers of
layout 1, then moves the sessions page by page, each session in one step. After a kill the next start continues it;
several processes may run it at once.
"""

from typing import Final

import structlog

from server.store.redis.scripts import RedisScripts, script

log = structlog.get_logger()

#: The layout before this one, and the layout number while the sessions are moved.
OLD: Final = 1
MOVING: Final = -2
#: How many keys one step scans. Redis serves no other command during a step.
PAGE: Final = 500
_MIGRATE: Final = script("migrate.lua")


async def migrate(scripts: RedisScripts, prefix: str, *, page: int = PAGE) -> None:
    """Move every session under `prefix`, `page` keys a step. Raises StoreUnavailable; the next start then continues."""
    await scripts.call(_MIGRATE, bool, "begin", prefix)
    cursor, moved, left = "0", 0, 0
    while True:
        cursor, here, stuck = await scripts.call(_MIGRATE, tuple[str, int, int], "page", prefix, cursor, page)
        moved, left = moved + here, left + stuck
        if cursor == "0":
            break
    await scripts.call(_MIGRATE, bool, "finish", prefix)
    log.info("migrated", step="moved the sessions to the keys of layout 2", sessions=moved)
    if left:  # damaged: they lack fields that every session has, so no server could read them
        log.warning("damaged_sessions_left", sessions=left, keys=f"{prefix}session:*")
