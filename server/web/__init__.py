"""The door: sockets and HTTP requests come in here, and answers go out. It knows the user, and no session's rules."""
