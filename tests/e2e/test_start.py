"""A server that cannot start says why in a sentence, and with its exit status."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT, free_port


async def start(**environ: str) -> tuple[int | None, str]:
    """The exit status of a server with this environment, and what it said."""
    return await start_in(ROOT, **environ)


async def start_in(cwd: Path, /, **environ: str) -> tuple[int | None, str]:
    """The same for the server of another folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "server",
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PORT": "0", "LOG_FORMAT": "json", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_a_wrong_environment_is_told_all_at_once() -> None:
    status, said = await start(HEARTBEAT_MS="soon", INBOX_LIMIT="-1", SESSION_IDEL_MS="5")
    assert status == 2
    assert all(name in said for name in ("HEARTBEAT_MS", "INBOX_LIMIT", "SESSION_IDLE_MS"))
    assert "Traceback" not in said


@pytest.mark.parametrize(("name", "value"), [("STORE_URL", "mysql://db/x"), ("REDIS_URL", "http://r")])
async def test_what_there_is_not_is_refused(name: str, value: str) -> None:
    status, said = await start(**{name: value})
    assert status == 2
    assert name in said


async def test_a_database_that_is_not_there_is_told_in_a_sentence() -> None:
    status, said = await start(DATABASE_URL=f"postgresql://ann:secret@127.0.0.1:{free_port()}/x")
    assert status == 1
    assert "cannot_start" in said
    assert "Traceback" not in said
    assert "secret" not in said


async def test_a_file_that_is_no_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "not.db"
    path.write_bytes(b"no database " * 1000)
    status, said = await start(STORE_URL=f"sqlite:///{path}")
    assert status == 1
    assert "cannot_start" in said
    assert "Traceback" not in said


async def test_a_model_without_its_key_is_told_in_a_sentence() -> None:
    status, said = await start(ASSISTANT="anthropic:claude-haiku-4-5")
    assert status == 2
    assert "ANTHROPIC_API_KEY=: expected a value, as ASSISTANT is anthropic:claude-haiku-4-5" in said
    assert "Traceback" not in said


async def test_a_model_without_its_packages_is_told_in_a_sentence(tmp_path: Path) -> None:
    """A package that cannot be imported stands before the real one."""
    (tmp_path / "pydantic_ai.py").write_text("raise ImportError('not installed')")
    status, said = await start(ASSISTANT="openai:gpt-5-mini", OPENAI_API_KEY="key", PYTHONPATH=str(tmp_path))
    assert status == 2
    assert 'pip install "pydantic-ai-slim[openai]' in said
    assert "Traceback" not in said


async def test_a_wrong_table_is_told_in_a_sentence_with_its_place(tmp_path: Path) -> None:
    """In a copy of the server, with a workflow more."""
    shutil.copytree(ROOT / "server", tmp_path / "server", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "server" / "workflows" / "nap.py").write_text(
        "from server.workflows.chat import greet\n"
        "from server.workflows.table import State, Workflow\n"
        'NAP = Workflow("nap", start="BED", states=[State("BEDD", greet, final=True)])\n'
    )
    status, said = await start_in(tmp_path)
    assert status == 2
    assert said == (
        "The server cannot start:\n  server/workflows/nap.py, line 3: workflow 'nap': start is 'BED', and there is no"
        " such state; did you mean 'BEDD'?\n"
    )
