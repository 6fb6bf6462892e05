"""The operator's way to stored sessions: it knows no owner, and nothing in the server may import it."""
