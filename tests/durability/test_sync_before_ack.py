"""L1, by the kernel's own account: nothing is told to a client before the log that holds it was synced."""

from pathlib import Path
from typing import Final

import pytest

from tests.durability.process import WrappedProcess
from tests.durability.syscalls import CALLS, Promise, moments, promises, strace, whole
from tests.support.wire import Client

#: Slow steps, so that a turn's own commit is not on its way while its line is acknowledged.
LINES: Final = [f"sleep 0.05{number}" for number in range(8)]


async def trace_of_talk(folder: Path, synchronous: str) -> tuple[WrappedProcess, list[str]]:
    """A conversation with a real server, one line at a time, and its system calls."""
    trace = folder / "trace"
    prefix = strace(trace, "-e", f"trace={CALLS}")
    server = WrappedProcess(folder, prefix, {"SQLITE_SYNCHRONOUS": synchronous, "STATUS_AFTER_MS": "0"})
    try:
        await server.start()
        async with Client(server.port) as client:
            await client.until_type("live")
            for line in LINES:
                await client.turn(line)
        assert await server.stop() == 0
        return server, await whole(trace, server.pid)
    finally:
        await server.close()


def wal(server: WrappedProcess) -> Path:
    return server.database.with_name(server.database.name + "-wal")


async def test_the_log_is_synced_before_anything_is_told(tmp_path: Path) -> None:
    server, lines = await trace_of_talk(tmp_path, "FULL")
    made = promises(lines, wal(server))
    assert [one for one in made if one.unsynced] == []
    acks = [one for one in made if one.kind == "ack"]
    assert len(acks) == len(LINES)
    assert all(ack.synced for ack in acks), "what was synced was written after the line came"
    assert [one.kind for one in made].count("state_update") == 1 + len(LINES)
    folder_synced = [one for one in moments(lines) if one.name == "fdatasync" and one.path == str(tmp_path)]
    assert folder_synced, "a log that its folder forgets is no log"


async def test_without_a_sync_at_each_commit_the_trace_shows_it(tmp_path: Path) -> None:
    server, lines = await trace_of_talk(tmp_path, "NORMAL")
    acks = [one for one in promises(lines, wal(server)) if one.kind == "ack"]
    assert len(acks) == len(LINES)
    assert all(ack.unsynced and not ack.synced for ack in acks)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24", "2 fdatasync(3</d/l-wal>) = 0"], Promise("ack", 0, 1)),
        (["1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24", "2 fdatasync(3</d/l-wal>) = -1 EIO"], Promise("ack", 1, 0)),
        (["1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24", "2 fdatasync(3</d/other>) = 0"], Promise("ack", 1, 0)),
        (["2 fdatasync(3</d/l-wal>) = 0", "1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24"], Promise("ack", 1, 0)),
        (
            ["1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24", "2 fdatasync(3</d/l-wal> <unfinished ...>"],
            Promise("ack", 1, 0),
        ),
        (
            [
                "1 pwrite64(3</d/l-wal>, ..., 24, 0) = 24",
                "2 fdatasync(3</d/l-wal> <unfinished ...>",
                "1 pwrite64(3</d/l-wal>, ..., 24, 24) = 24",
                "2 <... fdatasync resumed>) = 0",
            ],
            Promise("ack", 1, 1),
        ),
    ],
)
def test_a_promise_that_is_made_too_early_is_found(lines: list[str], expected: Promise) -> None:
    heard, told = '1 read(5<socket:[7]>, "...", 99) = 9', r'1 write(5<socket:[7]>, "{\"type\":\"ack\",", 9) = 9'
    assert promises([heard, *lines, told], Path("/d/l-wal")) == [expected]
