"""The parts of the bench that could lie: what it takes for a frame, an ack and an answer, and what for a ratio."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.bench.client import say_at_random
from tests.bench.frames import CLOSE, PING, TEXT, Inbound, NotAFrame, mask, upgrade
from tests.bench.measure import percentiles
from tests.bench.pulse import AFTERMATH_S, Beat, beat, is_quiet, slow_moments
from tests.bench.samples import Samples, Spread, flat, ratio, ratios
from tests.bench.speech import speech
from tests.bench.tab import Tab, Times
from tests.support.process import ROOT

UPGRADED: Final = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def from_server(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A frame as a library writes it."""
    return Frame(opcode, payload).serialize(mask=False)


@pytest.mark.parametrize(
    ("size", "piece"), [*((size, 1) for size in (0, 1, 125, 126)), *((size, 997) for size in (126, 65_535, 65_536))]
)
def test_frames_come_whole_however_they_are_cut(size: int, piece: int) -> None:
    stream = UPGRADED + from_server(b"x" * size) + from_server(b"beat", Opcode.PING) + from_server(b"", Opcode.CLOSE)
    inbound = Inbound()
    frames = [frame for at in range(0, len(stream), piece) for frame in inbound.feed(stream[at : at + piece])]
    assert frames == [(TEXT, b"x" * size), (PING, b"beat"), (CLOSE, b"")]


def test_an_answer_in_pieces_is_not_expected() -> None:
    with pytest.raises(NotAFrame, match="fragment"):
        Inbound().feed(UPGRADED + Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=False))


def test_what_is_no_upgrade_is_told() -> None:
    with pytest.raises(NotAFrame, match="503"):
        Inbound().feed(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert b"Host: 127.0.0.1:8000\r\n" in upgrade(8000, "/ws", {"Cookie": "a=b"})


@pytest.mark.parametrize("size", [0, 125, 126, 65_535])
def test_what_the_client_sends_is_what_a_library_reads(size: int) -> None:
    reader = StreamReader()
    reader.feed_data(mask(b"y" * size))
    with pytest.raises(StopIteration) as read:
        next(Frame.parse(reader.read_exact, mask=True))
    assert read.value.value == Frame(Opcode.TEXT, b"y" * size)


class Heard:
    """Notes what a speech makes of frames."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def write(self, text: bytes) -> None:
        self.told.append(f"write {text.decode()}")

    def opened(self) -> None:
        self.told.append("opened")

    def acked(self) -> None:
        self.told.append("acked")

    def replied(self, frame: bytes) -> None:
        self.told.append("replied")

    def ended(self) -> None:
        self.told.append("ended")

    def refused(self, frame: bytes) -> None:
        self.told.append("refused")


ASSISTANT: Final = b'{"type":"chat_message","role":"assistant","payload":{}}'


@pytest.mark.parametrize(
    ("name", "frames", "expected"),
    [
        ("native", [b'{"type":"live"}', b'{"type":"ack"}'], ["opened", "acked"]),
        ("native", [b'{"type":"chat_message","role":"user"}', ASSISTANT], ["replied"]),
        ("native", [b'{"type":"state_update"}', b'{"type":"ping"}'], ["ended", 'write {"type":"pong"}']),
        ("native", [b'{"type":"error"}', b'{"type":"turn_failed"}', b'{"type":"status_update"}'], ["refused"] * 2),
        ("plain", [b'{"type":"ack"}', ASSISTANT], ["acked", "replied", "ended"]),
        ("socketio", [b"0{}", b"40{}", b"2"], ["write 40{}", "opened", "write 3"]),
        ("socketio", [b'42["ack",{}]', b'42["chat_message",{}]'], ["acked", "replied", "ended"]),
        ("socketio", [b'44{"message":"no"}', b'42["history",{}]'], ["refused"]),
        ("chainlit", [b"40{}", b'42["task_end",{}]'], ['write 42["connection_successful"]', "opened"]),
        ("chainlit", [b'42["new_message",{"type":"user_message"}]'], []),
        ("chainlit", [b'42["new_message",{"type":"assistant_message"}]'], ["replied"]),
    ],
)
def test_a_speech_knows_what_frames_mean(name: str, frames: list[bytes], expected: list[str]) -> None:
    heard, spoken = Heard(), speech(name)
    for frame in frames:
        spoken.heard(heard, frame)
    assert heard.told == expected


@contextlib.asynccontextmanager
async def serve(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that says all of this when it is spoken to for the second time."""
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(UPGRADED + from_server(b'{"type":"live"}'))
        await reader.read(10_000)
        writer.write(b"".join(from_server(answer) for answer in answers))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, asyncio.timeout(10):
        yield server.sockets[0].getsockname()[1]
        await left.wait()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b'{"type":"chat_message","role":"assistant","payload":{"text":"you said 00000001"}}', None),
        (
            b'{"type":"chat_message","role":"assistant","payload":{"text":"you said 00000002"}}',
            "is not to line 00000001",
        ),
        (b'{"type":"error","payload":{"code":"overloaded"}}', "refused"),
    ],
)
async def test_an_answer_to_something_else_is_no_turn(answer: bytes, fault: str | None) -> None:
    faults: list[Exception] = []
    times, ended = Times(), asyncio.Event()
    times.running = True
    tab = Tab(speech("native"), times, faults.append)
    tab.on_open = Tab.say
    tab.on_end = lambda _: ended.set()
    async with serve(b'{"type":"ack"}', answer, b'{"type":"state_update"}') as port:
        await tab.connect(port, "/ws", {})
        await ended.wait()
        tab.close()
    assert len(times.acks) == times.ended == 1
    assert (fault is None) == (not faults)
    assert all(re.search(fault or "", str(error)) for error in faults)


