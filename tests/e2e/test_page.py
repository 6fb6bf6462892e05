"""The page in a real Chromium."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.absent import absent
from tests.support.process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: A bound and no promise: a page on a busy machine takes its time.
PATIENCE_MS = 60_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str | None:
    """The system's Chromium, else Playwright's own; neither is a failure in CI and a told skip elsewhere."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_browser() -> AsyncIterator[Browser]:
    """One for all tests: it takes longer to start than most of them last."""
    async with async_playwright() as playwright:
        path = chromium_path()
        if path is None and not await asyncio.to_thread(os.path.exists, playwright.chromium.executable_path):
            message = "there is no Chromium here: install the package chromium, or run `playwright install chromium`"
            absent(message)
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(one_browser: Browser) -> AsyncIterator[Browser]:
    """With nothing in it that another test left."""
    yield one_browser
    for context in one_browser.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    await server.start()
    yield server
    await server.close()


async def say(page: Page, text: str) -> None:
    box = page.get_by_role("textbox").first
    await box.fill(text)
    await box.press("Enter")


async def test_a_conversation_survives_a_refresh_a_second_tab_and_a_kill(
    browser: Browser, server: ServerProcess
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(server.url)
    log = page.get_by_role("log")
    await expect(log).to_contain_text("Hello")
    await say(page, "Krishna")
    await expect(log).to_contain_text("A few questions first")
    await say(page, "Children, 10 min")
    accept = page.get_by_role("button", name="Yes, let's build it!")
    await expect(accept).to_be_visible()
    assert uuid.UUID(page.url.split("session_id=")[1][:36])

    before = await log.inner_text()
    await page.reload()
    await expect(accept).to_be_visible()
    assert await log.inner_text() == before

    second = await context.new_page()
    await second.goto(page.url)
    await expect(second.get_by_role("button", name="Yes, let's build it!")).to_be_visible()
    assert await second.get_by_role("log").inner_text() == before

    await server.kill()
    await say(page, "make it 20 minutes")  # typed while the server is away: it waits in the outbox
    await server.start()
    await expect(second.get_by_role("log")).to_contain_text("20 min")
    await expect(log).to_contain_text("20 min")

    await page.get_by_role("button", name="Yes, let's build it!").last.click()
    await expect(page.get_by_role("button", name="Looks perfect!").last).to_be_visible()
    await page.get_by_role("button", name="Looks perfect!").last.click()
    deck = page.get_by_role("link", name="Open your presentation").first
    await expect(deck).to_be_visible()
    address = await deck.get_attribute("href")
    assert address is not None
    path = address[address.index("/decks/") :]
    await second.goto(server.url + path)
    await expect(second.get_by_role("heading").first).to_contain_text("Krishna")
    assert complaints == []


async def test_two_clicks_are_one_line_and_one_turn(browser: Browser, server: ServerProcess) -> None:
    """The page sends one: what the server would make of two is another matter (tests/e2e/test_builder.py)."""
    page = await browser.new_page()
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await page.goto(server.url)
    await say(page, "Bees")
    await expect(page.get_by_role("log")).to_contain_text("A few questions first")
    await say(page, "teenagers, 10 minutes")
    accept = page.get_by_role("button", name="Yes, let's build it!")
    await expect(accept).to_be_enabled()
    # Both within one task of the page, so that no answer can come between them; the second on what is drawn by then.
    clicks = await page.evaluate(
        """() => [1, 2].map(() => {
            const label = "Yes, let's build it!";
            const button = [...document.querySelectorAll("button")].find(one => one.textContent.includes(label));
            const enabled = !button.disabled;
            button.click();
            return enabled;
        })"""
    )
    assert clicks == [True, False]
    await expect(page.get_by_role("button", name="Looks perfect!")).to_have_count(1)
    assert len([frame for frame in sent if "action_value" in frame]) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(browser: Browser, server: ServerProcess, scheme: str) -> None:
    context = await browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = await context.new_page()
    await page.goto(server.url)
    await expect(page.get_by_role("log")).to_contain_text("Hello")
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


async def test_nothing_in_the_bar_covers_its_neighbour_while_the_server_is_away(
    browser: Browser, server: ServerProcess
) -> None:
    page = await browser.new_page()
    await page.goto(server.url)
    await expect(page.get_by_role("log")).to_contain_text("Hello")
    await server.kill()
    await expect(page.locator("#link-text")).to_have_text("Reconnecting")
    for width in (880, 1000, 1264, 1280, 1366, 1400, 1401, 1440, 1920):
        await page.set_viewport_size({"width": width, "height": 800})
        boxes = await page.evaluate(
            """() => [...document.querySelectorAll(".brand-name, .brand-product, .steps li, .tools > *")]
                .map(one => one.getBoundingClientRect())
                .filter(box => box.width > 0).map(box => [box.left, box.right])"""
        )
        edges = [edge for box in boxes for edge in box]
        assert edges == sorted(edges), width
        assert len(boxes) >= 10
        assert edges[-1] <= width


async def page_of(browser: Browser, server: ServerProcess, workflow: str) -> Page:
    """The page over another workflow than its own."""
    page = await browser.new_page()
    await page.goto(f"{server.url}/?workflow={workflow}")
    await expect(page.get_by_role("log")).to_contain_text("Welcome.")
    return page


async def test_another_workflow_is_a_chat_alone(browser: Browser, server: ServerProcess) -> None:
    page = await page_of(browser, server, "echo")
    await expect(page).to_have_title("echo · Rejoinder")
    await expect(page.locator("#product")).to_have_text("echo")
    for builders_own in ("#outline", ".panes", "#steps", "#welcome"):
        await expect(page.locator(builders_own)).to_be_hidden()
    chat = await page.locator("#chat").bounding_box()
    assert chat is not None
    assert chat["width"] == page.viewport_size["width"]  # type: ignore[index]
    await say(page, "choose")
    await page.get_by_role("button", name="Go left").click()
    await expect(page.get_by_role("log").get_by_text("Welcome.")).to_have_count(2)
    await say(page, "stream 1 one two three")
    await expect(page.locator("#streams")).to_contain_text("one")
    await expect(page.get_by_role("log")).to_contain_text("onetwothree")

    assert "workflow=echo" in page.url
    assert uuid.UUID(page.url.split("session_id=")[1][:36])
    before = await page.get_by_role("log").inner_text()
    await page.reload()
    await expect(page.get_by_role("log")).to_contain_text("onetwothree")
    assert await page.get_by_role("log").inner_text() == before
    await page.get_by_role("link", name="New conversation").click()
    await expect(page.get_by_role("log").get_by_role("article")).to_have_count(1)
    await expect(page.get_by_role("log")).to_contain_text("Welcome.")
    await expect(page).to_have_title("echo · Rejoinder")


async def test_a_session_is_of_its_own_workflow_whatever_the_address_says(
    browser: Browser, server: ServerProcess
) -> None:
    page = await page_of(browser, server, "echo")
    await say(page, "hello")
    await expect(page.get_by_role("log")).to_contain_text("you said hello")
    session_id = page.url.split("session_id=")[1][:36]
    await page.goto(f"{server.url}/?session_id={session_id}")
    await expect(page.get_by_role("log")).to_contain_text("you said hello")
    await expect(page).to_have_title("echo · Rejoinder")
    await expect(page.locator("#outline")).to_be_hidden()
    assert "workflow=echo" in page.url


async def test_an_unknown_workflow_is_told_so_with_those_that_there_are(
    browser: Browser, server: ServerProcess
) -> None:
    page = await browser.new_page()
    answer = await page.goto(f"{server.url}/?workflow=%3Cb%3Enowhere")
    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_role("heading")).to_have_text("There is no workflow “<b>nowhere” here")
    await page.get_by_role("link", name="echo", exact=True).click()
    await expect(page.get_by_role("log")).to_contain_text("Welcome.")


