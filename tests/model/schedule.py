"""Schedules: made from a seed, run, cut short when one breaks a law, and told as a story."""

import asyncio
import os
import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from server.records import Event, Snapshot
from server.workflows.table import Progress, Result
from tests.model.calm import calm_down
from tests.model.world import SAYINGS, Action, Plan, World

OFTEN = {"say": 8, "call": 22, "happen": 4, "return": 4, "step": 9, "news": 6, "timer": 3, "connect": 3, "takeover": 2}
#: Each schedule knows only some of these, so that they do not drown each other.
SELDOM = {
    "say poison": 1, "press": 6, "say again": 3, "say old again": 2, "say otherwise": 1, "cancel": 3,
    "connect oddly": 1, "skip history": 2, "drop": 2, "resume": 2, "tick": 1, "late": 2, "rest": 2, "sweep": 1,
    "step breaks": 1, "news lost": 3, "news twice": 1, "news bare": 3, "heads": 2, "takeover early": 2,
    "call failed": 2, "call cut": 2, "read failed": 1, "crash": 1, "crash applied": 1, "outage": 1, "stall": 2,
}  # fmt: skip
#: Some are about one conversation in several processes that know little of each other.
APART = {
    "say": 3, "press": 14, "cancel": 9, "connect": 9, "news": 3, "news lost": 9, "news bare": 4, "takeover": 3,
    "takeover early": 2, "rush": 8,
}  # fmt: skip
#: Some are about answers that are streamed to tabs of other processes, and cancelled there.
SHOWN = {
    "call": 12, "say": 3, "step": 14, "news": 14, "cancel": 5, "connect": 3, "rush": 5, "rest": 1, "news bare": 1,
    "news lost": 1, "heads": 1, "step breaks": 1, "takeover": 1, "crash": 1,
}  # fmt: skip
STORY_LINES = 80
#: The number of an action that says what is answered in pieces.
STREAMED = next(number for number, text in enumerate(SAYINGS) if text.startswith("stream"))
#: How often a shorter schedule is tried.
TRIES = 800
_UNTOLD = frozenset({"ids", "now_ms", "wait_ms", "session_id", "user_id", "payload"})


def plan_from(seed: int) -> Plan:
    chance = random.Random(seed)
    weights = OFTEN | {name: weight for name, weight in SELDOM.items() if chance.random() < 0.45}
    apart = chance.random() < 0.35
    weights |= APART if apart else {}
    slow = chance.random() < 0.25
    if slow:
        weights["read"] = 12
    names, share = list(weights), list(weights.values())
    length = chance.choice((25, 60, 120))
    return Plan(
        processes=chance.choice((2, 2, 3)),
        sessions=1 if apart else chance.choice((1, 1, 2)),
        takeover_ms=50 if apart else chance.choice((0, 50)),
        batch_limit=chance.choice((1, 3, 8)),
        inbox=chance.choice((2, 4, 4)),
        slow=slow,
        alone=chance.random() < 0.3,
        absent=chance.random() < 0.3,
        begun=apart or chance.random() < 0.2,
        actions=tuple(
            Action(name, chance.randrange(6), chance.randrange(420)) for name in chance.choices(names, share, k=length)
        ),
        workflow=chance.choice(("echo", "echo", "echo-interrupt", "echo-reject")),
    )


def plan_of_shown(seed: int) -> Plan:
    """A schedule in which every line is answered in pieces, before the eyes of tabs on several processes."""
    chance = random.Random(seed)
    names, share = list(SHOWN), list(SHOWN.values())
    actions = [
        Action(
            name, chance.randrange(6), STREAMED + 70 * chance.randrange(6) if name == "say" else chance.randrange(420)
        )
        for name in chance.choices(names, share, k=chance.choice((40, 80)))
    ]
    everywhere = [Action("connect", number, number) for number in range(3)]
    live = [Action("rush", number, 0) for number in range(3)]
    return Plan(begun=True, actions=(*everywhere, *live, *actions))


async def run(plan: Plan) -> World:
    """The world after the schedule; `world.laws.broken` tells what went wrong."""
    before = asyncio.all_tasks()
    world = World(plan)
    try:
        for action in plan.actions:
            await world.act(action)
            if world.laws.broken:
                break
        else:
            await calm_down(world)
    except Exception as error:  # noqa: BLE001  whatever a machine raises is a finding
        world.laws.hold(False, f"raised {error!r}")
    finally:
        tasks = asyncio.all_tasks() - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return world


async def shorten(plan: Plan, tries: int) -> Plan:
    """A schedule that still breaks a law, without what it does not need for that."""
    size = len(plan.actions) // 2
    while size and tries > 0:
        start, shorter = 0, False
        while start < len(plan.actions) and tries > 0:
            tries -= 1
            less = plan._replace(actions=plan.actions[:start] + plan.actions[start + size :])
            if (await run(less)).laws.broken:
                plan, shorter = less, True
            else:
                start += size
        size = size if shorter and size == 1 else size // 2
    return plan


def story(world: World) -> str:
    """What went wrong, and what happened before."""
    lines = [f"{session} {_where(place)} {_brief(what)}" for session, place, what in world.story]
    return "\n".join([*lines[-STORY_LINES:], "", *world.laws.broken])


def _where(place: int) -> str:
    return "  " if place < 0 else f"process {place}:" if place < 100 else f"  tab {place}:"


def _brief(what: object) -> str:
    """What the thing is, without what it holds of other things."""
    match what:
        case Event():
            return f"{what.seq} {what.type} {what.client_id or what.message_id} of turn {what.turn}"
        case Snapshot():
            return f"version {what.version} head {what.seq} cursor {what.cursor} {what.state} card {what.card}"
        case Result() | Progress():
            return what.__class__.__name__
        case Struct():
            fields = ((name, getattr(what, name)) for name in what.__struct_fields__ if name not in _UNTOLD)
            told = (f"{name}={_brief(value)}" for name, value in fields if value not in (None, False))
            return f"{type(what).__name__}({', '.join(told)})"
        case tuple() | list():
            return f"[{', '.join(map(_brief, what))}]"
        case _:
            return str(what)


async def complaint(seeds: Sequence[int], plan: Callable[[int], Plan] = plan_from) -> tuple[str | None, int]:
    """The story of the first schedule that breaks a law, and how many things happened."""
    happened = 0
    for seed in seeds:
        world = await run(plan(seed))
        happened += len(world.story)
        if world.laws.broken:
            shortest = await shorten(plan(seed), int(os.environ.get("MODEL_SHORTEST", TRIES)))
            return f"seed {seed}: {shortest}\n{story(await run(shortest))}", happened
    return None, happened