def test_a_ratio_is_taken_within_each_round() -> None:
    samples = Samples()
    for number, (floor, ours) in enumerate([(1000, 500), (100, 40), (10, 6)]):
        samples.add("turns", 64, "floor", number, turns_per_s=floor)
        samples.add("turns", 64, "sqlite", number, turns_per_s=ours)
    samples.add("turns", 64, "chainlit", 1, turns_per_s=2, ack_p50_ms=None)
    found = ratios(samples)
    assert found["turns_vs_floor"] == Spread(0.5, 0.4, 0.6)
    assert found["turns_vs_chainlit"] == Spread(20, 20, 20)
    assert flat(found)["turns_vs_langgraph"] is None
    assert samples.spread("turns", 64, "chainlit", "ack_p50_ms") is None


@pytest.mark.parametrize(("above", "below"), [({}, {0: 1.0}), ({0: 1.0}, {1: 1.0}), ({0: 1.0}, {0: 0.0})])
def test_what_was_not_measured_on_both_sides_is_no_ratio(above: dict[int, float], below: dict[int, float]) -> None:
    assert ratio(above, below) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([], (None, None)), ([0.002], (2.0, 2.0)), ([n / 1000 for n in range(101)], (50.0, 99.0))],
)
def test_percentiles(seconds: list[float], expected: tuple[float | None, float | None]) -> None:
    assert percentiles(seconds) == pytest.approx(expected) if seconds else percentiles(seconds) == expected


def test_a_machine_is_slow_when_the_same_work_takes_three_times_as_long() -> None:
    assert slow_moments([Beat(at, 3 if at in (2, 5) else 1) for at in range(9)]) == [2, 5]
    assert slow_moments([Beat(at, 2.9 if at == 2 else 1) for at in range(9)]) == []
    assert slow_moments([]) == []


@pytest.mark.parametrize(
    ("began", "ended", "quiet"),
    [
        (0.0, 0.9, True),
        (0.9, 1.1, False),
        (1.0, 1.0, False),
        (1.0 + AFTERMATH_S / 2, 1.2, False),
        (1.001 + AFTERMATH_S, 1.2, True),
        (1.2, 2.1, False),
        (3.0, 9.0, True),
    ],
)
def test_what_met_no_slow_moment_nor_its_aftermath_is_quiet(began: float, ended: float, quiet: bool) -> None:
    assert is_quiet([1.0, 2.0], began, ended) is quiet
    assert is_quiet([], began, ended)


class Counted(Tab):
    """Says nothing, and counts how often it should have."""

    said = 0

    def say(self) -> None:
        Counted.said += 1


async def test_lines_at_random_are_said_at_their_rate_and_end_when_they_are_given_up() -> None:
    tabs: list[Tab] = [Counted(speech("native"), Times(), lambda _: None)]
    await say_at_random(tabs, random.Random(1), rate=2_000, seconds=0.1)
    assert 150 <= Counted.said <= 250  # the same in every run: two hundred, give or take what this chance does
    long = asyncio.create_task(say_at_random(tabs, random.Random(1), rate=2_000, seconds=20))
    already = Counted.said
    async with asyncio.timeout(10):
        while Counted.said < already + 3:
            await asyncio.sleep(0.001)
        long.cancel()
        await asyncio.get_running_loop().shutdown_default_executor()  # waits for the thread


async def test_the_pulse_goes_on_until_it_is_stopped() -> None:
    beats: list[Beat] = []
    pulse = asyncio.create_task(beat(beats))
    while len(beats) < 3:
        await asyncio.sleep(0.001)
    pulse.cancel()
    assert [one.at for one in beats] == sorted(one.at for one in beats)
    assert all(one.took > 0 for one in beats)


def test_the_rivals_are_served_by_what_serves_us() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))

    ours, theirs = pins(ROOT / "constraints.txt"), pins(ROOT / "tests/bench/rivals/requirements.txt")
    for package in ("uvicorn", "starlette", "websockets", "uvloop", "httptools"):
        assert theirs[package] == ours[package]
