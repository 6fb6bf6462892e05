"""Fault points: a real server process that kills itself, stalls, fails or loses an answer at a chosen moment.

`FAULTS="turn:after=cut@3" python -m tests.faults.serve` starts such a server; `points` has the language.
"""
