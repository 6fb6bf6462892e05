"""What a process asks of the kernel: strace, and the promises in a trace that were made too early."""

import asyncio
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.absent import absent

WRITES: Final = frozenset({"write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev", "pwritev2"})
READS: Final = frozenset({"read", "readv", "recvfrom", "recvmsg"})
SYNCS: Final = frozenset({"fsync", "fdatasync"})
CALLS: Final = ",".join(sorted(WRITES | READS | SYNCS))
#: With which words a promise goes to a client: an ack, or an event of the log.
PROMISE: Final = re.compile(r'type\\":\\"(ack|chat_message|state_update)\\"')
END_S: Final = 5.0

_CALL: Final = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?:\d+<(?P<path>[^>]*)>)?(?P<rest>.*)")
_RESUMED: Final = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_UNFINISHED: Final = "<unfinished ...>"


class Moment(NamedTuple):
    """The begin or the end of a call. `words` is the end of its line: arguments, or the result."""

    name: str
    path: str
    begins: bool
    words: str


class Promise(NamedTuple):
    """Something told to a client: what, how much of the log was not synced then, and how much was since it asked."""

    kind: str
    unsynced: int
    synced: int


def strace(trace: Path, *options: str) -> Sequence[str]:
    """The command that a traced program is appended to. Its pid stays its own (-D); a thread may be any line's."""
    _require_strace()
    return ("strace", "-D", "-f", "-y", "-q", "-s", "8192", "-o", str(trace), *options)


def _require_strace() -> None:
    reason = _why_not()
    if reason is not None:
        absent(reason)


@functools.cache
def _why_not() -> str | None:
    if shutil.which("strace") is None:
        return "there is no strace here (Debian: apt-get install strace)"
    tried = subprocess.run(["strace", "-D", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return (
        f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode or "ptrace" in tried.stderr else None
    )


async def whole(trace: Path, pid: int) -> list[str]:
    """The lines of a trace, once the program has ended."""
    async with asyncio.timeout(END_S):
        while not _is_whole(lines := _read(trace), pid):
            await asyncio.sleep(0.02)  # strace writes on when the program has ended
    return lines


def _read(trace: Path) -> list[str]:
    return trace.read_text(errors="replace").splitlines()


def _is_whole(lines: Sequence[str], pid: int) -> bool:
    """strace's word that the program has ended stands last."""
    return any(re.match(rf"{pid} +\+\+\+ ", line) for line in lines[-5:])


def moments(lines: Sequence[str]) -> Iterator[Moment]:
    """Every begin and end of a call, in the order of the trace."""
    begun: dict[str, tuple[str, str]] = {}
    for line in lines:
        if (call := _CALL.match(line)) is not None:
            name, path = call["name"], call["path"] or ""
            yield Moment(name, path, True, call["rest"])
            if call["rest"].endswith(_UNFINISHED):
                begun[call["thread"]] = name, path
            else:
                yield Moment(name, path, False, call["rest"])
        elif (resumed := _RESUMED.match(line)) is not None and resumed["thread"] in begun:
            yield Moment(*begun.pop(resumed["thread"]), False, resumed["rest"])


def promises(lines: Sequence[str], log: Path) -> list[Promise]:
    """Every promise of a trace in which nothing is written to `log` but what the next promise is about."""
    made: list[Promise] = []
    written = covered = synced = heard = 0
    for name, path, begins, words in moments(lines):
        if path == str(log) and name in WRITES and begins:
            written += 1
        elif path == str(log) and name in SYNCS:
            if begins:
                covered = written
            elif words.endswith("= 0"):
                synced = covered
        elif path.startswith(("socket:", "TCP:")):
            if name in READS and not begins and not words.endswith("= 0") and "= -1" not in words:
                heard = synced
            elif name in WRITES and begins:  # several frames may go out with one write
                made += [Promise(kind, written - synced, synced - heard) for kind in PROMISE.findall(words)]
    return made
