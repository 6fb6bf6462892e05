"""What users do, drawn at random from a seed: mostly they talk, and now and then they do what only users think of."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from tests.soak.conversation import Conversation, Habits, line
from tests.soak.tab import Frame, Tab

GARBAGE: Final = ('{"type":', "[]", "null", '{"type":"dance"}', '{"type":"user_message","id":"e","data":{"text":" "}}')
#: How long a user waits for something before doing without it.
PATIENCE_S: Final = 1.5
#: How long somebody else looks at a session of the same id.
INTRUDE_S: Final = 0.2


def random_habits(rng: random.Random) -> Habits:
    """Mostly an honest cursor at a reconnect; sometimes an old, a wrong or an impossible one."""
    return Habits(
        cursor=lambda tab: random_cursor(rng, tab),
        pause_s=lambda: rng.uniform(0.02, 0.25),
        trusts_echo=rng.random() < 0.3,
        patience_s=rng.choice((1.2, 1.2, 4.0)),
    )


def random_cursor(rng: random.Random, tab: Tab) -> Mapping[str, object]:
    """A cursor for this tab's next connection."""
    if not tab.who.native and rng.random() < 0.5:
        shown = tab.visible if rng.random() < 0.7 else tab.visible + rng.choice((-1, 1, 5))
        return {"skip_history": "true", "message_count": max(0, shown)}
    old = rng.randrange(tab.last) if tab.last else 0
    choice = rng.random()
    if choice < 0.74 or not tab.last:
        return tab.cursor() if choice < 0.97 else {"after": rng.randrange(1, 9)}
    if choice < 0.80:
        return {}
    if choice < 0.86:
        return {"after": old, "last_message_id": tab.ids[old - 1] or ""} if old else {"after": 0}
    if choice < 0.91:
        return {"after": old}
    if choice < 0.95:
        return {"after": tab.last, "last_message_id": "00000000-0000-4000-8000-000000000000"}
    return {"after": tab.last + rng.randrange(500, 5000)}


