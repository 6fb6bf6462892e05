"""How fast, how lean, how steady: the server beside a bare socket and beside other conversation servers.

`scripts/bench` starts them one by one on loopback ports, lets the same client program talk to each in turns, and tells
medians with their spread. docs/benchmarks.md says how to read them.
"""
