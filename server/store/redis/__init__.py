"""The store in Redis: what a batch does is a Lua script."""