class Talk:
    """The script of one user: `lines` things to do."""

    def __init__(self, rng: random.Random, lines: int, stop: asyncio.Event, *, think_s: float) -> None:
        self._rng = rng
        self._lines = lines
        self._stop = stop
        self._think_s = think_s
        self._number = 0
        self._said: list[tuple[str, str]] = []

    async def __call__(self, conversation: Conversation) -> AsyncIterator[None]:
        """Do one thing a step, and think in between."""
        for number in range(self._rng.choice((0, 1, 1, 2))):
            conversation.beside(self._second_tab(conversation, number))
        for _ in range(self._lines):
            if self._stop.is_set():
                return
            [act] = self._rng.choices([act for _, act in ACTS], [weight for weight, _ in ACTS])
            await act(self, conversation)
            yield
            await asyncio.sleep(self._rng.expovariate(1 / self._think_s))

    # ------------------------------------------------------------ what is done

    async def say(self, conversation: Conversation) -> None:
        """A line."""
        await self._say(conversation, f"{self._rng.choice(WORDS)} {self._number}")

    async def burst(self, conversation: Conversation) -> None:
        """Several lines at once."""
        for _ in range(self._rng.randrange(2, 5)):
            await self.say(conversation)

    async def say_twice(self, conversation: Conversation) -> None:
        """The same line under the same id over every tab at the same time."""
        await self._say(conversation, f"twice {self._number}", tabs=self._tabs)

    async def say_again(self, conversation: Conversation) -> None:
        """A line that was settled long ago, once more."""
        if self._said:
            message_id, text = self._rng.choice(self._said)
            await conversation.send(message_id, self._line(conversation, message_id, text))

    async def other_words(self, conversation: Conversation) -> None:
        """An id that took effect, with another text."""
        settled = [message_id for message_id in conversation.heard.seqs if message_id not in conversation.outbox]
        if settled:
            message_id = self._rng.choice(settled)
            await conversation.send(message_id, self._line(conversation, message_id, "something else altogether"))

    async def be_slow(self, conversation: Conversation) -> None:
        """A line whose answer takes a while."""
        await self._say(conversation, f"sleep {self._rng.uniform(0.05, 0.4):.2f}")

    async def stream(self, conversation: Conversation) -> None:
        """A line whose answer comes in pieces."""
        await self._say(conversation, "stream 0.02 " + " ".join(self._rng.choices(WORDS, k=5)))

    async def break_it(self, conversation: Conversation) -> None:
        """A line whose step breaks."""
        await self._say(conversation, "boom")

    async def cancel(self, conversation: Conversation) -> None:
        """Stop a slow answer; sometimes it is over by then."""
        message_id = await self._say(conversation, f"sleep {self._rng.choice((0.05, 0.8))}")
        try:
            async with asyncio.timeout(PATIENCE_S):
                await conversation.until(lambda: message_id in conversation.heard.seqs)
        except TimeoutError:
            return
        turn, cancel_id = conversation.heard.seqs[message_id], self._next_id()
        await conversation.send(cancel_id, {"type": "cancel", "id": cancel_id, "turn": turn})

    async def choose(self, conversation: Conversation) -> None:
        """Ask for a choice, press a button of the last card, or one of an old card."""
        cards = conversation.heard.cards
        if not cards or self._rng.random() < 0.3:
            await self._say(conversation, "choose")
            return
        card = cards[-1] if self._rng.random() < 0.7 else self._rng.choice(cards)
        await self._press(conversation, card)

    async def drop(self, conversation: Conversation) -> None:
        """Lose the network, or close the page."""
        if self._rng.random() < 0.6:
            conversation.main.drop()
        else:
            await conversation.main.leave()

    async def resume(self, conversation: Conversation) -> None:
        """Ask for a part of the log again, without a new connection."""
        tab = conversation.main
        if tab.caught_up.is_set():
            tab.caught_up.clear()
            after = self._rng.choice((0, tab.last, self._rng.randrange(tab.last + 1), tab.last + 1000))
            await tab.send({"type": "resume", "after": after})

    async def ping(self, conversation: Conversation) -> None:
        """A heartbeat."""
        await conversation.main.send({"type": "ping", "n": self._number})
        await conversation.main.send_garbage("ping")

    async def babble(self, conversation: Conversation) -> None:
        """What is no line."""
        await conversation.main.send_garbage(self._rng.choice(GARBAGE))

    async def mumble(self, conversation: Conversation) -> None:
        """A line without an id: it is never sent again, and nobody can say whether it arrived."""
        self._number += 1
        text = f"no id {self._number} {self._rng.getrandbits(40):x}"
        await conversation.main.send({"type": "user_message", "data": {"text": text}})

    async def intrude(self, conversation: Conversation) -> None:
        """Somebody else opens a session of the same id."""
        if conversation.heard.answered:
            await self._visit(conversation.stranger("a-stranger"), {}, INTRUDE_S)

    # ------------------------------------------------------------ how

    async def _say(self, conversation: Conversation, text: str, tabs: Sequence[Tab] = ()) -> str:
        message_id = self._next_id()
        self._said.append((message_id, text))
        await conversation.send(message_id, self._line(conversation, message_id, text), tabs)
        return message_id

    def _next_id(self) -> str:
        self._number += 1
        return f"id-{self._number}"

    def _line(self, conversation: Conversation, message_id: str, text: str) -> Frame:
        if conversation.native:
            return line(message_id, text)
        return {"type": "user_message", "data": {"text": text, "handoff_idempotency_key": message_id}}

    async def _press(self, conversation: Conversation, card: Frame) -> None:
        message_id, action = self._next_id(), self._rng.choice(card["payload"]["actions"])
        pressed: dict[str, Any] = {"action_value": action["value"], "action_message_id": card["message_id"]}
        if not conversation.native and self._rng.random() < 0.5:
            older = {"text": action["label"], "frontend_actions": [{"action_id": action["value"]}]}
            await conversation.send(message_id, {"type": "user_input", "id": message_id, "data": older})
            return
        await conversation.send(message_id, line(message_id, action["label"], **pressed))

    async def _second_tab(self, conversation: Conversation, number: int) -> None:
        """A tab beside the main one, of either dialect, that comes and goes."""
        tab = conversation.tab(f"tab {number}", native=self._rng.random() < 0.7)
        self._tabs = (conversation.main, tab)
        while not self._stop.is_set():
            stay_s = self._rng.uniform(0.1, 3)
            await self._visit(tab, random_cursor(self._rng, tab), stay_s, ends_in_calm=False)
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))
        while True:  # in the calm it stays: what it has missed must come to it
            await tab.connect(tab.cursor())
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))

    _tabs: Sequence[Tab] = ()

    async def _visit(self, tab: Tab, cursor: Mapping[str, object], stay_s: float, *, ends_in_calm: bool = True) -> None:
        """Connect, stay for a while, and go in one way or another; or stay when the calm begins."""
        connected = asyncio.create_task(tab.connect(cursor))
        calm = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([connected, calm], timeout=stay_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set() and not ends_in_calm:
                await connected
                return
            if self._rng.random() < 0.5:
                await tab.leave()
            else:
                tab.drop()
            await asyncio.wait([connected], timeout=PATIENCE_S)
        finally:
            calm.cancel()
            connected.cancel()
            await asyncio.gather(connected, calm, return_exceptions=True)


Act = Callable[[Talk, Conversation], Awaitable[None]]
WORDS: Final = ("apples", "bridges", "clouds", "dunes", "echoes", "ferns", "größer", "日本", "ice", "jars")
#: How often each is done, in a hundred.
ACTS: Final[Sequence[tuple[float, Act]]] = (
    (58, Talk.say),
    (8, Talk.burst),
    (6, Talk.say_twice),
    (4, Talk.say_again),
    (1, Talk.other_words),
    (3, Talk.be_slow),
    (3, Talk.stream),
    (1, Talk.break_it),
    (2, Talk.cancel),
    (6, Talk.choose),
    (3, Talk.drop),
    (1.5, Talk.resume),
    (1, Talk.ping),
    (1, Talk.babble),
    (1, Talk.mumble),
    (0.5, Talk.intrude),
)
