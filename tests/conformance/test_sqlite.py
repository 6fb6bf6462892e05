"""What only the SQLite store promises: its settings, its statements, one file for two of them, and its locks."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server.errors import StoreUnavailable
from server.records import Committed, Conflict, Duplicate, Missing, SessionKey, Write, fold
from server.settings import Settings
from server.store.open import open_store
from server.store.sqlite.store import _PUBLISHED, MEMORY, SqliteStore
from tests.conformance.opened import opened, pragma, writer
from tests.support.writes import USER, accept, commit, committed, event, greeting, log_of, open_session, snapshot, turn

HOLD_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin immediate")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("rollback")
print("released", flush=True)
sys.stdin.readline()
"""


# ---------------------------------------------------------------- settings


async def test_the_writer_has_a_synced_write_ahead_log(path: str) -> None:
    async with opened(path) as store:
        assert pragma(writer(store), "journal_mode") == "wal"
        assert pragma(writer(store), "synchronous") == 2  # FULL
        assert pragma(writer(store), "fullfsync") == 1
        assert "WAL, synchronous=FULL" in store.durability


async def test_durability_does_not_promise_too_much(path: str) -> None:
    async with opened(path, synchronous="NORMAL") as store:
        assert pragma(writer(store), "synchronous") == 1
        assert store.durability.startswith("process crash only")
    assert SqliteStore(MEMORY).durability == "none (in memory)"


async def test_readers_are_apart_and_cannot_write(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        await log_of(store, before.session_id)
        readers = store._connections[1:]
        assert readers
        for reader in readers:
            assert pragma(reader, "query_only") == 1
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("delete from events")


async def test_readers_do_not_wait_for_a_writer(path: str) -> None:
    async with opened(path, busy_ms=600_000) as store:
        before = await open_session(store)
        with locked(path):
            writing = asyncio.create_task(commit(store, accept(before.session_id, "c1")))
            async with asyncio.timeout(20):
                for _ in range(10):
                    assert await snapshot(store, before.session_id) == before
                    assert len(await log_of(store, before.session_id)) == 2
            assert not writing.done()
        assert isinstance(await writing, Committed)


async def test_what_was_committed_is_there_after_a_restart(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
        await committed(store, accept(before.session_id, "c1"))
        log = await log_of(store, before.session_id)
    async with opened(path) as store:
        assert await log_of(store, before.session_id) == log
        assert not isinstance(await commit(store, accept(before.session_id, "c1")), Committed)


# ---------------------------------------------------------------- statements


async def _statements(store: SqliteStore, writes: list[Write]) -> tuple[list[str], int]:
    """The kinds of statements of a batch, each once however often it ran, and how many inserts there were.

    A statement with a trigger is told once more for each statement of the trigger.
    """
    traced: list[str] = []
    writer(store).set_trace_callback(traced.append)
    outcomes = await store.commit(writes)
    writer(store).set_trace_callback(None)
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    kinds = [" ".join(sql.split()[:3]) for sql in traced]
    rows = sum(kind.startswith("insert") for kind in kinds)
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1 : place] != [kind]], rows


async def _batch(store: SqliteStore, count: int) -> list[Write]:
    """Lines and their answers, of so many sessions."""
    some = [await open_session(store) for _ in range(count)]
    return [write for one in some for write in (accept(one.session_id, "c1"), turn(one, answers=3))]


@pytest.mark.parametrize("path", [MEMORY])
async def test_a_batch_of_sessions_that_are_known_is_one_statement(path: str) -> None:
    async with opened(path) as store:
        for count in (1, 100):
            kinds, _ = await _statements(store, await _batch(store, count))
            (kind,) = kinds
            assert kind.startswith("insert into batch_")


@pytest.mark.parametrize("path", [MEMORY])
@pytest.mark.parametrize(("sessions", "said"), [(1, 200), (13, 1), (33, 9), (64, 3)])
async def test_a_batch_of_any_shape_is_one_statement_and_all_of_it_is_written(
    path: str, sessions: int, said: int
) -> None:
    async with opened(path) as store:
        some = [await open_session(store) for _ in range(sessions)]
        writes = [turn(one, *(event(one.session_id) for _ in range(said)), memory={"said": said}) for one in some]
        kinds, _ = await _statements(store, writes)
        assert kinds[0].startswith("insert into batch_")
        for before in some:
            loaded = await store.load(before.key, 0, 1_000)
            assert loaded is not None
            assert loaded.snapshot == fold(loaded.events, before.user_id)
            assert (loaded.snapshot.seq, loaded.snapshot.memory) == (before.seq + said + 1, {"said": said})


