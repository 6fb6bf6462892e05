"""An assistant behind a breaker, with retries: the driver of `retry` and `breaker`.

It is an Assistant itself. Guard, account and context of a turn's call share this one generator, by the call's Watch.
Nothing below it retries.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from server.assistant import Assistant, Prompt, Usage, Watch
from server.assistant.breaker import Breaker, Shut
from server.assistant.errors import AssistantError, Fault
from server.assistant.retry import Patience, wait_ms

#: After these the vendor counts as away. With the others it has answered.
_AWAY: Final = frozenset({Fault.UNREACHABLE, Fault.MALFORMED, Fault.TIMEOUT})


def _now_ms() -> int:
    return round(time.monotonic() * 1000)


class _Unwatched:
    """The Watch of a call that needs none."""

    def begins(self) -> None:
        return

    def heard(self, text: str) -> None:
        return

    def ends(self, outcome: str, usage: Usage | None) -> None:
        return


UNWATCHED: Final = _Unwatched()


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

    async def stream(self, prompt: Prompt, watch: Watch = UNWATCHED) -> AsyncGenerator[str | Usage, None]:
        """As the contract says; the deadline holds for all attempts together, and `watch` hears of them as one call.

        Once text was given out there is no other attempt here: the AssistantError says `streamed`, and the turn, which
        numbers its attempts, begins again.
        """
        start, attempt = self._now_ms(), 0
        spent: Usage | None = None
        watch.begins()
        try:
            while True:
                attempt += 1
                begun = self._now_ms()
                ticket = self._admit(begun, spent)
                call = replace(prompt, deadline_ms=prompt.deadline_ms - (begun - start))
                is_told = False
                try:
                    async with aclosing(self._assistant.stream(call)) as pieces:
                        async for piece in pieces:
                            if isinstance(piece, Usage):
                                is_told = True
                                self._breaker.succeeded(ticket)
                                usage = _after(spent, piece)
                                watch.ends("answered", usage)
                                yield usage
                            else:
                                watch.heard(piece)
                                yield piece
                except AssistantError as error:
                    is_told = True
                    self._tell_breaker(ticket, error)
                    if error.usage is not None:
                        spent = error.usage = _after(spent, error.usage)
                    left_ms = prompt.deadline_ms - (self._now_ms() - start)
                    wait = self._wait_ms(attempt, error, left_ms)
                    if wait is None:
                        raise
                else:
                    return
                finally:
                    if not is_told:
                        self._breaker.abandoned(ticket, self._now_ms())
                await self._sleep(wait / 1000)
                if spent is not None:
                    # Time to the first token is the person's waiting, so the pause belongs to it.
                    spent = replace(spent, took_ms=self._now_ms() - start)
        except AssistantError as error:
            watch.ends(error.code, error.usage)
            raise
        finally:
            watch.ends("cancelled", None)

    def _admit(self, now_ms: int, spent: Usage | None) -> int:
        """The breaker's ticket. Raises AssistantError while it is open."""
        ticket = self._breaker.admit(now_ms)
        if isinstance(ticket, Shut):
            # Said at once, without a wait: the person should know, and the next line may find it open.
            rest_ms = ticket.retry_after_ms
            raise AssistantError(Fault.UNREACHABLE, "the breaker is open", retry_after_ms=rest_ms, usage=spent)
        return ticket

    def _tell_breaker(self, ticket: int, error: AssistantError) -> None:
        if error.fault is Fault.RATE_LIMITED or (error.fault is Fault.TIMEOUT and error.streamed):
            self._breaker.abandoned(ticket, self._now_ms())  # there, but too busy or too slow for us
        elif error.fault in _AWAY:
            self._breaker.failed(ticket, self._now_ms())
        else:
            self._breaker.succeeded(ticket)

    def _wait_ms(self, attempt: int, error: AssistantError, left_ms: int) -> int | None:
        """How long to wait before the next attempt; None when there is to be none."""
        return wait_ms(
            self._patience,
            attempt=attempt,
            fault=error.fault,
            left_ms=left_ms,
            chance=self._chance(),
            retry_after_ms=error.retry_after_ms,
            streamed=error.streamed,
        )


def _after(spent: Usage | None, usage: Usage) -> Usage:
    return spent.then(usage) if spent is not None else usage
