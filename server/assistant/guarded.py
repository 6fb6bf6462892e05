"""An assistant behind a breaker, with retries: the driver of `retry` and `breaker`.

It is an Assistant itself, so nothing above it changes. The turn owns it: nothing below it retries.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from server.assistant import Assistant, Prompt, Usage
from server.assistant.breaker import Breaker, Shut
from server.assistant.errors import AssistantError, Fault
from server.assistant.retry import Patience, wait_ms

#: After these the vendor counts as away. With the others it has answered.
_AWAY: Final = frozenset({Fault.UNREACHABLE, Fault.MALFORMED, Fault.TIMEOUT})


def _now_ms() -> int:
    return round(time.monotonic() * 1000)


class Guarded:
    """`breaker` is one for all calls to the same vendor; clock, sleep (seconds) and chance (0–1) are for tests."""

    def __init__(
        self,
        assistant: Assistant,
        breaker: Breaker,
        patience: Patience | None = None,
        *,
        now_ms: Callable[[], int] = _now_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._assistant = assistant
        self._breaker = breaker
        self._patience = patience or Patience()
        self._now_ms = now_ms
        self._sleep = sleep
        self._chance = chance

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """As the contract says; the deadline holds for all attempts together.

        Once text was given out there is no other attempt here: the AssistantError says `streamed`, and the turn, which
        numbers its attempts, begins again.
        """
        start, attempt = self._now_ms(), 0
        spent: Usage | None = None
        while True:
            attempt += 1
            begun = self._now_ms()
            ticket = self._breaker.admit(begun)
            if isinstance(ticket, Shut):
                # Said at once, without a wait: the person should know, and the next line may find it open.
                rest_ms = ticket.retry_after_ms
                raise AssistantError(Fault.UNREACHABLE, "the breaker is open", retry_after_ms=rest_ms, usage=spent)
            call = replace(prompt, deadline_ms=prompt.deadline_ms - (begun - start))
            try:
                async with aclosing(self._attempt(ticket, call)) as pieces:
                    async for piece in pieces:
                        yield _after(spent, piece) if isinstance(piece, Usage) else piece
            except AssistantError as error:
                if error.usage is not None:
                    spent = error.usage = _after(spent, error.usage)
                wait = wait_ms(
                    self._patience,
                    attempt=attempt,
                    fault=error.fault,
                    left_ms=prompt.deadline_ms - (self._now_ms() - start),
                    chance=self._chance(),
                    retry_after_ms=error.retry_after_ms,
                    streamed=error.streamed,
                )
                if wait is None:
                    raise
            else:
                return
            await self._sleep(wait / 1000)
            if spent is not None:
                # Time to the first token is the person's waiting, so the pause belongs to it.
                spent = replace(spent, took_ms=self._now_ms() - start)

    async def _attempt(self, ticket: int, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """One call, of which the breaker hears the outcome, whichever it is."""
        told = False
        try:
            async with aclosing(self._assistant.stream(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Usage):
                        told = True
                        self._breaker.succeeded(ticket)
                    yield piece
        except AssistantError as error:
            told = True
            if error.fault is Fault.RATE_LIMITED or (error.fault is Fault.TIMEOUT and error.streamed):
                self._breaker.abandoned(ticket, self._now_ms())  # there, but too busy or too slow for us
            elif error.fault in _AWAY:
                self._breaker.failed(ticket, self._now_ms())
            else:
                self._breaker.succeeded(ticket)
            raise
        finally:
            if not told:
                self._breaker.abandoned(ticket, self._now_ms())


def _after(spent: Usage | None, usage: Usage) -> Usage:
    return spent.then(usage) if spent is not None else usage
