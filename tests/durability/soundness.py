"""What is in a file after something happened to it, and whether it keeps every law of a stored session."""

import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from server.ops.diagnosis import diagnose
from server.records import Event, SessionKey
from server.store.inspect.contract import Damaged
from server.store.sqlite.inspector import SqliteInspector

Logs = dict[str, list[Event]]


def sound_logs(database: Path, only: Collection[str] | None = None) -> Logs:
    """The log of every session (or of `only` these) of a file that is sound: each page, each session, each law."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        keys = [
            SessionKey(user_id=user_id, session_id=session_id)
            for user_id, session_id in connection.execute("select user_id, session_id from sessions order by rowid")
        ]
        orphans = "select count(*) from events where session not in (select number from sessions)"
        assert connection.execute(orphans).fetchone() == (0,)
    logs: Logs = {}
    with SqliteInspector(str(database)) as inspector:
        for key in keys:
            session_id = key.session_id
            if only is not None and session_id not in only:
                continue
            look = inspector.look(key)
            snapshot, log = look.snapshot, list(look.log)
            assert snapshot is not None
            assert not isinstance(snapshot, Damaged), snapshot
            report = diagnose(snapshot, log)
            broken = {name: law.problems for name, law in report.laws.items() if not law.is_kept}
            assert broken == {}, f"{session_id}: {broken}"
            logs[session_id] = [event for event in log if isinstance(event, Event)]
    return logs


def texts(log: Collection[Event], role: str = "assistant") -> list[str]:
    """What one side said."""
    return [event.payload["text"] for event in log if event.type == "chat_message" and event.role == role]