@pytest.mark.parametrize("query", ["", "?workflow=echo", "?workflow=nowhere"])
async def test_every_page_fits_a_phone(browser: Browser, server: ServerProcess, query: str) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    page = await context.new_page()
    await page.goto(f"{server.url}/{query}")
    await expect(page.get_by_role("heading").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_a_line_that_is_refused_beside_an_answer_is_told_why_and_kept(
    browser: Browser, server: ServerProcess
) -> None:
    page = await page_of(browser, server, "echo-reject")
    await say(page, "sleep 30")
    await expect(page.get_by_text("Sleeping …").first).to_be_visible()
    await say(page, "and then?")
    # Where it is seen: it is also announced, for a while, to whoever listens to the page.
    told = page.get_by_role("region", name="Messages").get_by_text("Not sent. An answer is still on its way.")
    await expect(told).to_be_visible()
    await page.reload()
    await expect(told).to_be_visible()
    await page.get_by_role("button", name="Edit").click()
    await expect(page.get_by_role("textbox").first).to_have_value("and then?")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("log")).to_contain_text("You stopped this answer.")
    await page.get_by_role("textbox").first.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("you said and then?")


async def test_an_answer_that_a_line_stopped_says_so(browser: Browser, server: ServerProcess) -> None:
    page = await page_of(browser, server, "echo-interrupt")
    await say(page, "sleep 30")
    await expect(page.get_by_text("Sleeping …").first).to_be_visible()
    await say(page, "something else")
    await expect(page.get_by_role("log")).to_contain_text("Stopped by your next message.")
    await expect(page.get_by_role("log")).to_contain_text("you said something else")
