"""The earlier messages of a turn's conversation, and the summary that is written while the turn runs.

The summary is one more call to the assistant, in a task that begins with the turn's first call and ends with the turn
at the latest. It is kept with the turn's commit. Where it fails, the older one stands and a later turn tries again.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

import structlog

from server.assistant import Assistant
from server.assistant.past import Fold, Past, choose_fold, recall_said, recall_summary
from server.assistant.summary import Summarised, summarise
from server.engine.account import Account
from server.machines import effects
from server.records import Event, SessionKey
from server.server_memory import StoredSummary
from server.settings import Settings
from server.store import Store
from server.tasks import Tasks

log = structlog.get_logger()

#: A turn is about four events for two messages; so many are read for each message of a window.
EVENTS_PER_MESSAGE: Final = 4
#: A window that is to hold what is not folded yet has room for a turn, however small its limit is.
LEAST_MESSAGES: Final = 4
#: How long an answer that is ready waits for the summary.
WAIT_MS: Final = 10_000
#: The part of a step's time that its calls to a model may take; the rest is for the step's own words on it.
CALLS_SHARE: Final = 0.95


class TurnContext:
    """One turn's past. Use it as a context: whatever ends the turn, the summary's call ends with it."""

    def __init__(self, settings: Settings, effect: effects.RunStep, key: SessionKey, account: Account) -> None:
        self.past = Past()
        self.settings = settings
        self._effect = effect
        self._key = key
        self._account = account
        self._tasks: Tasks | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_called = False
        self._summary: StoredSummary | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None:
            await self._tasks.close()

    async def read(self, store: Store) -> Past:
        """What was said before the turn's line. Raises StoreError.

        The events behind the summary, and of those a bounded number: where summaries fail for long, what is older
        falls out of the context. It stays in the log.
        """
        line, snapshot = self._effect.line, self._effect.snapshot
        if line is None or snapshot is None:
            return self.past
        summarised = recall_summary(snapshot.memory)
        most = EVENTS_PER_MESSAGE * max(self.settings.chat_context_limit, LEAST_MESSAGES)
        events: list[Event] = []
        # A line that had to wait for its turn stands before the answers to those before it.
        for end in (line.seq - 1, snapshot.seq):
            after = max(summarised.through, events[-1].seq if events else 0, end - most)
            if after < end:
                events += await store.read(self._key, after, end - after)
        self.past = recall_said(summarised, events, self._effect.turn)
        return self.past

    @property
    def window_limit(self) -> int:
        """How many messages a prompt may hold: CHAT_CONTEXT_LIMIT, or up to twice that while some are not summarised.

        More wait only behind turns that called no model, and where a summary failed.
        """
        limit = self.settings.chat_context_limit
        return max(limit, min(len(self.past.said) + 1, 2 * max(limit, LEAST_MESSAGES)))

    def called(self, assistant: Assistant, system: str) -> None:
        """The step calls the assistant: its first call begins the summary, if one is due, by `assistant`."""
        line, settings = self._effect.line, self.settings
        if self._is_called or line is None:
            return
        self._is_called = True
        fold = choose_fold(
            self.past,
            line.payload["text"],
            before=line.seq,
            system=system,
            limit=settings.chat_context_limit,
            token_budget=settings.context_token_budget,
        )
        if fold is not None:
            self._tasks = Tasks()
            self._task = self._tasks.spawn(self._fold(assistant, fold), "summarise")

    async def _fold(self, assistant: Assistant, fold: Fold) -> None:
        outcome = await summarise(assistant, fold.earlier, fold.messages, most_chars=fold.most_chars)
        if isinstance(outcome, Summarised):
            self._summary = StoredSummary(fold.through, outcome.text)
        else:
            log.warning("summary_failed", session_id=self._key.session_id, user_id=self._key.user_id, code=outcome.code)

    async def new_summary(self) -> StoredSummary | None:
        """The new summary, to be kept with the turn's result, if there is one.

        A summary that is not ready is waited for, for WAIT_MS and within the time of the step's calls; then given up.
        """
        if self._task is None:
            return None
        left_ms = self.settings.step_timeout_ms * CALLS_SHARE - self._account.elapsed_ms()
        await asyncio.wait({self._task}, timeout=max(0.0, min(WAIT_MS, left_ms)) / 1000)
        self._task.cancel()
        return self._summary
