"""The client program: one job, in a process of its own, on raw sockets: `python -m tests.bench.client JOB`.

Marks go to standard output, a JSON line each, and then what was found. A mark that waits is answered with a line.
"""

import asyncio
import random
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import uvloop

from tests.bench.job import Job, Kind, Mark, Told, session_of, user_of
from tests.bench.pulse import Beat, beat, is_quiet, slow_moments
from tests.bench.speech import Native, speech
from tests.bench.tab import DELTA, Tab, Times

_now = time.perf_counter
#: How long the last answers are waited for once nothing is said any more, and one tab for the server to take it in.
_DRAIN_S: Final = 10.0
_OPEN_S: Final = 60.0
_BETWEEN_S: Final = 0.002
#: Turns of each tab that are waited for, and for how many times the seconds of the job.
_ROUNDS: Final = 2
_PATIENCE: Final = 10


class Crowd:
    """The tabs of a job, and the first thing that went wrong with any of them."""

    def __init__(self, job: Job) -> None:
        self.times = Times()
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._room = asyncio.Semaphore(job.in_flight)

    async def open(self, first: int, count: int) -> list[tuple[Tab, float]]:
        """So many tabs, each with the moment at which it was open."""
        return await asyncio.gather(*(self._open_next(number) for number in range(first, first + count)))

    async def connect(self, path: str) -> tuple[Tab, float]:
        """A tab at a path, and the moment at which it was open. Raises OSError, TimeoutError."""
        target = self._job.target
        opened: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        tab = Tab(speech(target.speech), self.times, self._failed)
        tab.on_open = lambda _tab: opened.set_result(_now())
        await tab.connect(target.port, path, target.headers)
        async with asyncio.timeout(_OPEN_S):
            return tab, await opened

    async def _open_next(self, number: int) -> tuple[Tab, float]:
        seed = self._job.seed
        session = session_of(seed, number) if seed else str(uuid.uuid4())
        async with self._room:
            return await self.connect(self._job.target.path.format(session=session, user=user_of(number)))

    def _failed(self, error: Exception) -> None:
        if not self.fault.done():
            self.fault.set_exception(error)


class Window:
    """The time that counts: from the mark `begin` to the mark `end`."""

    def __init__(self, times: Times) -> None:
        self._times = times
        tell(Mark(mark="begin"))
        self._cpu_s, self._began = time.process_time(), _now()
        times.running = True

    def close(self) -> Told:
        """What was found."""
        self._times.running = False
        seconds, cpu_s = _now() - self._began, time.process_time() - self._cpu_s
        tell(Mark(mark="end"))
        times = self._times
        return Told(seconds=seconds, cpu_s=cpu_s, turns=times.ended, acks=times.acks, replies=times.replies)


async def _turns(crowd: Crowd, job: Job) -> Told:
    for tab, _ in await crowd.open(0, job.tabs):
        tab.on_end = Tab.say
        tab.say()
    await asyncio.sleep(job.warm_s)
    window = Window(crowd.times)
    await asyncio.sleep(job.seconds)
    deadline = _now() + job.seconds * _PATIENCE
    while crowd.times.ended < _ROUNDS * job.tabs and _now() < deadline:
        await asyncio.sleep(0.005)  # of a server that answers all tabs at once, one answer each says little
    return window.close()


async def _paced(crowd: Crowd, job: Job) -> Told:
    tabs = [tab for tab, _ in await crowd.open(0, job.tabs)]
    rng = random.Random(job.tabs)
    beats: list[Beat] = []
    pulse = asyncio.create_task(beat(beats))
    await say_at_random(tabs, rng, job.rate, job.warm_s)
    window = Window(crowd.times)
    await say_at_random(tabs, rng, job.rate, job.seconds)
    deadline = _now() + _DRAIN_S
    while any(tab.is_waiting for tab in tabs) and _now() < deadline:
        await asyncio.sleep(0.005)  # the answers of the window count, however late
    told = window.close()
    pulse.cancel()
    slow, times = slow_moments(beats), crowd.times
    quiet = [took for took, at in zip(times.acks, times.acked_at, strict=True) if is_quiet(slow, at - took, at)]
    return msgspec.structs.replace(told, quiet_acks=quiet)


