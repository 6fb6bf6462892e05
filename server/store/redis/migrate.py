"""Brings the keys of a Redis server to this server's layout, when the store opens it.

Layout 1 knew a session by its id alone, layout 2 by its owner and its id. Servers of layout 1 are shut out first; then
the sessions are moved, some at a time, each in one step. A migration that was killed is taken up by the next start, and
of several at once each moves what it finds.
"""

from typing import Final

import structlog

from server.store.redis.scripts import RedisScripts, script

log = structlog.get_logger()

#: The layout before this one, and what stands in its place while the sessions are moved.
OLD: Final = 1
MOVING: Final = -2
#: How many keys one step looks at: Redis does nothing else meanwhile.
PAGE: Final = 500
_MIGRATE: Final = script("migrate.lua")


async def migrate(scripts: RedisScripts, prefix: str, *, page: int = PAGE) -> None:
    """Move every session behind `prefix`, `page` keys a step. Raises StoreUnavailable; then the next start goes on."""
    await scripts.call(_MIGRATE, bool, "begin", prefix)
    cursor, moved, left = "0", 0, 0
    while True:
        cursor, here, stuck = await scripts.call(_MIGRATE, tuple[str, int, int], "page", prefix, cursor, page)
        moved, left = moved + here, left + stuck
        if cursor == "0":
            break
    await scripts.call(_MIGRATE, bool, "finish", prefix)
    log.info("migrated", step="moved the sessions to the keys of layout 2", sessions=moved)
    if left:  # no server could read them: they lack what every session has
        log.warning("damaged_sessions_left", sessions=left, keys=f"{prefix}session:*")
