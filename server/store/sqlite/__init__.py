"""The store in one SQLite file: one writer thread, a few readers."""
