"""What processes tell each other: hints that may be lost, doubled, late, out of order, or without their events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from server.records import Event
from server.wire.protocol import Transient

if TYPE_CHECKING:
    from tests.model.process import Process
    from tests.model.world import World


class Packet(NamedTuple):
    """On its way to another process: how far a log goes, with or without the events; a transient frame; a wish."""

    place: int
    session_id: str
    head: int = 0
    events: Sequence[Event] = ()
    frame: Transient | None = None
    wish: bool = False


class Network:
    """Between the processes; `packets` have not arrived yet."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.packets: list[Packet] = []

    def publish(self, sender: "Process", session_id: str, events: Sequence[Event]) -> None:
        self._spread(sender, Packet(0, session_id, events[-1].seq, events))

    def publish_transient(self, sender: "Process", session_id: str, frame: Transient) -> None:
        self._spread(sender, Packet(0, session_id, frame=frame))

    def ask(self, sender: "Process", session_id: str) -> None:
        self._spread(sender, Packet(0, session_id, wish=True))

    def pass_on(self, name: str, number: int) -> None:
        """Something becomes of one packet: `news`, or news that are `lost`, `twice` or `bare` of their events."""
        if not self.packets:
            return
        packet = self.packets[number % len(self.packets)]
        if name != "news twice":
            self.packets.remove(packet)
        if name == "news bare":
            packet = packet._replace(events=())
        if name != "news lost":
            self._deliver(packet)

    def pass_all_on(self) -> bool:
        """Everything arrives, in its order; whether there was anything."""
        packets, self.packets = self.packets, []
        for packet in packets:
            self._deliver(packet)
        return bool(packets)

    def forget(self, place: int) -> None:
        """A process has died: what was on its way to it arrives nowhere."""
        self.packets = [packet for packet in self.packets if packet.place != place]

    def _spread(self, sender: "Process", packet: Packet) -> None:
        others = [process.place for process in self._world.processes if process is not sender]
        self.packets += [packet._replace(place=place) for place in others]

    def _deliver(self, packet: Packet) -> None:
        self._world.tell(packet.session_id, packet.place, packet)
        self._world.at(packet.place).hear_remote(packet)
