"""Rejoinder: a conversation server that cannot lose a conversation."""

__version__ = "0.1.0"
