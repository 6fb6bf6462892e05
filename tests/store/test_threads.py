"""Threads that work off calls: in their order, whatever becomes of each, and to the end of what was asked for."""

import asyncio
import threading
import weakref

import pytest

from server.store.sqlite.threads import Threads


async def test_calls_are_worked_off_in_their_order_in_one_thread() -> None:
    threads, seen = Threads(1, "one"), list[tuple[int, str]]()
    calls = [threads.call(lambda number: seen.append((number, threading.current_thread().name)), n) for n in range(50)]
    await asyncio.gather(*calls)
    threads.close()
    assert seen == [(number, "one-0") for number in range(50)]


async def test_several_threads_work_at_the_same_time() -> None:
    threads, both = Threads(2, "two"), threading.Barrier(2, timeout=60)
    await asyncio.gather(threads.call(both.wait), threads.call(both.wait))
    threads.close()


async def test_what_a_call_raises_comes_back_and_the_thread_goes_on() -> None:
    threads = Threads(1, "raising")
    with pytest.raises(ZeroDivisionError):
        await threads.call(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        await threads.call(exit)
    assert await threads.call(lambda: "there") == "there"
    threads.close()


async def test_who_stops_waiting_stops_nothing() -> None:
    threads, may_go, done = Threads(1, "left"), threading.Event(), list[str]()
    first = threads.call(may_go.wait, 60)
    second = threads.call(done.append, "done")
    failing = threads.call(lambda: 1 // 0)
    for call in (first, second, failing):
        call.cancel()
    may_go.set()
    await threads.call(lambda: None)
    assert done == ["done"]
    threads.close()


async def test_closing_waits_for_what_was_asked_for() -> None:
    threads, done = Threads(1, "closing"), list[int]()
    for number in range(20):
        threads.call(done.append, number)
    threads.close()
    assert done == list(range(20))
    assert not [one for one in threading.enumerate() if one.name.startswith("closing")]


def test_a_loop_that_is_gone_is_not_told() -> None:
    threads, may_go, done = Threads(1, "gone"), threading.Event(), list[str]()

    async def ask() -> None:
        threads.call(may_go.wait, 60)
        threads.call(done.append, "done")

    asyncio.run(ask())
    may_go.set()
    threads.close()
    assert done == ["done"]


class Outcome:
    """One that can be watched."""


async def test_an_outcome_is_not_kept_until_its_deadline() -> None:
    threads = Threads(1, "light")
    threads.bound(3_600_000)
    outcome = await threads.call(Outcome)
    watched = weakref.ref(outcome)
    del outcome
    await threads.call(int)  # by now the thread has let go of it
    assert watched() is None
    threads.close()


async def test_a_call_that_is_given_up_before_it_began_never_begins() -> None:
    threads, may_go, done = Threads(1, "late"), threading.Event(), list[str]()
    threads.bound(40)
    first, second = threads.call(may_go.wait, 60), threads.call(done.append, "done")
    for call in (first, second):
        with pytest.raises(TimeoutError):
            await call
    may_go.set()
    await threads.call(done.append, "later")
    assert done == ["later"]
    threads.close()
