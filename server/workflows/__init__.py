"""Conversations: the vocabulary of tables, and a module or a folder for each workflow."""
