#!/usr/bin/env python3
"""Shows a stored session and checks it: scripts/check_session_state.py SESSION_ID [--user ID] [--json] [--store URL].

Reads the settings that the server reads, so it looks where the server looks: SQLite, PostgreSQL, Supabase or Redis. It
changes nothing, so it is safe beside a running server.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    import argparse
    import shlex
    import shutil
    import textwrap
    import time
    from typing import TYPE_CHECKING, Any, NoReturn

    import msgspec

    from server.errors import ConfigError, StoreError, WorkflowError
    from server.ops.diagnosis import TEXT_CHARS, Entry, Report, diagnose, one_line, utc
    from server.records import SessionKey
    from server.settings import Settings
    from server.store.inspect.contract import Damaged
    from server.store.inspect.open import open_inspector
except (ImportError, SyntaxError, TypeError) as missing:  # a python3 without our packages, or older than ours
    folder = Path(__file__).resolve().parents[1]
    fitted = folder / ".venv" / "bin" / "python"
    if fitted.exists() and Path(sys.prefix).resolve() != (folder / ".venv").resolve():
        os.execv(str(fitted), [str(fitted), *sys.argv])
    sys.stderr.write(
        f"{Path(__file__).name}: {missing}; run scripts/setup serve, or scripts/serve once, which does it\n"
    )
    sys.exit(2)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
SOUND, NOT_FOUND, UNREACHABLE, BROKEN, USAGE = 0, 1, 2, 3, 64
STATUS = """exit status:
   0  the session is sound
   1  there is no such session
   2  the store could not be read: it is away or locked, refuses the key, has no conversations, or bad settings
   3  the session is there and something is wrong with it
  64  the command line is wrong
"""
RED, GREEN, BOLD, DIM = "31;1", "32", "1", "2"


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line and whose status is not that of an unreachable store."""

    def error(self, message: str) -> NoReturn:
        """Complain and end."""
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")


