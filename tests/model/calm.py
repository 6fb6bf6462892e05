"""The end of a schedule: faults are over, everything comes to rest, and then everything must be as the laws say."""

from server.machines import inputs
from server.machines.connection import Phase as ConnectionPhase
from server.machines.standing import Phase
from tests.model.world import World

ROUNDS = 400


async def calm_down(world: World) -> None:
    """Everything works from now on.

    Alone, all processes but one stay dead; absent, no client comes back before it is over.
    """
    for process in world.processes:
        process.outage = 0
    for process in world.processes[1:] if world.plan.alone else ():
        world.die(process, applied=bool(world.ticks % 2))
    if world.plan.absent:
        for client in world.clients:
            client.drop()
        await _rest(world)
        for session_id in world.sessions:
            world.laws.at_rest(session_id)
    for client in world.clients:
        client.give_up_poison()
    await _rest(world, clients=True)
    _look(world)


async def _rest(world: World, *, clients: bool = False) -> None:
    """Go on until nothing can happen any more, but timers that nobody needs."""
    for _ in range(ROUNDS):
        await world.settle()
        moved = _work(world)
        await world.settle()
        world.read_all()
        if world.laws.broken:
            return
        if not moved:
            urged = clients and _urge(world)
            if not _wake(world) and not urged:
                return
    world.laws.hold(False, "it does not come to rest")


def _work(world: World) -> bool:
    """One round: calls on the store, steps, news."""
    moved = world.network.pass_all_on()
    for process in world.processes:
        moved = process.work() or moved
    return moved


def _wake(world: World) -> bool:
    """Nothing moves: timers fire; then the sweep looks for lines that nobody answers."""
    moved = False
    for process in world.processes:
        for session_id, awake in list(process.awake.items()):
            timers = [name for name in awake.timers if name != "status"]
            for name in timers:
                moved = True
                process.answer(session_id, awake.timers.pop(name))
            taken, awake.takeovers = awake.takeovers, []
            for seq in taken:
                moved = True
                process.answer(session_id, inputs.TimerFired("takeover", seq))
        if not moved:
            before = len(process.store.calls)
            process.sweep()
            moved = len(process.store.calls) > before
    return moved


def _urge(world: World) -> bool:
    """Clients come back, send what was not acknowledged, and are told the head."""
    moved = False
    for number, client in enumerate(world.clients):
        if client.tab is None:
            client.connect(world.processes[number % len(world.processes)], client.cursor(with_id=True))
            moved = True
            continue
        machine, head = client.tab.machine, len(world.laws.log(client.session_id))
        if machine.phase is not ConnectionPhase.LIVE or machine.last < head:
            awake = client.tab.process.awake.get(client.session_id)
            known = max(client.tab.heard, awake.machine.inbox.head if awake else 0)
            missed = known > machine.last and machine.phase is not ConnectionPhase.REPLAYING
            world.laws.hold(not missed, f"{client.name} missed what its process heard of")
            client.tab.process.compare_heads()
            moved = True
        elif client.outbox:
            client.transmit_all()
            moved = True
    return moved


def _look(world: World) -> None:
    laws = world.laws
    for session_id in world.sessions:
        laws.at_rest(session_id)
        laws.hold(not world.is_faultless or laws.is_published(session_id), "an event was never published")
    for client in world.clients:
        laws.hold(not client.outbox, f"{client.name} still waits for {list(client.outbox)}")
        laws.hold(client.applied == laws.frames(client.session_id), f"{client.name} does not see the log")
        live = client.tab is not None and client.tab.machine.phase is ConnectionPhase.LIVE
        laws.hold(live, f"{client.name} is not live")
    for process in world.processes:
        left = [client_id for (_, client_id), count in process.unanswered.items() if count]
        laws.hold(not left, f"process {process.place} neither acked nor refused {left}")
        for awake in process.awake.values():
            machine = awake.machine
            laws.hold(machine.phase in (Phase.COLD, Phase.IDLE), f"a session is left {machine.phase.value}")
            laws.hold(not machine.inbox.lines, "a session still has lines")
            laws.hold(not machine.inbox.is_behind, "a session has a gap that is not filled")
            laws.hold(machine.turn is None, f"turn {machine.turn} is left under way")
