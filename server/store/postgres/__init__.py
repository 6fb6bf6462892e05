"""The store in PostgreSQL: its functions, its migrations, its connections."""
