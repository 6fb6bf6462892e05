"""The store in Redis: Lua scripts do the work of every call."""
