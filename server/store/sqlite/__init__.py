"""The store in one SQLite file: one writer thread and a few reader threads."""
