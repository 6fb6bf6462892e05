"""A connection in small steps: its machine, and a store whose log has events 1, 2, 3 …"""

from typing import Any

from server.machines.connection import Connection, Cursor, Effect, Load, Phase, Send
from server.records import Event
from tests.support.builders import event, every, snapshot, the

PAGE = 3


def log(*seqs: int) -> list[Event]:
    return [event(seq) for seq in seqs]


def connect(**cursor: Any) -> tuple[Connection, Load]:
    machine = Connection(Cursor(**cursor), page_limit=PAGE)
    return machine, the(machine.open(), Load)


def answer(machine: Connection, load: Load, head: int, visible: int = 1) -> list[Effect]:
    """What a store whose log has events 1 to `head` answers to a load."""
    page = log(*range(load.after + 1, min(load.after + load.limit, head) + 1))
    return machine.loaded(load.read_id, snapshot(seq=head, visible=visible), page)


def live(head: int) -> Connection:
    """A connection that has events 1 to `head` (at most a page) and is live."""
    machine, load = connect()
    answer(machine, load, head)
    machine.drained()
    assert machine.phase is Phase.LIVE
    return machine


def sent(effects: list[Effect]) -> list[int]:
    return [item.seq for send in every(effects, Send) for item in send.items]
