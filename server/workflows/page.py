"""A published page: an event of a session that every person with its address may read.

No I/O here: `web/pages.py` finds the event and serves the page.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """Every event of the type `frame_type` is a page at `/path/message id of the event`.

    `render` makes HTML from the event's payload. An older version may have written the payload, and it may hold text
    of users, so `render` must escape it and must not raise.
    """

    path: str
    frame_type: str
    render: Callable[[dict[str, Any]], str]

    def address(self, public_url: str, message_id: str) -> str:
        """The URL of a page. `public_url` is the server's address for browsers, without a slash at the end."""
        return f"{public_url}/{self.path}/{message_id}"
