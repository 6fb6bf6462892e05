"""The schema version of a database, and whether a server may work with it.

An old server works with a newer schema for one version. A migration that only adds to the schema keeps
`compatible_from`; a migration that removes something the version before used raises it.
"""

from typing import NamedTuple


class Schema(NamedTuple):
    """The database has schema `version`; servers written for schema `compatible_from` or later may work with it."""

    version: int
    compatible_from: int

    def refusal(self, own: int) -> str | None:
        """Why a server written for schema `own` must not use this one, as text for people; None when it may."""
        if self.version <= own or self.compatible_from <= own:
            return None
        return (
            f"its schema {self.version} is newer than this server's {own}"
            f" and takes no server older than {self.compatible_from}: start a newer server"
        )
