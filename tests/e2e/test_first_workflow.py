"""The page about a first workflow is true: its code runs as it stands, on the wire and on the page in Chromium."""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import async_playwright, expect

from tests.e2e.test_page import ARGUMENTS, PATIENCE_MS, chromium_path
from tests.support.process import ROOT, ServerProcess
from tests.support.wire import Client

PAGE: Final = (ROOT / "docs" / "first-workflow.md").read_text(encoding="utf-8")


def files_of_the_page() -> dict[str, str]:
    """Path → text, for every Python block: the sentence before it says where it goes."""
    blocks = re.findall(r"Put this into\s+`([\w/]+\.py)`[^:]*:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    return dict(blocks)


class Clone(ServerProcess):
    """`python -m server` of a copy of the repository to which the page's files were added."""

    module = "server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "clone"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "server", self.root / "server", ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        for name, text in files_of_the_page().items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        self.environ["PYTHONPATH"] = str(self.root)

    async def run(self, *arguments: str) -> tuple[int | None, str]:
        """Run Python in the clone: its exit status, and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self.root,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        return process.returncode, said.decode()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.fixture
async def server(clone: Clone) -> AsyncIterator[Clone]:
    await clone.start()
    yield clone
    await clone.close()


def test_every_python_block_says_where_it_goes() -> None:
    assert list(files_of_the_page()) == ["server/workflows/coffee.py", "tests/workflows/test_coffee.py"]
    assert PAGE.count("```python") == 2


async def test_its_test_passes(clone: Clone) -> None:
    status, said = await clone.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/workflows/test_coffee.py")
    assert "1 passed" in said
    assert status == 0


async def test_its_command_shows_a_sound_conversation(clone: Clone) -> None:
    [line] = re.findall(r"^\.venv/bin/python (-m server check-workflow .*)$", PAGE, re.MULTILINE)
    arguments = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line)]
    status, said = await clone.run(*arguments)
    assert "Here is your small espresso, of 9 g of beans." in said
    assert "wrong" not in said
    assert status == 0


async def test_its_files_keep_the_rules_of_the_house(clone: Clone) -> None:
    for command in ("check", "format --check"):
        status, said = await clone.run("-m", "ruff", *command.split(), "--no-cache", *files_of_the_page())
        assert status == 0, said


async def test_it_speaks_on_the_wire(server: Clone) -> None:
    async with Client(server.port, workflow="coffee") as client:
        await client.until_type("action_request")
        assert (await client.turn("milk, please"))["payload"]["to"] == "ORDER"
        assert client.texts()[-1] == "I did not understand that. You can choose here: An espresso, A filter coffee."
        assert (await client.turn("A filter coffee"))["payload"]["to"] == "SIZE"
        assert (await client.turn("Large", action_value="large"))["payload"]["to"] == "SERVED"
        assert client.texts()[-1] == "Here is your large filter coffee, of 18 g of beans."
        shown = [frame["type"] for frame in client.frames]
        assert shown.count("stream_delta") >= 2
        assert "status_update" in shown
        *_, served = [frame for frame in client.frames if frame["type"] == "state_update"]
        [used] = served["payload"]["trace"]
        assert (used["kind"], used["tool"], used["input"], used["outcome"]) == (
            "tool",
            "grinder",
            '{"size":"large"}',
            "answered",
        )


async def test_its_buttons_work_on_the_page(server: Clone) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE_MS)
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{server.url}/?workflow=coffee")
        await page.get_by_role("button", name="An espresso").click()
        await page.get_by_role("button", name="Small").click()
        await expect(page.locator("#working-text")).to_have_text("Brewing your small espresso")
        await page.reload()  # in mid-brew: the answer goes on
        await expect(page.get_by_role("log")).to_contain_text("Here is your small espresso, of 9 g of beans.")
        await page.get_by_role("button", name="One more").click()
        await expect(page.get_by_role("log").get_by_text("Welcome to the coffee bar.")).to_have_count(2)
        assert complaints == []
        await browser.close()
