"""The pure machines: a session, and a connection to it. Inputs go in, effects come out; no I/O, clock or chance."""
