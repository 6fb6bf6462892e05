"""A published page: an event of a session that anyone may read who has its address.

No I/O here: how a stored event is found and served is the web's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """Every event of the type `frame_type` is a page at `/path/message id of the event`.

    `render` makes the HTML from the event's payload. That may be of an older version, and may hold a person's words:
    `render` escapes them, and raises nothing.
    """

    path: str
    frame_type: str
    render: Callable[[dict[str, Any]], str]

    def address(self, public_url: str, message_id: str) -> str:
        """The URL of a page. `public_url` is the server's address as browsers know it, without a slash at the end."""
        return f"{public_url}/{self.path}/{message_id}"
