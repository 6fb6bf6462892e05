"""Who is this? In the open development mode, whoever the client says it is."""

from collections.abc import Mapping
from typing import Final

#: The owner of sessions that were opened without a user.
ANONYMOUS: Final = "anonymous"
_USER_ID_MAX_CHARS: Final = 256


def identify(query: Mapping[str, str]) -> str | None:
    """The user of a connection; None when the name cannot be one."""
    user_id = query.get("user_id", ANONYMOUS)
    if not 1 <= len(user_id) <= _USER_ID_MAX_CHARS or not user_id.isprintable():
        return None
    return user_id
