"""Retries of a step whose model broke off its answer after clients were shown a part of it.

Only the turn can retry then: clients must replace the text that they saw, so attempts are numbered. A call that failed
before its first text is retried by the assistant (`server/assistant/retry.py`), and not here.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import structs

from server.assistant.errors import AssistantError
from server.assistant.retry import Patience, wait_ms
from server.machines import effects, inputs
from server.records import SessionKey

log = structlog.get_logger()

PATIENCE: Final = Patience()


class Attempts:
    """The attempts of one step; `effect` is the RunStep of the present one. `sleep` (s), `chance` (0–1): for tests."""

    def __init__(
        self,
        effect: effects.RunStep,
        key: SessionKey,
        left_ms: Callable[[], int],
        patience: Patience = PATIENCE,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`left_ms` returns how much time is left for calls to the model."""
        self.effect = effect
        self._left_ms = left_ms
        self._patience = patience
        self._sleep = sleep
        self._chance = chance
        self._log = log.bind(session_id=key.session_id, user_id=key.user_id, turn=effect.turn)

    async def run(
        self, attempt_step: Callable[[effects.RunStep], Awaitable[None]], show: Callable[[inputs.Input], None]
    ) -> None:
        """Run the step until an attempt succeeds; `show` gets Again before each further attempt.

        `attempt_step` runs the step once, from its beginning to its end. Raises what the step raises; an AssistantError
        only when there is no further attempt.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                await attempt_step(self.effect)
            except AssistantError as error:
                wait = self._wait_ms(attempt, error)
                if wait is None:
                    raise
                self._log.warning("step_broke_off", attempt=self.effect.attempt, code=error.code, wait_ms=wait)
            else:
                return
            show(inputs.Again(self.effect.run))
            self.effect = structs.replace(self.effect, attempt=self.effect.attempt + 1)
            await self._sleep(wait / 1000)

    def _wait_ms(self, attempt: int, error: AssistantError) -> int | None:
        if not error.streamed:
            return None
        return wait_ms(
            self._patience,
            attempt=attempt,
            fault=error.fault,
            left_ms=self._left_ms(),
            chance=self._chance(),
            retry_after_ms=error.retry_after_ms,
            streamed=True,
            may_restart=True,
        )
