"""How long a reconnect takes, with much or nothing missed of a short or a long history."""

import asyncio
from collections.abc import Sequence

from server.store.open import open_store
from tests.bench.contenders import STORES, Running
from tests.bench.job import Job, session_of, user_of
from tests.bench.measure import percentiles, run, settle
from tests.bench.options import Plan
from tests.bench.samples import OURS, Samples
from tests.bench.seed import seed_history

_SEED = 0x5EED


def measure_reconnect(plan: Plan, samples: Samples, servers: Sequence[Running]) -> None:
    """From the connect to the frame `live`, one connection after the other, the cases in turns."""
    for server in servers:
        if server.name not in STORES or (plan.quick and server.name != OURS):
            continue
        cases = asyncio.run(_seed(plan, server))
        settle(server)
        for number in range(plan.rounds):
            job = Job(kind="reconnect", target=server.target, tabs=plan.reconnects, paths=tuple(cases.values()))
            told = run(job)
            for name, times, missed in zip(cases, told.paths, told.missed, strict=True):
                wanted = int(name.rpartition(" ")[2].replace(",", ""))
                if missed != wanted:
                    raise RuntimeError(f"{server.name}: {name}: got {missed} frames")
                p50, p99 = percentiles(times)
                samples.add("reconnect", name, server.name, number, p50_ms=p50, p99_ms=p99)


async def _seed(plan: Plan, server: Running) -> dict[str, str]:
    """The path of each case."""
    assert server.backing.settings is not None
    store = open_store(server.backing.settings)
    await store.open()
    cases: dict[str, str] = {}
    try:
        for length in plan.histories:
            session, user = session_of(_SEED, length), user_of(length)
            ids = await seed_history(store, session, user, length)
            path = server.target.path.format(session=session, user=user)
            for missed in plan.missed:
                if missed <= length:
                    after = length - missed
                    cursor = f"&after={after}&last_message_id={ids[after - 1]}" if after else ""
                    cases[f"history {length:,}, missed {missed:,}"] = path + cursor
    finally:
        await store.close()
    return cases
