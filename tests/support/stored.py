"""Stored sessions to look at, and what scripts/check_session_state.py says of them."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from server.records import Committed, Event, SessionKey, Update, Write
from server.store.library import FullStore
from server.store.sqlite.store import SqliteStore
from tests.support.process import ROOT

SCRIPT = ROOT / "scripts" / "check_session_state.py"
SESSION = "5f1c8a52-0d5e-4f0e-9a55-1c6f6f0f8a01"
KEY = SessionKey(user_id="u", session_id=SESSION)
START_MS = 1_763_000_000_000


class Seen(NamedTuple):
    """What a run of the script came to."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.out)
        return report

    @property
    def broken(self) -> set[str]:
        return {name for name, law in self.report["invariants"].items() if not law["ok"]}


def check(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path = ROOT, prefix: Sequence[str] = ()
) -> Seen:
    """Run the script as a person would; `prefix` is a command that runs it with fewer rights."""
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    ended = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT), *arguments],
        env={**bare, **(environ or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") <= 1
    return Seen(ended.returncode, ended.stdout, ended.stderr)


def check_file(database: Path, *arguments: str, prefix: Sequence[str] = ()) -> Seen:
    return check(SESSION, "--store", f"sqlite:///{database}", *arguments, prefix=prefix)


# ---------------------------------------------------------------- sessions to look at


def event(kind: str, payload: dict[str, Any], turn: int = 0, role: str = "assistant") -> Event:
    return Event(
        session_id=SESSION,
        type=kind,
        role=role,
        message_id=f"m-{os.urandom(8).hex()}",
        payload=payload,
        created_at=START_MS,
        turn=turn,
        client_id=f"c-{os.urandom(8).hex()}" if role == "user" else None,
    )


def said(text: str, turn: int = 0) -> Event:
    return event("chat_message", {"text": text, "sub_title": None, "list_items": None, "format": "markdown"}, turn)


def ended(came_from: str | None, to: str, intent: str, turn: int = 0, **memory: Any) -> Event:
    payload = {"from": came_from, "to": to, "intent": intent, "turn": turn, "memory": memory}
    if came_from is None:
        payload["workflow"] = "builder"
    return event("state_update", payload, turn, role="system")


class Talk:
    """A conversation with a real store, turn by turn."""

    def __init__(self, store: FullStore) -> None:
        self._store = store
        self._memory: dict[str, Any] = {}
        self._version = 0
        self._card: str | None = None

    async def say(self, text: str) -> int:
        line = event("chat_message", {"text": text, "format": "plain"}, role="user")
        return (await self._commit(Write(session_id=SESSION, user_id="u", events=(line,), client_id=line.client_id)))[
            0
        ].seq

    async def answer(self, *events: Event) -> None:
        change = events[-1].payload
        self._memory |= change["memory"]
        cards = [one.message_id for one in events if one.type == "action_request"]
        self._card = cards[-1] if cards else self._card if change["from"] == change["to"] else None
        update = Update(
            workflow="builder", state=change["to"], cursor=change["turn"], memory=self._memory, card=self._card
        )
        turn = Write(
            session_id=SESSION, user_id="u", events=tuple(events), expected_version=self._version, update=update
        )
        await self._commit(turn)
        self._version += 1

    async def _commit(self, write: Write) -> Sequence[Event]:
        (outcome,) = await self._store.commit([write])
        assert isinstance(outcome, Committed)
        return outcome.events


PLAN = {
    "prompt_text": "Does this look right?",
    "actions": [
        {"label": "Yes, let's build it!", "value": "accept_plan", "primary": True, "requires_input": False},
        {"label": "I'd like changes", "value": "reject_plan", "primary": False, "requires_input": True},
    ],
}


async def talk_until_plan(talk: Talk) -> None:
    """Greeting, topic, questions, answers, plan: 6 visible messages, 9 events."""
    await talk.answer(said("Hello!"), ended(None, "PROVIDE_GREETING", "Open"))
    line = await talk.say("I need a presentation about Krishna.\n\nPlease.")
    asked = ended("PROVIDE_GREETING", "ASK_CLARIFYING_QUESTIONS", "Submit_Initial_Topic", line, topic="Krishna")
    await talk.answer(said("Who is it for?", line), asked)
    line = await talk.say("Children, 10 min")
    planned = ended(
        "ASK_CLARIFYING_QUESTIONS",
        "CREATE_CONFIRMATION_PLAN",
        "Submit_Clarification_Answers",
        line,
        slides=list(range(99)),
    )
    await talk.answer(said("Here is the plan.", line), event("action_request", PLAN, line), planned)


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(path))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def stopped(folder: Path) -> Path:
    """A stopped server's file, with a sound session of three turns."""
    path = folder / "a?#%.db"  # what a URI must quote
    async with opened(path) as store:
        await talk_until_plan(Talk(store))
    return path


def edit(database: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
