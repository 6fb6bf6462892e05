"""Model tests: the real machines and the real group commit in a simulated world, under random schedules.

    pending.py   a store whose calls happen and return when the schedule says so
    process.py   one server process: session machines, group commit, steps, timers, subscribers
    awake.py     a session machine there, and what it may do by what it was told
    network.py   what processes tell each other: lost, doubled, late, out of order, without their events
    step.py      a running step of the real workflow
    tab.py       one connection machine and its send queue
    client.py    the client at the other end: a cursor, an outbox, everything that it was shown
    laws.py      the oracle: the log, and what must hold of everything that is seen
    world.py     two or three processes, clients, and the actions that a schedule is made of
    calm.py      the end of a schedule: faults are over, everything comes to rest and is looked at
    schedule.py  schedules: made from a seed, run, cut short when one breaks a law, told as a story
    mutants.py   servers that are broken on purpose; broken_*.py have their patches

Only the network, the store's timing and the clients are simulated.
"""
