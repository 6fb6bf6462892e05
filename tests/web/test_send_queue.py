"""The send queue of one socket: an event's texts go out together or not at all."""

from collections.abc import Sequence

import pytest

from server.errors import CloseCode
from server.settings import Settings
from server.web.send_queue import WebSocketOutlet
from server.wire.dialects import Encoded, EncodedEvents

HARD_BYTES = 10


class Paper:
    """A peer that takes nothing before it is `is_writable`."""

    is_writable = False

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write_texts(self, texts: Sequence[bytes]) -> None:
        self.written += texts

    def abort(self) -> None:
        raise AssertionError("cut")


def _stays_open(code: CloseCode) -> None:
    raise AssertionError(f"closed with {code}")


class Queue:
    """A queue and its peer."""

    def __init__(self) -> None:
        settings = Settings(send_queue_soft_bytes=5, send_queue_hard_bytes=HARD_BYTES)
        self.paper = Paper()
        self.outlet = WebSocketOutlet(self.paper, settings, _stays_open)

    def written(self) -> list[bytes]:
        self.paper.is_writable = True
        self.outlet.flush()
        return self.paper.written


@pytest.fixture
async def queue() -> Queue:
    return Queue()


def frame(seq: int, *texts: bytes) -> Encoded:
    return Encoded(seq, True, texts)


@pytest.mark.parametrize("gap_ms", [0, 1])
async def test_an_event_whose_texts_do_not_all_fit_is_not_begun(queue: Queue, gap_ms: int) -> None:
    frames = [frame(1, b"11", b"11"), frame(2), frame(3, b"333", b"333", b"3")]
    assert queue.outlet.put(EncodedEvents(frames), gap_ms=gap_ms) == 2
    assert b"333" not in queue.written()


async def test_what_was_taken_is_told_in_events_and_not_in_texts(queue: Queue) -> None:
    frames = [frame(1, b"1", b"1", b"1"), frame(2), frame(3, b"3")]
    assert queue.outlet.put(EncodedEvents(frames), gap_ms=0) == 3
    assert queue.written() == [b"1", b"1", b"1", b"3"]


async def test_one_event_always_fits_into_an_empty_queue(queue: Queue) -> None:
    texts = (b"x" * HARD_BYTES, b"y" * HARD_BYTES)
    assert queue.outlet.put(EncodedEvents([frame(1, *texts)]), gap_ms=0) == 1
    assert queue.written() == list(texts)


@pytest.mark.parametrize("droppable", [True, False])
async def test_the_texts_of_a_droppable_frame_are_dropped_together(queue: Queue, *, droppable: bool) -> None:
    queue.outlet.put_transient((b"1234",), droppable=droppable)
    queue.outlet.put_transient((b"5678", b"9", b"10"), droppable=droppable)
    queue.outlet.put_transient((), droppable=droppable)
    assert queue.written() == ([b"1234"] if droppable else [b"1234", b"5678", b"9", b"10"])
