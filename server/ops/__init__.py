"""For the person who runs the server: logs, figures, worker processes, migrations, and the check of stored sessions."""
