"""Workflows: the vocabulary of their tables, and one module or folder for each workflow."""
