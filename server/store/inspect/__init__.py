"""Inspectors: operators read stored sessions with them without naming an owner. The server must not import them."""
