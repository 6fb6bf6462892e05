"""Random schedules over the real machines: nothing that can happen breaks a law.

`MODEL_EXAMPLES` says how many schedules to run; beyond those of every day they begin at a seed of their own. What
is found names its seed: `plan_from` makes the same schedule of it again.
"""

import os
import random
from typing import Final

import pytest
import structlog

from tests.model.schedule import complaint, plan_from, plan_of_shown, run

EVERY_DAY: Final = 1000
PARTS: Final = 4
#: Of those about answers that are streamed to tabs of several processes.
SHOWN_EVERY_DAY: Final = 500


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Group commit logs every failure, and here there are many."""
    quiet = structlog.make_filtering_bound_logger(50)
    monkeypatch.setattr(
        "server.engine.group_commit.log", structlog.wrap_logger(structlog.PrintLogger(), wrapper_class=quiet)
    )


def seeds(part: int) -> range:
    """A share of the schedules: always the same ones, unless more are asked for."""
    count = int(os.environ.get("MODEL_EXAMPLES", EVERY_DAY))
    start = 0 if count <= EVERY_DAY else random.SystemRandom().randrange(10**9)
    share = max(1, count // PARTS)
    return range(start + part * share, start + (part + 1) * share)


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_schedule_breaks_a_law(part: int) -> None:
    chosen = seeds(part)
    found, _ = await complaint(chosen)
    assert found is None, f"\n{found}"


async def test_what_tabs_of_several_processes_are_shown_is_kept() -> None:
    found, _ = await complaint(range(SHOWN_EVERY_DAY), plan_of_shown)
    assert found is None, f"\n{found}"


async def test_the_schedules_reach_what_can_happen() -> None:
    """Without this, schedules in which nothing happens would pass."""
    seen: set[str] = set()
    for seed in range(150):
        world = await run(plan_from(seed))
        seen |= {type(what).__name__ for _, _, what in world.story}
        seen |= {getattr(what, "code", "") for _, _, what in world.story if type(what).__name__ == "Reject"}
        seen |= {getattr(what, "name", "") for _, _, what in world.story if type(what).__name__ == "TimerFired"}
        seen |= {getattr(what, "action", "") for _, _, what in world.story if type(what).__name__ == "Sync"}
        seen |= {type(getattr(what, "outcome", None)).__name__ for _, _, what in world.story}
        seen |= {event.type for session_id in world.sessions for event in world.laws.log(session_id)}
    effects = {
        "Append", "Find", "Commit", "Ack", "Publish", "Show", "CancelStep", "Gone", "Evict", "WentLive", "Create",
        "TakeOver", "Tell", "Ask", "AnswerAtOnce", "Interrupt",
    }  # fmt: skip
    inputs = {
        "Opened", "LoadDone", "ReadDone", "Found", "Streamed", "Failed", "Cancel", "Remote", "TimerFired",
        "ShownElsewhere", "Wished", "Interrupted", "Again",
    }  # fmt: skip
    timers = {"status", "takeover", "commit", "load", "read"}
    outcomes = {"Committed", "Duplicate", "Conflict"}
    refusals = {"inbox_full", "stale_action", "id_reuse", "not_running", "store_unavailable", "turn_running"}
    syncs = {"send_history", "send_delta", "skip_history", "reset"}
    events = {"chat_message", "action_request", "state_update", "turn_failed", "turn_cancelled"}
    assert effects | inputs | timers | outcomes | refusals | syncs | events <= seen


async def test_the_same_seed_is_the_same_story() -> None:
    first, second = [await run(plan_from(7)) for _ in range(2)]
    assert str(first.story) == str(second.story)
