"""The earlier messages of a turn's conversation, and the summary that is written while the turn runs.

The summary is one more call to the assistant. Its task begins with the turn's first call and ends with the turn at the
latest. The turn's commit stores the summary. If it fails, the old summary stays and a later turn tries again.
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

#: So many events are read for each message of a window; a turn has about four events and two messages.
EVENTS_PER_MESSAGE: Final = 4
#: With messages that are not summarised yet, a CHAT_CONTEXT_LIMIT below this counts as this.
LEAST_MESSAGES: Final = 4
#: How long a finished answer waits for the summary.
WAIT_MS: Final = 10_000
#: The part of a step's time that its calls to a model may take, so that the step has time left to handle a timeout.
CALLS_SHARE: Final = 0.95


class TurnContext:
    """The earlier messages of one turn. Use it in `async with`: leaving it ends the summary's call."""

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
        """Read the messages before the turn's line: the summary, and a bounded number of events behind it.

        While summaries fail, older messages fall out of the context; they stay in the log. Raises StoreError.
        """
        line, snapshot = self._effect.line, self._effect.snapshot
        if line is None or snapshot is None:
            return self.past
        summarised = recall_summary(snapshot.memory)
        most = EVENTS_PER_MESSAGE * max(self.settings.chat_context_limit, LEAST_MESSAGES)
        events: list[Event] = []
        # A line that had to wait stands in the log before the answers to earlier lines.
        for end in (line.seq - 1, snapshot.seq):
            after = max(summarised.through, events[-1].seq if events else 0, end - most)
            if after < end:
                events += await store.read(self._key, after, end - after)
        self.past = recall_said(summarised, events, self._effect.turn)
        return self.past

    @property
    def window_limit(self) -> int:
        """How many messages a prompt may hold: CHAT_CONTEXT_LIMIT, or up to twice that while some are not summarised.

        There can be more unsummarised messages only after turns that called no model or whose summary failed.
        """
        limit = self.settings.chat_context_limit
        return max(limit, min(len(self.past.said) + 1, 2 * max(limit, LEAST_MESSAGES)))

    def called(self, assistant: Assistant, system: str) -> None:
        """Note a call of the step to `assistant`. The first call starts the summary, if one is due."""
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
        """The new summary, to be stored with the turn; None if there is none.

        Waits for it up to WAIT_MS, within the time for the step's calls; then cancels it.
        """
        if self._task is None:
            return None
        left_ms = self.settings.step_timeout_ms * CALLS_SHARE - self._account.elapsed_ms()
        await asyncio.wait({self._task}, timeout=max(0.0, min(WAIT_MS, left_ms)) / 1000)
        self._task.cancel()
        return self._summary