@pytest.mark.parametrize("path", [MEMORY])
async def test_no_value_of_a_batch_has_to_be_adapted(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library looks for an adapter for every None, and for most values makes an error when it finds none."""
    adapted: list[None] = []
    adapters: dict[Any, Any] = sqlite3.adapters  # of its own key type mypy, started cold, infers nothing in some runs
    monkeypatch.setitem(adapters, (type(None), sqlite3.PrepareProtocol), adapted.append)
    async with opened(path) as store:
        before = [await open_session(store) for _ in range(5)]
        adapted.clear()  # the greetings came by the long way
        for outcome in await store.commit([turn(one) for one in before]):
            assert isinstance(outcome, Committed)
        assert adapted == []


@pytest.mark.parametrize("path", [MEMORY])
async def test_what_is_null_comes_back_as_null_and_a_nought_as_it_was(path: str) -> None:
    async with opened(path) as store:
        await committed(store, greeting("0", user_id="0"))
        before = await snapshot(store, "0", user_id="0")
        await committed(store, accept("0", "0", user_id="0"))
        asked = event("0", "action_request", message_id="0")
        await committed(store, turn(before, asked, memory={"kept": 0}, user_id="0"))
        known = await snapshot(store, "0", user_id="0")
        assert (known.card, known.memory) == ("0", {"kept": 0})
        assert await store.find(SessionKey("0", "0"), "0") is not None
        await committed(store, turn(known, to="ELSEWHERE", user_id="0"))
        last = await snapshot(store, "0", user_id="0")
        assert (last.card, last.memory) == (None, {"kept": 0})
        assert [one.client_id for one in await store.read(SessionKey("0", "0"), 0, 100)].count("0") == 1


@pytest.mark.parametrize("path", [MEMORY])
async def test_a_batch_of_more_values_than_a_statement_takes_is_written_all_the_same(path: str) -> None:
    async with opened(path) as store:
        some = [await open_session(store) for _ in range(800)]
        kinds, _ = await _statements(store, [accept(one.session_id) for one in some])
        assert kinds[0] == "begin immediate"


@pytest.mark.parametrize("path", [MEMORY])
async def test_a_batch_of_any_size_has_few_statements(path: str) -> None:
    async with opened(path, known_limit=0) as store:
        expected = ["begin immediate", "select json_group_array(json_array(session_id, user_id,"]
        expected += ["select json_group_array(json_array(session, seq,"]
        expected += ["insert into events", "insert into sessions", "commit"]
        assert await _statements(store, await _batch(store, 1)) == (expected, 2 + 1)  # two events, one session
        # 200 events by 64, 64, 64, 4 and 4 of them; 100 sessions by 64, 16, 16 and 4.
        assert await _statements(store, await _batch(store, 100)) == (expected, 5 + 4)


@pytest.mark.parametrize("path", [MEMORY])
async def test_the_sessions_that_were_written_longest_ago_are_looked_up_again(path: str) -> None:
    async with opened(path, known_limit=2) as store:
        one, two, three = [await open_session(store) for _ in range(3)]
        for session, is_known in ((two, True), (three, True), (one, False), (two, False), (one, True)):
            kinds, _ = await _statements(store, [accept(session.session_id)])
            assert kinds[0].startswith("insert into batch_") is is_known


async def test_a_session_that_another_process_has_written_is_looked_up_again(path: str) -> None:
    async with opened(path) as one, opened(path) as two:
        before, other = await open_session(one), await open_session(one)
        await committed(two, accept(before.session_id, "c1"))
        outcomes = await one.commit([accept(other.session_id, "c1"), accept(before.session_id, "c2")])
        assert [type(outcome) for outcome in outcomes] == [Committed, Committed]
        log = await log_of(two, before.session_id)
        assert [event.client_id for event in log[2:]] == ["c1", "c2"]
        assert await commit(one, accept(before.session_id, "c1")) == Duplicate(log[2])
        assert await two.delete(SessionKey(USER, before.session_id))
        assert await commit(one, accept(before.session_id, "c3")) == Missing()


# ---------------------------------------------------------------- two stores, one file


async def test_two_stores_on_one_file_see_each_others_commits(path: str) -> None:
    async with opened(path) as one, opened(path) as two:
        before = await open_session(one)
        assert await snapshot(two, before.session_id) == before
        [line] = await committed(two, accept(before.session_id, "c1"))
        assert await one.find(SessionKey(USER, before.session_id), "c1") == line
        await committed(one, turn(before, answers=3))
        assert await commit(two, turn(before, answers=3)) == Conflict(2)


async def test_two_stores_have_one_winner_a_version(path: str) -> None:
    async with opened(path) as one, opened(path) as two:
        before = await open_session(one)
        for version in range(1, 21):
            outcomes = await asyncio.gather(commit(one, turn(before)), commit(two, turn(before)))
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Conflict"]
            before = await snapshot(two, before.session_id)
            assert before.version == version + 1
        assert before.seq == 2 + 20


async def test_many_stores_may_open_a_new_file_at_once(path: str) -> None:
    stores = [SqliteStore(path) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    before = await open_session(stores[0])
    for store in stores:
        assert await snapshot(store, before.session_id) == before
        await store.close()


# ---------------------------------------------------------------- locks


@contextlib.contextmanager
def locked(path: str) -> Iterator[Callable[[], None]]:
    """Another process holds the write lock until the end, or until it is told to let go."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"

        def release() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "released\n"

        yield release
        with contextlib.suppress(BrokenPipeError):
            process.communicate("\n\n", timeout=60)


async def test_a_start_waits_for_no_lock(path: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
    with locked(path):
        async with opened(path, busy_ms=0) as store:
            assert (await store.load(before.key, 0, 10)) is not None


async def test_a_lock_is_waited_for(path: str) -> None:
    async with opened(path, busy_ms=60_000) as store:
        before = await open_session(store)
        with locked(path) as release:
            writing = asyncio.create_task(commit(store, accept(before.session_id, "c1")))
            await asyncio.wait([writing], timeout=0.2)
            assert not writing.done()
            release()
            assert isinstance(await writing, Committed)


async def test_a_lock_that_is_held_too_long_is_given_up(path: str) -> None:
    async with opened(path, busy_ms=50) as store:
        before = await open_session(store)
        with locked(path):
            with pytest.raises(StoreUnavailable, match="locked"):
                await commit(store, accept(before.session_id, "c1"))
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.delete(SessionKey(USER, before.session_id))
            assert await snapshot(store, before.session_id) == before
        await committed(store, accept(before.session_id, "c1"))


async def test_a_published_page_is_found_by_an_index(path: str) -> None:
    async with opened(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        [(*_, plan)] = connection.execute(f"explain query plan {_PUBLISHED}", ("m1", "drawing")).fetchall()
    assert plan == "SEARCH events USING INDEX events_own (message_id=?)"


# ---------------------------------------------------------------- a call that takes too long


async def test_a_call_without_an_answer_in_time_is_given_up_and_may_still_take_effect(path: str) -> None:
    async with opened(path, busy_ms=600_000, timeout_ms=100) as store:
        before = await open_session(store)
        with locked(path) as release:
            begun = asyncio.create_task(commit(store, accept(before.session_id, "c1")))
            behind = asyncio.create_task(commit(store, accept(before.session_id, "c2")))
            for writing in (begun, behind):
                with pytest.raises(StoreUnavailable, match="no answer within 100 ms"):
                    await writing
            assert await snapshot(store, before.session_id) == before, "readers do not wait"
            release()
            async with asyncio.timeout(20):
                while len(await log_of(store, before.session_id)) < 3:
                    await asyncio.sleep(0.01)  # polling the file: nobody waits for that commit any more
        assert isinstance(await commit(store, accept(before.session_id, "c1")), Duplicate)
        assert isinstance(await commit(store, accept(before.session_id, "c2")), Committed), "it had not begun"


async def test_a_call_that_is_waited_for_has_its_time_however_many_came_before(path: str) -> None:
    """The clock goes on while calls follow each other, and none of them is late."""
    async with opened(path, timeout_ms=200) as store:
        before = await open_session(store)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert await snapshot(store, before.session_id) == before


@pytest.mark.parametrize("held_up", ["by a lock", "by a disk"])
async def test_a_server_over_one_file_keeps_the_stores_deadline(path: str, held_up: str) -> None:
    async with opened(path) as store:
        before = await open_session(store)
    served = open_store(Settings(store_url=f"sqlite:///{path}", store_timeout_ms=100))
    assert isinstance(served, SqliteStore)
    await served.open()
    goes_on = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(goes_on.set)
        if held_up == "by a lock":
            stack.enter_context(locked(path))
        else:
            served._writer.call(goes_on.wait)  # as a sync that does not return
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await commit(served, accept(before.session_id, "c1"))
    await served.close()
