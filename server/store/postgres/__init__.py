"""The store in PostgreSQL: functions, migrations and connections."""