async def say_at_random(tabs: list[Tab], rng: random.Random, rate: float, seconds: float) -> None:
    """Lines at moments that do not depend on answers; a moment that was overslept is caught up with.

    A thread waits for them: the loop's timers know whole milliseconds, and what is shorter the loop spends awake, which
    would take half of a core from the server.
    """
    loop, given_up = asyncio.get_running_loop(), threading.Event()

    def wait() -> None:
        due = _now()
        end = due + seconds
        while due < end and not given_up.is_set():
            time.sleep(max(0.0, due - _now()))  # until the next line is due: this is the load, and waits for nobody
            speakers: list[Tab] = []
            while due <= min(_now(), end):
                speakers.append(rng.choice(tabs))
                due += rng.expovariate(rate)
            loop.call_soon_threadsafe(_all_say, speakers)

    try:
        await asyncio.to_thread(wait)
    finally:
        given_up.set()


def _all_say(tabs: list[Tab]) -> None:
    for tab in tabs:
        tab.say()


async def _fill(crowd: Crowd, job: Job) -> Told:
    tabs = [tab for tab, _ in await crowd.open(0, job.tabs)]
    began = _now()
    stretches: list[float] = []
    for stop in job.stops:
        going = len(tabs)
        there = asyncio.Event()
        set_out = _now()

        def next_line(tab: Tab, stop: int = stop, there: asyncio.Event = there) -> None:
            nonlocal going
            if tab.number < stop:
                tab.say()
                return
            going -= 1
            if going == 0:
                there.set()

        for tab in tabs:
            tab.on_end = next_line
            tab.say()
        await there.wait()
        stretches.append(_now() - set_out)
        await tell_and_wait(f"turn {stop}")
    return Told(seconds=_now() - began, turns=sum(tab.number for tab in tabs), stretches=stretches)


async def _reconnect(crowd: Crowd, job: Job) -> Told:
    times: list[list[float]] = [[] for _ in job.paths]
    missed = [0] * len(job.paths)
    order = list(range(len(job.paths)))
    rng = random.Random(job.tabs)
    for _ in range(job.tabs):
        rng.shuffle(order)  # what one leaves to the server to clear away must not always meet the same next one
        for place in order:
            tab, opened = await crowd.connect(job.paths[place])
            times[place].append(opened - tab.began)
            missed[place] = tab.durable
            tab.close()
            await asyncio.sleep(_BETWEEN_S)
    return Told(paths=times, missed=missed)


async def _hold(crowd: Crowd, job: Job) -> Told:
    began, held = _now(), 0
    opened: list[float] = []
    tabs: list[Tab] = []  # kept, or the collector would have to look
    for stop in job.stops:
        came = await crowd.open(held, stop - held)
        tabs += [tab for tab, _ in came]
        opened += [moment - began for _, moment in came]
        held = stop
        await tell_and_wait(f"held {stop}")
    return Told(seconds=_now() - began, opened=sorted(opened))


async def _stream(crowd: Crowd, job: Job) -> Told:
    tabs = [tab for tab, _ in await crowd.open(0, job.tabs)]
    line = "stream 0" + f" {DELTA.decode()}" * job.words
    waiting, ended = 0, asyncio.Event()

    def one_less(_tab: Tab) -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            ended.set()

    window = Window(crowd.times)
    deadline = _now() + job.seconds
    while _now() < deadline:
        waiting = len(tabs)
        ended.clear()
        for tab in tabs:
            tab.on_end = one_less
            tab.expect()
        tabs[0].write(Native.say(line, str(uuid.uuid4())))
        await ended.wait()
    found = window.close()
    return msgspec.structs.replace(
        found, deltas=sum(tab.deltas for tab in tabs), pieces=sum(tab.pieces for tab in tabs)
    )


JOBS: Final[Mapping[Kind, Callable[[Crowd, Job], Awaitable[Told]]]] = {
    "turns": _turns,
    "paced": _paced,
    "fill": _fill,
    "reconnect": _reconnect,
    "hold": _hold,
    "stream": _stream,
}


async def run(job: Job) -> Told:
    """Do it. Raises what went wrong with any tab."""
    crowd = Crowd(job)
    work = asyncio.ensure_future(JOBS[job.kind](crowd, job))
    crowd.fault.add_done_callback(lambda _: work.cancel())
    await asyncio.wait({work})
    if work.cancelled():
        await crowd.fault
    return work.result()


def tell(what: Mark | Told) -> None:
    """A line to whoever started this."""
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:  # buffered, whatever PYTHONUNBUFFERED says
        out.write(msgspec.json.encode(what) + b"\n")


async def tell_and_wait(mark: str) -> None:
    """Tell of a moment, and go on when told to. The tabs hear what comes meanwhile."""
    tell(Mark(mark=mark, waits=True))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def main() -> int:
    """The exit status: 0, or 1 with the reason on standard error."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    try:
        told = uvloop.run(run(job))
    except Exception as error:  # noqa: BLE001  whatever it was, the measurement is void, and somebody must read why
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    tell(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
