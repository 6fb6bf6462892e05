"""A further dialect is one file: tests/support/lines_dialect.py, spoken over a real WebSocket."""

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from server.records import Event
from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from server.wire.dialects import Dialect, Encoded, native
from server.workflows.table import Output, Turn, chat
from tests.support.example_workflows import ECHO, WORKFLOWS, echo
from tests.support.lines_dialect import Lines
from tests.support.wire import Client
from tests.support.wrapped import Served, serve


def answer(turn: Turn) -> AsyncIterator[Output] | Iterator[Output]:
    """`list a b` answers with a line that has items; other lines are echoed."""
    first, *words = turn.line.text.split()
    return iter([chat("Here it is.", list_items=words)]) if first == "list" else echo(turn)


LISTS = replace(ECHO, name="lists", answer=answer)


def serve_lines(*dialects: Dialect) -> Any:
    return serve(SqliteStore(MEMORY), {**WORKFLOWS, "lists": LISTS}, Settings(), dialects=dialects or (Lines(),))


@pytest.fixture
async def port() -> AsyncIterator[Served]:
    async with serve_lines() as served:
        yield served


def lines(port: int, session_id: str, **query: Any) -> Client:
    return Client(port, subprotocol="rejoinder.lines", session_id=session_id, workflow="lists", **query)


async def until(client: Client, text: str) -> str:
    """The next text that begins so."""
    frame = await client.until(lambda frame: frame.get("raw", "").startswith(text), text)
    return str(frame["raw"])


def heard(client: Client) -> list[str]:
    """All texts so far."""
    return [frame["raw"] for frame in client.frames]


@pytest.fixture
def session_id() -> str:
    return str(uuid.uuid4())


async def test_one_event_is_several_texts_none_in_an_envelope_and_some_are_not_shown(
    port: Served, session_id: str
) -> None:
    async with lines(port, session_id) as client:
        await until(client, "# 1")
        await client.send_raw("say a list tea milk")
        await until(client, "# 4")
        await client.send_raw("say b hello")
        await until(client, "# 7")
        assert heard(client) == [
            *("= send_history 2", "assistant: Welcome.", "# 1"),
            *("ok a 3", "user: list tea milk", "# 3", "assistant: Here it is.", "- tea", "- milk", "# 4"),
            *("ok b 6", "user: hello", "# 6", "assistant: you said hello", "# 7"),
        ]


async def test_refusals_are_said_in_its_way(port: Served, session_id: str) -> None:
    async with lines(port, session_id) as client:
        await until(client, "# 1")
        await client.send_raw('{"type":"user_message","data":{"text":"hello"}}')
        assert await until(client, "!") == "! unknown_type -"
        await client.send_raw(b"\0")
        assert await until(client, "!") == "! binary_frame -"
        await client.send_raw("say a one")
        await until(client, "ok a")
        await client.send_raw("say a another")
        assert await until(client, "!") == "! id_reuse a"
        await client.send_raw("cancel b 3")
        assert await until(client, "!") == "! not_running b"


async def test_a_turn_is_cancelled(port: Served, session_id: str) -> None:
    async with lines(port, session_id) as client:
        await until(client, "# 1")
        await client.send_raw("say a sleep 30")
        turn = (await until(client, "ok a")).split()[-1]
        await client.send_raw(f"cancel b {turn}")
        assert await until(client, "x") == f"x {turn}"
        await until(client, "ok b")


async def test_a_stale_button_gets_the_open_card_in_its_way(port: Served, session_id: str) -> None:
    async with lines(port, session_id) as client:
        await until(client, "# 1")
        await client.send_raw("say a choose")
        first = (await until(client, "? Which one? [left right]")).split()[-1]
        await client.send_raw(f"press b left {first}")
        await until(client, "ok b")
        await client.send_raw("say c choose")
        second = await until(client, "?")
        await until(client, "#")
        await client.send_raw(f"press d left {first}")
        assert await until(client, "!") == "! stale_action d"
        assert await until(client, "?") == second


async def test_a_replay_is_what_was_missed_and_other_dialects_are_told_the_same(port: Served, session_id: str) -> None:
    async with lines(port, session_id) as client, Client(port, session_id=session_id) as neighbour:
        await until(client, "# 1")
        await neighbour.turn("one")
        await neighbour.turn("list two three")
        await until(client, "# 7")
        whole = [text for text in heard(client) if text[0] != "="]
    missed = whole[whole.index("# 3") + 1 :]
    assert missed == [*("assistant: you said one", "# 4"), *("user: list two three", "# 6"), *missed[-4:]]
    async with lines(port, session_id, after=3) as client:
        await until(client, "# 7")
        assert heard(client) == ["= send_delta 8", *missed]
        await client.send_raw("resume 3")
        await until(client, "# 7")
        assert heard(client) == ["= send_delta 8", *missed, *missed]
    assert [frame["seq"] for frame in neighbour.durable] == list(range(1, 9))


