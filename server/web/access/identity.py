"""Identify the user of a connection. In the open development mode: the user id that the client sends."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from server.records import SessionKey, is_id

#: The owner of sessions that were opened without a user.
ANONYMOUS: Final = "anonymous"


class Principal(Struct, frozen=True):
    """Who asks. Made here alone, from what a request says; everything behind takes the keys that it makes."""

    user_id: str

    def session(self, session_id: str) -> SessionKey:
        """The identity of this user's session of that id."""
        return SessionKey(user_id=self.user_id, session_id=session_id)


def identify(query: Mapping[str, str]) -> Principal | None:
    """The user of a request with this query; None when its `user_id` cannot be one."""
    user_id = query.get("user_id", ANONYMOUS)
    return Principal(user_id) if is_id(user_id) else None
