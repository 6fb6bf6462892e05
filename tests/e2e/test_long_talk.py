"""A conversation of 1,000 turns costs no more a turn at its end than at its beginning (tokens, bytes)."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from server.assistant import Prompt, Usage
from server.assistant.past import MOST_CHARS
from server.assistant.tokens import estimate_input, estimate_tokens
from server.broker import LocalBroker
from server.clock import new_id, now_ms
from server.engine.engine import Engine
from server.machines import inputs
from server.records import Outcome, SessionKey, Write, fold
from server.settings import Settings
from server.store.sqlite.store import MEMORY, SqliteStore
from server.wire.protocol import Say
from server.workflows.registry import find_workflows
from tests.e2e.long_talk import ANSWER, SUMMARISED, Cost, hold, mean
from tests.support.passing_store import PassingStore
from tests.vendors import Vendors

KEY = SessionKey("anonymous", "s-1")
WAIT_S = 20


class Telling(PassingStore):
    """A store that tells of every write that it took."""

    def __init__(self) -> None:
        super().__init__(SqliteStore(MEMORY))
        self.written: asyncio.Queue[Write] = asyncio.Queue()

    async def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        outcomes = await super().commit(writes)
        for write in writes:
            self.written.put_nowait(write)
        return outcomes

    async def until_turn(self) -> list[Write]:
        """The writes up to the one that ends a turn."""
        async with asyncio.timeout(WAIT_S):
            writes = [await self.written.get()]
            while writes[-1].update is None:
                writes.append(await self.written.get())
            return writes


class Counting:
    """An assistant that counts what it is asked and says. Its summaries are of one length, or always grow."""

    def __init__(self, *, grows: bool) -> None:
        self.tokens = 0
        self.asked: list[Prompt] = []
        self._grows = grows

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        self.asked.append(prompt)
        text = ANSWER if prompt.task == "answer" else SUMMARISED
        if self._grows and prompt.task == "summarise":
            text = prompt.window[0].text
        given, taken = estimate_input(prompt.system, prompt.window), estimate_tokens(len(text))
        self.tokens += given + taken
        yield text
        yield Usage("m", given, taken)


async def talk_for(turns: int, assistant: Counting) -> tuple[list[Cost], Telling]:
    """So many turns of a conversation through the engine, and the store that has them."""
    store, costs = Telling(), list[Cost]()
    await store.open()
    engine = Engine(store, LocalBroker(), find_workflows(), Settings(), assistant=assistant)
    engine.start()
    engine.open(KEY, None, "chat")
    await store.until_turn()
    for number in range(turns):
        assistant.tokens = 0
        text = f"This is line {number:06} of a long conversation, and none of its lines is longer."
        engine.deliver(KEY, "chat", inputs.Message(0, Say(f"c{number}", text), new_id(), now_ms()))
        writes = await store.until_turn()
        stored = sum(len(msgspec.json.encode([write.events, write.update])) for write in writes)
        costs.append(Cost(assistant.tokens, stored, 0.0))
    await engine.close()
    return costs, store


def hold_flat(costs: list[Cost], early: int, late: int) -> None:
    before, after = mean(costs, early), mean(costs, late)
    assert after.tokens <= 1.2 * before.tokens
    assert after.stored_bytes <= 1.2 * before.stored_bytes


async def test_turn_1000_costs_what_turn_50_does() -> None:
    assistant = Counting(grows=False)
    costs, store = await talk_for(1_000, assistant)
    hold_flat(costs, 60, 1_000)
    summaries = [prompt for prompt in assistant.asked if prompt.task == "summarise"]
    assert 200 <= len(summaries) <= 300, "one in about four turns"
    await store.close()


async def test_a_model_whose_summaries_only_grow_does_not_make_the_turns_grow() -> None:
    costs, store = await talk_for(300, Counting(grows=True))
    hold_flat(costs, 60, 300)
    loaded = await store.load(KEY, 0, 1_000_000)
    assert loaded is not None
    assert len(loaded.snapshot.memory["@summary"]["text"]) == MOST_CHARS
    assert fold(loaded.events, KEY.user_id) == loaded.snapshot
    await store.close()


async def test_the_vendor_is_sent_no_more(tmp_path: Path) -> None:
    """The same through a real server, with the tokens as a vendor counts them; the module's own run has 1,000 turns."""
    with Vendors() as vendors:
        costs = await hold(60, vendors, tmp_path)
    hold_flat(costs, 36, 60)
