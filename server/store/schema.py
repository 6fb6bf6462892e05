"""What a database says of its own schema, and whether a server may work with it.

An old server beside a new schema keeps working for one version: a migration that only adds leaves `compatible_from`
where it was, and one that takes away what the version before used raises it.
"""

from typing import NamedTuple


class Schema(NamedTuple):
    """`version` is what is there; servers that were written for `compatible_from` or later may work with it."""

    version: int
    compatible_from: int

    def refusal(self, own: int) -> str | None:
        """Why a server that was written for schema `own` must not touch this one; None when it may."""
        if self.version <= own or self.compatible_from <= own:
            return None
        return (
            f"its schema {self.version} is newer than this server's {own}"
            f" and takes no server older than {self.compatible_from}: start a newer server"
        )