class Screen:
    """Where lines go: as wide as the terminal and coloured on one, uncut and plain in a pipe."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self.width = max(shutil.get_terminal_size().columns, 60) if is_terminal else None
        self._is_coloured = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def paint(self, colour: str, text: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_coloured else text

    def title(self, text: str) -> None:
        """A heading."""
        print(f"\n{self.paint(BOLD, text)}")

    def row(self, head: str, text: str, colour: str = DIM) -> None:
        """A line that fits: what is too long for it is cut off."""
        room = None if self.width is None else self.width - len(head)
        print(self.paint(colour, head) + (text if room is None or len(text) <= room else text[: room - 1] + "…"))

    def words(self, text: str, indent: str = "  ") -> None:
        """A sentence, on as many lines as it takes."""
        wrapped = textwrap.wrap(text, (self.width or 0) - len(indent)) if self.width else [text]
        print(textwrap.indent("\n".join(wrapped), indent))


def main(arguments: Sequence[str]) -> int:
    """Look at one session; the answer is the exit status."""
    parser = Parser(
        prog=Path(__file__).name,
        description="Shows a stored session (details, conversation, memory, what a reconnect restores) and checks it. "
        "Reads the server's own settings from the environment, whatever store they name, and changes nothing.",
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("session_id", metavar="SESSION_ID")
    parser.add_argument("--user", metavar="ID", help="the owner, where several users have a session of this id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="instead of STORE_URL: postgresql://…, redis://…, supabase (with SUPABASE_URL and SUPABASE_SERVICE_KEY),"
        " or sqlite:///var/x.db, a file in this repository's folder",
    )
    wanted = parser.parse_args(arguments)
    session_id = wanted.session_id
    os.chdir(ROOT)  # where scripts/serve runs the server: a relative path means the same file
    began = time.perf_counter()
    try:
        report = examine(session_id, wanted.user, {"STORE_URL": wanted.store} if wanted.store is not None else {})
    except ConfigError as error:
        return complain(UNREACHABLE, "; ".join(error.complaints))
    except (StoreError, WorkflowError) as error:
        return complain(UNREACHABLE, str(error))
    except ImportError as missing:  # the library of a store that this python was not set up for
        return complain(UNREACHABLE, f"{missing}; run scripts/setup serve")
    if isinstance(report, Damaged):
        where = f"event {report.seq}" if report.seq else "its row in sessions"
        return complain(BROKEN, f"session {session_id} is damaged: {where}: {report.reason}")
    if isinstance(report, list):
        names = ", ".join(shlex.quote(owner) for owner in report)
        return complain(USAGE, f"several users have a session {session_id}: add --user with one of: {names}")
    if report is None:
        return complain(NOT_FOUND, f"there is no session {session_id}")
    if wanted.json:
        print(msgspec.json.format(msgspec.json.encode(as_json(report))).decode())
    else:
        show(report, Screen(), time.perf_counter() - began)
    return SOUND if report.is_sound else BROKEN


def examine(session_id: str, user_id: str | None, overrides: dict[str, str]) -> Report | Damaged | list[str] | None:
    """Read the session and diagnose it; its owners where that is several.

    Raises ConfigError, StoreError and WorkflowError.
    """
    from server.workflows.registry import find_workflows  # reads every workflow: one of them may be wrong

    if not is_text(f"{session_id}{user_id or ''}"):
        return None
    settings = Settings.from_env({**os.environ, **overrides})
    with open_inspector(settings) as inspector:
        owners = list(inspector.owners(session_id)) if user_id is None else [user_id]
        if len(owners) != 1:
            return owners or None
        snapshot, log, lease_ms = inspector.look(SessionKey(user_id=owners[0], session_id=session_id))
        if snapshot is None:
            orphan = next(log, None)
            return Damaged(orphan.seq, "it is in the log, but sessions has no such session") if orphan else None
        if isinstance(snapshot, Damaged):
            return snapshot
        return diagnose(snapshot, log, lease_ms, find_workflows().get(snapshot.workflow))


def is_text(word: str) -> bool:
    """Whether it can be an id: an argument of other bytes than UTF-8 cannot."""
    try:
        return bool(word.encode())
    except UnicodeEncodeError:
        return False


def complain(status: int, sentence: str) -> int:
    """Say on one line what is wrong; the answer is the status."""
    print(f"{Path(__file__).name}: {one_line(sentence, 1000)}", file=sys.stderr)
    return status


def as_json(report: Report) -> dict[str, Any]:
    """The report as one object; times as on the wire."""
    session = msgspec.to_builtins(report.session)
    memory = session.pop("memory")
    return {
        "session": session | {name: utc(session[name]) for name in ("created_at", "updated_at")},
        "lease_ms": report.lease_ms,
        "history": [msgspec.to_builtins(entry) | {"created_at": utc(entry.created_at)} for entry in report.history],
        "memory": memory,
        "restoration": {**msgspec.to_builtins(report.restoration), "words": list(restoration(report))},
        "invariants": {
            name: {"ok": law.is_kept, "says": law.says, "count": law.count, "problems": law.problems}
            for name, law in report.laws.items()
        },
        "sound": report.is_sound,
    }


def show(report: Report, screen: Screen, seconds: float) -> None:
    """Print the report for a person."""
    session, restored, lease_ms = report.session, report.restoration, report.lease_ms
    screen.title("Session")
    for name, value in {
        "id": session.session_id,
        "user": session.user_id,
        "workflow": session.workflow,
        "state": session.state,
        "version": f"{session.version} (turns)",
        "seq": f"{session.seq} (last event)",
        "cursor": f"{session.cursor} (last line answered)",
        "created": utc(session.created_at),
        "updated": utc(session.updated_at),
        "at work": "nobody holds a lease" if lease_ms is None else f"a process (lease ends in {lease_ms} ms)",
    }.items():
        screen.row(f"  {name:<9}", one_line(value, 200))
    screen.title(f"Conversation: {restored.frames} events, {restored.messages} visible, times in UTC")
    show_history(report.history, screen)
    screen.title("Memory" if session.memory else "Memory: empty")
    rows = dict(sorted(session.memory.items()))
    width = max((len(one_line(key)) for key in rows), default=0)
    for key, value in rows.items():
        screen.row(f"  {one_line(key):<{width}}  ", one_line(value))
    screen.title("Restoration")
    for sentence in restoration(report):
        screen.words(sentence)
    screen.title("Invariants")
    for name, law in report.laws.items():
        verdict = screen.paint(GREEN, "ok    ") if law.is_kept else screen.paint(RED, "BROKEN")
        print(f"  {verdict}  {name:<11}  {law.says}")
        for problem in law.problems:
            screen.words(problem, " " * 10)
        if law.count > len(law.problems):
            screen.words(f"… and {law.count - len(law.problems)} more", " " * 10)
    verdict = screen.paint(GREEN, "Sound.") if report.is_sound else screen.paint(RED, "BROKEN.")
    print(f"\n{verdict} {restored.frames} events read and checked in {seconds:.2f} s.")


def show_history(history: Sequence[Entry], screen: Screen) -> None:
    """One line an event, with the date where it changes; on a narrow terminal, the text has a line of its own."""
    whose = max((len(origin(entry)) for entry in history), default=0)
    known = max((len(place(entry)) for entry in history), default=0)
    number = max((len(str(entry.seq)) for entry in history), default=0)
    is_narrow = screen.width is not None and screen.width < 16 + number + whose + known + TEXT_CHARS
    date = ""
    for entry in history:
        day, _, clock = utc(entry.created_at).partition("T")
        if clock and day != date:
            date = day
            print(screen.paint(DIM, f"  {date}"))
        head = f"  {entry.seq:>{number}}  {clock[:8] or day:<8}  "
        if is_narrow:
            screen.row(head, f"{origin(entry):<{whose}}  {place(entry)}".rstrip())
            screen.row(" " * (number + 4), entry.text)
        else:
            screen.row(head, f"{origin(entry):<{whose}}  {place(entry):<{known}}  {entry.text}")


def origin(entry: Entry) -> str:
    """Who said it, and what it is."""
    return one_line(f"[{entry.role}] {entry.type}")


def place(entry: Entry) -> str:
    """What a line was understood as; in which state the rest of its turn was said."""
    if entry.type == "state_update":
        return ""  # its text has both
    if entry.role == "user":
        return one_line(entry.intent or "(no answer)")
    return one_line(entry.state or "")


def restoration(report: Report) -> Iterator[str]:
    """What a client that reconnects will find, in words."""
    restored, head = report.restoration, report.session.seq
    yield f"State is {one_line(restored.state)} – will restore {count(restored.messages, 'message')}."
    yield (
        f"A client that has nothing gets sync_response and then all {count(restored.frames, 'frame')}, "
        f"{restored.messages} of them visible; one that has event N gets the events behind it, up to {head}."
    )
    if restored.unanswered:
        yield (
            f"{count(restored.unanswered, 'line')} without an answer, the first since {restored.unanswered_since} "
            f"(event {restored.unanswered_from}): "
            + (
                "will be answered by a running server, at a reconnect or its next sweep."
                if restored.will_be_answered
                else "will NOT be answered, because the cursor has passed it or the session does not count it."
            )
        )
    else:
        yield "Every line has its answer."
    card = restored.action_request
    if card is None:
        yield "No action request is open."
    elif card.seq is None:
        yield f"The open action request is {one_line(card.message_id)}, but the log does not have it."
    else:
        choices = one_line(" | ".join(card.buttons), 1000)
        yield f"The open action request is event {card.seq}: {card.prompt} [{choices}]"
    if restored.told is None:
        yield "What the workflow adds to sync_response is unknown: it is not there, or cannot read the memory."
    else:
        yield from (
            f"sync_response tells {one_line(name)}: {one_line(told, 1000)}" for name, told in restored.told.items()
        )
    if (page := restored.page) is not None:
        yield f"The last published page is event {page.seq}, at {one_line(restored.page_path, 1000)}"
    else:
        yield "No page is published."
    if not report.is_sound:
        yield "Something below is BROKEN, so this may come out differently."


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a character shows its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = SOUND
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