async def test_what_was_streamed_to_a_connection_is_not_said_there_again(session_id: str) -> None:
    dialect = Lines()
    async with serve_lines(dialect) as port, lines(port, session_id) as client:
        await until(client, "# 1")
        async with lines(port, session_id) as second:
            await until(second, "# 1")
            await client.send_raw("say a stream 0.05 one two")
            for tab in (client, second):
                await until(tab, "# 4")
        assert "assistant: onetwo" not in heard(client) + heard(second)
        assert next(text for text in heard(client) if text[0] == "~") == "~~"
        assert "".join(text.removeprefix("~ ") for text in heard(client) if text[:2] == "~ ") == "onetwo"
        async with lines(port, session_id) as late:
            await until(late, "# 4")
            assert "assistant: onetwo" in heard(late)
    assert len(dialect.connections) == 3


@pytest.mark.parametrize(("gap_ms", "replay_gap_ms"), [(60, 30), (30, 60)])
async def test_its_pace_is_kept_before_each_text_that_a_person_sees(
    session_id: str, gap_ms: int, replay_gap_ms: int
) -> None:
    async with serve_lines(Lines(gap_ms=gap_ms, replay_gap_ms=replay_gap_ms)) as port:
        async with lines(port, session_id) as client:
            await until(client, "# 1")
            began = time.monotonic()
            await client.send_raw("say a list tea milk")
            await until(client, "# 4")
            live_s = time.monotonic() - began
        began = time.monotonic()
        async with lines(port, session_id) as client:
            await until(client, "# 4")
            replay_s = time.monotonic() - began
            texts = len(heard(client))
    assert texts == 1 + 2 + 2 + 4
    # The first text may go at once, and the gaps stand between the others.
    assert live_s >= 5 * gap_ms / 1000
    assert replay_s >= 7 * replay_gap_ms / 1000


async def test_a_version_of_ours_that_no_dialect_has_is_still_refused(port: Served) -> None:
    async with Client(port, subprotocol="rejoinder.words") as client:
        assert await client.until_closed() == 4010


class Faulty(Lines):
    """Cannot say one line."""

    def connect(self) -> Lines:
        return self

    def encode_events(self, events: Sequence[Event]) -> list[Encoded]:
        if any(event.payload.get("text") == "unspeakable" for event in events):
            raise ValueError("unspeakable")
        return super().encode_events(events)


async def test_a_fault_of_a_dialect_leaves_no_hole_and_is_no_matter_of_the_others(session_id: str) -> None:
    """Live, and at the replay."""
    async with serve_lines(Faulty()) as port, Client(port, session_id=session_id) as neighbour:
        async with lines(port, session_id) as client:
            await until(client, "# 1")
            await neighbour.turn("one")
            await neighbour.turn("unspeakable")
            assert await client.until_closed() == 4100
            assert heard(client)[-1] == "# 4"
        await neighbour.turn("two")
        async with lines(port, session_id, after=4) as client:
            assert await client.until_closed() == 4100
            assert heard(client) == ["= send_delta 11"]
        assert [frame["seq"] for frame in neighbour.durable] == list(range(1, 12))


# ---------------------------------------------------------------- once for all


class Counted:
    """The encoder of the envelope, and how often it made a durable frame and a transient one of each type."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.durable: list[int] = []
        self.transient: list[str] = []
        self._encode = native._encode
        monkeypatch.setattr(native, "_encode", self)

    def __call__(self, envelope: native._Envelope) -> bytes:
        if envelope.seq:
            self.durable.append(envelope.seq)
        else:
            self.transient.append(envelope.type)
        return self._encode(envelope)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def test_a_live_event_is_encoded_once_however_many_tabs_and_dialects(
    port: Served, session_id: str, encoded: Counted
) -> None:
    tabs = [Client(port, native=number % 2 == 0, session_id=session_id) for number in range(6)]
    for tab in tabs:
        await tab.__aenter__()
        await tab.until_type("state_update")
    for tab in tabs[::2]:
        await tab.until_type("live")
    encoded.durable.clear()
    await tabs[0].turn("hello")
    for tab in tabs[1:]:
        await tab.until_type("state_update")
    assert encoded.durable == [3, 4, 5]

    encoded.durable.clear()
    encoded.transient.clear()
    await tabs[0].say("stream 0.05 one two")
    for tab in tabs:
        await tab.until_type("state_update")
    assert encoded.durable == [6, 7, 8]
    pieces = [frame["message_id"] for frame in tabs[0].frames if frame["type"] == "stream_delta"]
    assert encoded.transient.count("stream_delta") == 2 * len(pieces)  # once in each dialect, and not for each tab
    for tab in tabs:
        await tab.close()


async def test_nothing_is_encoded_where_nobody_hears_of_it(port: Served, session_id: str, encoded: Counted) -> None:
    async with Client(port, session_id=session_id) as client:
        await client.until_type("live")
        line = await client.say("sleep 0.3")
        await client.until_type("ack", id=line)
        await client.until_type("status_update")
    encoded.durable.clear()
    encoded.transient.clear()
    async with Client(port, session_id=str(uuid.uuid4())) as other:
        await other.until_type("live")
        before = list(encoded.durable), list(encoded.transient)
        await other.turn("sleep 0.6")
        during = encoded.durable[len(before[0]) :]
    assert during == [3, 4, 5]  # its own, and none of the turn that ended meanwhile
    async with Client(port, session_id=session_id, after=3) as client:
        assert (await client.until_type("sync_response"))["payload"]["head"] == 5
